"""Which pair of method and layer the maps are made by: a sentence, and the table of candidates."""

from __future__ import annotations

from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable

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


def choice_section(study: ReportInput, slug: str) -> Section | None:
    """Return what was chosen and why, and a row per candidate; None where nothing was chosen."""
    found = study.records[slug].map_choice
    if found is None:
        return None
    rows = tuple(
        (
            METHODS.get(one.method, one.method),
            one.layer,
            f"{one.places[0]}×{one.places[1]}",
            one.maps.value,
            one.random.value,
            one.difference,
            "yes" if (one.method, one.layer) == (found.method, found.layer) else "no",
        )
        for one in found.candidates
    )
    table = ReportTable(
        f"map-choice-{slug}",
        f"Methods and layers{study.of(slug)} that the maps were chosen from",
        ("Method", "Layer", "Places", "Maps", "Random maps", "Difference", "Chosen"),
        rows,
    )
    return {"sentence": found.sentence, "table": table if rows else None}
