"""The report's section on the maps: where each class is seen on average, and the gallery."""

from __future__ import annotations

from seewhy.report import pictures
from seewhy.report.gallery import Gallery, gallery_bounds
from seewhy.report.reading import best_backbone
from seewhy.report.study import Section, Study
from seewhy.wording import count, duration

METHODS = {"gradcam": "Grad-CAM"}
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
    return {
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
            }
            for (slug, part), none in zip(study.summary.backbones.items(), empty, strict=True)
        ],
        "classes": [gallery.of_class(label, per_end) for label in sorted(labels)],
        "shown": labels,
        "of": len(classes),
        "per_end": per_end,
    }
