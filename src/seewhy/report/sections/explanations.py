"""The report's section on the maps: faithfulness, average maps, the gallery."""

from __future__ import annotations

from collections.abc import Sequence

from seewhy.report.figures import photographs as pictures
from seewhy.report.sections.data_quality import quality_issues_section
from seewhy.report.sections.failed_steps import MissingResults
from seewhy.report.sections.faithfulness import faithfulness_section
from seewhy.report.sections.gallery import ClassGallery, GalleryBuilder, gallery_bounds
from seewhy.report.sections.localisation import localisation_section
from seewhy.report.sections.map_choice import METHODS, choice_section
from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.statements import best_backbone
from seewhy.report.text.tables import ReportTable
from seewhy.wording import count, duration

MOST_AVERAGES = 250


def explanation_section(study: ReportInput, gallery: GalleryBuilder) -> Section:
    """Return average maps and the gallery."""
    classes, data = study.data.classes, study.data
    records = list(study.records.values())
    per_end, shown = gallery_bounds(len(classes), len(records))
    weakest = study.summary.backbones[best_backbone(study.summary)].finetuning.per_class_recall
    labels = sorted(range(len(classes)), key=lambda k: (weakest[classes[k]], k))[:shown]
    photos = pictures.average_photos(data) if len(classes) <= MOST_AVERAGES else []
    final = [one.maps["finetuning"] for one in records]
    maps = [
        pictures.average_map_addresses(pictures.average_maps(one, len(classes))) for one in final
    ]
    empty = [int(one.empty.sum()) for one in final]
    chosen = [gallery.of_class(label, per_end) for label in sorted(labels)]
    return {
        "reading": _localisation_in_words(study),
        "tables": [_selection(chosen)],
        "issues": quality_issues_section(study, gallery),
        "averages": [
            {"number": k, "name": classes[k], "photo": photo, "maps": [found[k] for found in maps]}
            for k, photo in enumerate(photos)
        ],
        "backbones": [
            {
                "name": study.names[slug],
                "method": METHODS.get(part.explanation.method, part.explanation.method),
                "layer": part.explanation.layer,
                "images": count(part.explanation.images, "test image"),
                "time": duration(part.explanation.seconds),
                "empty": none,
                "choice": choice_section(study, slug),
                "no_choice": MissingResults(study).of("map choice", slug),
                "faithfulness": faithfulness_section(study, slug),
                "missing": MissingResults(study).of("faithfulness", slug),
                "localisation": localisation_section(study, slug),
            }
            for (slug, part), none in zip(study.summary.backbones.items(), empty, strict=True)
        ],
        "classes": chosen,
        "shown": labels,
        "of": len(classes),
        "per_end": per_end,
    }


def _localisation_in_words(study: ReportInput) -> list[Section]:
    """Return what the masks say as sentences alone, for the report as Markdown."""
    return [
        {"sentences": [f"Maps{study.of(slug)} after {one['stage'].lower()}:", *one["sentences"]]}
        for slug in study.records
        for one in localisation_section(study, slug).get("stages", ())
    ]


def _selection(classes: Sequence[ClassGallery]) -> ReportTable:
    """Return the images of the gallery, with every backbone's prediction."""
    rows = []
    for one in classes:
        for choice in one.choices:
            for end, shots in (("lowest", choice.lowest), ("highest", choice.highest)):
                for shot in shots:
                    answers = [f"{a.backbone}: {a.predicted} {a.confidence}" for a in shot.answers]
                    rows.append(
                        (one.name, choice.backbone, end, shot.file, shot.label, "; ".join(answers))
                    )
    return ReportTable(
        "lowest-and-highest",
        "Lowest and highest confidence per class",
        ("Predicted as", "Chosen by", "Confidence", "Image", "Class", "Predictions"),
        tuple(rows),
    )
