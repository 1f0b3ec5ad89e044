"""Faithfulness of the maps to the classifier: the verdict, the measures, the curves."""

from __future__ import annotations

from collections.abc import Mapping

from seewhy.report.figures.statistics_figures import faithfulness_curves
from seewhy.report.figures.svg import SvgFigure
from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable
from seewhy.storage.schemas.faithfulness import Faithfulness, FaithfulnessSummary, MeasureSummary
from seewhy.wording import count, listing

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


def faithfulness_section(study: ReportInput, slug: str) -> Section | None:
    """Return verdict, a row per measure with a good direction, and curves; None if not measured."""
    found = study.summary.backbones[slug].explanation.faithfulness
    if found is None:
        return None
    name, whole = study.names[slug], study.records[slug].faithfulness
    directed = {title: m for title, m in found.measures.items() if m.good != "neither"}
    table = ReportTable(
        f"faithfulness-{slug}",
        f"Faithfulness of the maps of {name}",
        ("Measure", "Good when", "Maps", "Random maps", "Centred Gaussian", "Verdict"),
        tuple(
            (measure_title(title), m.good, m.maps, m.random, m.gaussian, m.verdict)
            for title, m in directed.items()
        ),
    )
    return {
        "sentence": _verdict(found, directed),
        "random": bool(directed) and all(m.verdict.startswith("no") for m in directed.values()),
        "table": table,
        "figure": _curves(whole, name, slug) if whole and whole.curves else None,
    }


def _curves(found: Faithfulness, name: str, slug: str) -> SvgFigure:
    alt = f"Probability of the explained class of {name} as marked pixels are deleted or inserted"
    curves = {measure_title(title): curve for title, curve in found.curves.items()}
    return faithfulness_curves(curves, f"faithfulness-curves-{slug}", alt)


def _verdict(found: FaithfulnessSummary, directed: Mapping[str, MeasureSummary]) -> str:
    where = f"on {count(found.images - found.empty, 'test image')}"
    judged = {n: m for n, m in directed.items() if m.verdict != "too few images"}
    if not judged:
        return f"Measured {where}: too few to compare the maps with random maps."
    worse = [measure_title(n) for n, m in judged.items() if m.verdict.startswith("no better")]
    if len(worse) == len(judged):
        return (
            f"Measured {where}, the maps are no better than random maps on any of "
            f"{count(len(judged), 'measure')}: do not use them as explanations."
        )
    better = f"better than random maps on {len(judged) - len(worse)} of {len(judged)} measures"
    lack = f", but not on {listing(worse)}" if worse else ""
    return f"Measured {where}, the maps are {better}{lack}."


def measure_title(name: str) -> str:
    """Return the display name of a measure; deletion and insertion name their baseline."""
    if name in MEASURES:
        return MEASURES[name]
    kind, _, baseline = name.partition("_")
    return f"{MEASURES[kind]} ({baseline})" if kind in MEASURES else name
