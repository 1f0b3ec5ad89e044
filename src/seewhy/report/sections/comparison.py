"""The report's section on comparisons: between backbones, between stages, over folds."""

from __future__ import annotations

from typing import Any

from seewhy.report.figures.statistics_figures import change_dots, fold_dots
from seewhy.report.figures.svg import key_entry
from seewhy.report.sections.gallery import GalleryBuilder
from seewhy.report.sections.section import MOST_ROWS, ReportInput, Section
from seewhy.report.text.tables import ReportTable, Value
from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.comparison import (
    ClassifierPair,
    Comparison,
    FoldComparison,
    FoldDifference,
    MapAgreement,
)
from seewhy.storage.titles import STAGE_TITLES
from seewhy.wording import count, listing

# Pictures of the images on which two backbones differ most.
MOST_SHOTS = 4
_NOTES = {
    "corrected t": "Each pair is tested with the corrected resampled t-test, which accounts for "
    "the training images that folds share; p is also shown with Holm correction over all pairs. "
    "Mean ranks are descriptive only: over folds of one data set, rank tests find differences "
    "between equal backbones too often.",
    "paired t": "Each pair is tested with the paired t-test; p is also shown with Holm correction "
    "over all pairs. Seeds share all their images, so a significant difference is beyond the "
    "chance of training, but may not hold for other images.",
}


def comparison_section(study: ReportInput, gallery: GalleryBuilder) -> Section:
    """Return tables, figures and pictures of the differences; empty where nothing was compared."""
    found = study.comparison
    if found is None:
        return {}
    return {
        "pairs": _pairs(study, found),
        "maps": _map_agreement(study, found),
        "apart": [
            _apart(study, gallery, pair) for pair in found.pairs if pair.stage == "finetuning"
        ],
        "changes": _changes(study, found),
        "folds": [_over_folds(study, one) for one in found.folds],
    }


def _pairs(study: ReportInput, found: Comparison) -> ReportTable | None:
    rows: list[tuple[Value, ...]] = [
        (
            *(STAGE_TITLES[one.stage], study.names[one.first], study.names[one.second]),
            *(one.both_right, one.first_only, one.second_only, one.both_wrong),
            *(one.difference, one.test, one.p, one.p_holm, one.agreement, one.kappa),
        )
        for one in found.pairs
    ]
    columns = (
        *("Stage", "First", "Second", "Both correct", "Only the first", "Only the second"),
        *("Both wrong", "Difference in accuracy", "Test", "p", "p, Holm", "Agreement"),
        "Cohen’s kappa",
    )
    title = "Pairs of backbones on the same test images"
    return ReportTable("pairs-of-backbones", title, columns, tuple(rows)) if rows else None


def _agreement_cells(one: MapAgreement) -> tuple[Value, ...]:
    return (
        *(one.images, one.pearson, one.spearman, one.pearson_other_image),
        *(one.overlap, one.overlap_by_chance, one.overlap_other_image),
    )


def _map_agreement(study: ReportInput, found: Comparison) -> ReportTable | None:
    rows: list[tuple[Value, ...]] = []
    for pair in found.pairs:
        if pair.maps:
            both = f"{study.names[pair.first]} and {study.names[pair.second]}"
            rows.append((both, STAGE_TITLES[pair.stage], *_agreement_cells(pair.maps)))
    for slug, change in found.changes.items():
        if change.maps:
            agreement = _agreement_cells(change.maps.agreement)
            rows.append((study.names[slug], "both stages", *agreement))
    columns = (
        *("Maps of", "Stage", "Images", "Correlation (Pearson)"),
        *("Correlation (Spearman)", "Pearson, of two different images"),
        *("Overlap of the highest fifth", "Overlap by chance", "Overlap, of two different images"),
    )
    title = "Similarity of the maps of the same images"
    return ReportTable("agreement-of-maps", title, columns, tuple(rows)) if rows else None


