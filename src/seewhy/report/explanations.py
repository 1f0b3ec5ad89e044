"""The report's section on the maps: where each class is seen on average, and the gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seewhy.faithfulness_records import FaithfulnessSummary, MeanInterval, MeasureSummary
from seewhy.report import pictures
from seewhy.report.gallery import ClassGallery, Gallery, gallery_bounds
from seewhy.report.reading import best_backbone
from seewhy.report.study import Section, Study
from seewhy.report.tables import Bounded, Table
from seewhy.wording import count, duration, listing

METHODS = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "gradcam-elementwise": "Grad-CAM elementwise",
    "xgradcam": "XGrad-CAM",
    "layercam": "LayerCAM",
    "finercam": "Finer-CAM",
    "shapleycam": "ShapleyCAM",
    "cam": "CAM",
    "eigencam": "Eigen-CAM",
    "eigengradcam": "EigenGrad-CAM",
    "scorecam": "Score-CAM",
    "ablationcam": "Ablation-CAM",
}
MEASURES = {
    "deletion": "deletion",
    "insertion": "insertion",
    "average_drop": "average drop",
    "average_increase": "average increase",
    "road_morf": "ROAD, most relevant first",
    "road_lerf": "ROAD, least relevant first",
    "road": "ROAD, both",
    "pointing_game": "pointing game",
    "energy_inside": "share of the map on the object",
    "iou": "overlap with the object",
}
MOST_AVERAGES = 250


def explanation_section(study: Study, gallery: Gallery) -> Section:
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
        "tables": [_selection(chosen)],
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
                "faithfulness": _faithfulness(
                    part.explanation.faithfulness, slug, study.names[slug]
                ),
            }
            for (slug, part), none in zip(study.summary.backbones.items(), empty, strict=True)
        ],
        "classes": chosen,
        "shown": labels,
        "of": len(classes),
        "per_end": per_end,
    }


def _selection(classes: Sequence[ClassGallery]) -> Table:
    """Return which images the gallery shows, and every backbone's answer to each."""
    rows = []
    for one in classes:
        for choice in one.choices:
            for end, shots in (("lowest", choice.lowest), ("highest", choice.highest)):
                for shot in shots:
                    answers = [f"{a.backbone}: {a.predicted} {a.confidence}" for a in shot.answers]
                    rows.append(
                        (one.name, choice.backbone, end, shot.file, shot.label, "; ".join(answers))
                    )
    return Table(
        "lowest-and-highest",
        "Lowest and highest confidence of each class",
        ("Taken for", "Chosen by", "Confidence", "Image", "Class", "Answers"),
        tuple(rows),
    )


def _faithfulness(found: FaithfulnessSummary | None, slug: str, name: str) -> Section | None:
    """Return the verdict as a sentence, and a line a measure that has a good direction."""
    if found is None:
        return None
    directed = {title: m for title, m in found.measures.items() if m.good != "neither"}
    table = Table(
        f"faithfulness-{slug}",
        f"Faithfulness of the maps of {name}",
        ("Measure", "Good when", "Maps", "Random maps", "Centred Gaussian", "Verdict"),
        tuple(
            (
                measure_title(title),
                m.good,
                *map(_bounded, (m.maps, m.random, m.gaussian)),
                m.verdict,
            )
            for title, m in directed.items()
        ),
    )
    return {
        "sentence": _verdict(found, directed),
        "random": bool(directed) and all(m.verdict.startswith("no") for m in directed.values()),
        "table": table,
    }


def _bounded(mean: MeanInterval) -> Bounded:
    return Bounded(mean.value, mean.low, mean.high)


def _verdict(found: FaithfulnessSummary, directed: Mapping[str, MeasureSummary]) -> str:
    where = f"on {count(found.images - found.empty, 'test image')}"
    judged = {n: m for n, m in directed.items() if m.verdict != "too few images"}
    if not judged:
        return f"Measured {where}: too few to say whether the maps are better than random ones."
    worse = [measure_title(n) for n, m in judged.items() if m.verdict.startswith("no better")]
    if len(worse) == len(judged):
        return (
            f"Measured {where}, these maps are no better than random ones on any of "
            f"{count(len(judged), 'measure')}: do not read them as what the classifier uses."
        )
    better = f"better than random ones on {len(judged) - len(worse)} of {len(judged)} measures"
    lack = f"; they are no better on {listing(worse)}" if worse else ""
    return f"Measured {where}, these maps are {better}{lack}."


def measure_title(name: str) -> str:
    """Return a measure's name for people; deletion and insertion say their baseline."""
    if name in MEASURES:
        return MEASURES[name]
    kind, _, baseline = name.partition("_")
    return f"{MEASURES[kind]} ({baseline})" if kind in MEASURES else name
