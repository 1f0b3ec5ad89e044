"""The maps against the object masks of the test images: sentences, and a table per stage."""

from __future__ import annotations

from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable, Value
from seewhy.storage.schemas.localisation import ObjectScores, StageLocalisation
from seewhy.storage.titles import STAGE_TITLES

MEASURES = {
    "pointing_game": "Pointing game",
    "energy_inside": "Energy",
    "iou_at_area": "IoU",
}


def localisation_section(study: ReportInput, slug: str) -> Section:
    """Return sentences and a table per stage, the last first; empty where there are no masks."""
    found = study.localisations.get(slug)
    if found is None:
        return {}
    return {
        "group_by": found.group_by,
        "stages": [_stage(study, slug, one) for one in found.stages[::-1]],
    }


def _stage(study: ReportInput, slug: str, one: StageLocalisation) -> Section:
    title = STAGE_TITLES[one.stage]
    columns = ["Class", "Images", "Without mask", "Object's area"]
    for measure in MEASURES.values():
        columns += [measure, f"{measure}, random", f"{measure}, centre"]
    return {
        "stage": title,
        "sentences": one.sentences,
        "table": ReportTable(
            f"localisation-{one.stage}-{slug}",
            f"Maps{study.of(slug)} and object masks after {title.lower()}",
            tuple(columns),
            tuple(_row(part) for part in (one.everything, *one.classes)),
        ),
    }


def _row(one: ObjectScores) -> tuple[Value, ...]:
    cells: list[Value] = [
        "All classes" if one.label is None else one.label,
        one.measured,
        one.without_mask,
        one.area,
    ]
    for name in MEASURES:
        measure = one.measures.get(name)
        cells += (
            [measure.maps, measure.random.value, measure.gaussian.value] if measure else [None] * 3
        )
    return tuple(cells)