def _apart(study: ReportInput, gallery: GalleryBuilder, pair: ClassifierPair) -> Section:
    """Return the images on which the predictions and the maps of two backbones differ most."""
    number = list(study.names).index(pair.first)
    unlike = pair.maps.least_alike if pair.maps else []
    return {
        "names": f"{study.names[pair.first]} and {study.names[pair.second]}",
        "number": number,
        "answers": [gallery.shot_of(number, one.id) for one in pair.disagreements[:MOST_SHOTS]],
        "maps": [gallery.shot_of(number, one.id) for one in unlike[:MOST_SHOTS]],
    }


def _changes(study: ReportInput, found: Comparison) -> Section:
    """Return what fine-tuning changed: overall, per class, and in the maps."""
    changes, classes = found.changes, study.data.classes
    recall = [one.recall for one in changes.values()]
    spread = {
        name: max((abs(own[name].value) for own in recall if name in own), default=0)
        for name in classes
    }
    shown = set(sorted(classes, key=lambda name: -spread[name])[:MOST_ROWS])
    order = [name for name in classes if name in shown]
    alt = "Change in recall per class by fine-tuning with 95 % CI; the table has the numbers"
    return {
        **_change_tables(study, found),
        "figure": change_dots(order, recall, "change-of-each-class", alt),
        "key": [key_entry(k, study.names[slug]) for k, slug in enumerate(changes)],
        "shown": len(order),
    }


def _change_tables(study: ReportInput, found: Comparison) -> dict[str, Any]:
    changes = {study.names[slug]: one for slug, one in found.changes.items()}
    total = ReportTable(
        "change-by-fine-tuning",
        "Change by fine-tuning",
        (
            *("Backbone", "Change in accuracy", "Correct only after adaptation"),
            *("Correct only after fine-tuning", "Test", "p"),
        ),
        tuple(
            (name, one.accuracy, one.first_only, one.second_only, one.test, one.p)
            for name, one in changes.items()
        ),
    )
    each = ReportTable(
        "change-of-each-class",
        "Change in recall per class by fine-tuning",
        ("Class", *changes),
        tuple(
            (name, *(one.recall.get(name) for one in changes.values()))
            for name in study.data.classes
        ),
    )
    moved = [(name, one.maps) for name, one in changes.items() if one.maps]
    movement = ReportTable(
        "movement-of-maps",
        "Movement of the maps by fine-tuning",
        ("Backbone", "Distance between centres", "To the right", "Downwards"),
        tuple((name, one.shift, one.right, one.down) for name, one in moved),
    )
    return {"total": total, "each": each, "movement": movement if moved else None}


def _over_folds(study: ReportInput, found: FoldComparison) -> Section:
    stage = STAGE_TITLES[found.stage].lower()
    title = f"Accuracy over {count(len(found.repetitions), found.over.removesuffix('s'))}"
    title += f" of {stage}"
    if found.left_out is not None:
        title = f"Accuracy of {stage} on each value of {found.left_out!r}, left out of training"
    file = f"{found.over}-{found.stage}"
    names = {slug: study.names.get(slug, slug) for slug in found.backbones}
    ranks = {slug: f"{rank:.2f}" for slug, rank in found.mean_ranks.items()}
    table = ReportTable(
        file,
        title,
        ("Backbone", "Mean", "Standard deviation", *found.repetitions, "Mean rank"),
        tuple(
            (names[slug], one.mean, one.deviation, *one.values, ranks.get(slug))
            for slug, one in found.backbones.items()
        ),
    )
    alt = f"Accuracy of {listing([*names.values()])} over the {found.over}, after {stage}"
    pairs = ReportTable(
        f"pairs-over-{file}",
        f"Pairs over the {found.over} of {stage}",
        ("First", "Second", "Mean difference", "p", "p, Holm"),
        tuple(
            (names[one.first], names[one.second], _difference(one), one.p, one.p_holm)
            for one in found.pairs
        ),
    )
    return {
        "title": title,
        "table": table,
        "figure": fold_dots(found, study.names, file, alt),
        "pairs": pairs if found.pairs else None,
        "note": _NOTES.get(found.test or ""),
        "untested": found.untested,
    }


def _difference(pair: FoldDifference) -> Value:
    if pair.low is None or pair.high is None:
        return pair.difference
    return Interval(value=pair.difference, low=pair.low, high=pair.high)
