"""The report's section on comparisons: between backbones, between stages, over folds."""

from __future__ import annotations

from collections.abc import Sequence

from seewhy.report.figures.statistics_figures import change_dots, fold_dots
from seewhy.report.figures.svg import MARKERS, SIGNS
from seewhy.report.sections.gallery import GalleryBuilder, GalleryImage
from seewhy.report.sections.section import MOST_ROWS, ReportInput, Section
from seewhy.report.text.tables import BoundedNumber, ReportTable, Value, bounded
from seewhy.storage.schemas.base import Stage
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
    """Return tables, figures and pictures of the differences; empty where nothing was compared.

    Parameters
    ----------
    study : ReportInput
    gallery : GalleryBuilder
        Of the same study.
    """
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
            *(bounded(one.difference), one.test, one.p, one.p_holm, one.agreement, one.kappa),
        )
        for one in found.pairs
    ]
    columns = (
        *("Stage", "First", "Second", "Both correct", "Only the first", "Only the second"),
        *("Both wrong", "Difference in accuracy", "McNemar’s test", "p", "p, Holm", "Agreement"),
        "Cohen’s kappa",
    )
    title = "Pairs of backbones on the same test images"
    return ReportTable("pairs-of-backbones", title, columns, tuple(rows)) if rows else None


def _agreement_cells(one: MapAgreement) -> tuple[Value, ...]:
    return (
        *(one.images, bounded(one.pearson), bounded(one.spearman)),
        *(one.pearson_other_image, bounded(one.overlap), one.overlap_by_chance),
        one.overlap_other_image,
    )


def _map_agreement(study: ReportInput, found: Comparison) -> ReportTable | None:
    rows: list[tuple[Value, ...]] = []
    for pair in found.pairs:
        if pair.maps:
            both = f"{study.names[pair.first]} and {study.names[pair.second]}"
            rows.append((both, STAGE_TITLES[pair.stage], *_agreement_cells(pair.maps)))
    for slug, change in found.changes.items():
        if change.maps:
            rows.append(
                (study.names[slug], "both stages", *_agreement_cells(change.maps.agreement))
            )
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
    differing = [one.id for one in pair.disagreements[:MOST_SHOTS]]
    unlike = [one.id for one in pair.maps.least_alike[:MOST_SHOTS]] if pair.maps else []
    return {
        "names": f"{study.names[pair.first]} and {study.names[pair.second]}",
        "number": number,
        "answers": _shots(gallery, number, differing),
        "maps": _shots(gallery, number, unlike),
    }


def _shots(gallery: GalleryBuilder, number: int, ids: Sequence[str]) -> list[GalleryImage]:
    return [gallery.shot_of(number, id_) for id_ in ids]


def _changes(study: ReportInput, found: Comparison) -> Section:
    """Return what fine-tuning changed: overall, per class, and in the maps."""
    changes = found.changes
    total = ReportTable(
        "change-by-fine-tuning",
        "Change by fine-tuning",
        (
            *("Backbone", "Change in accuracy", "Correct only after adaptation"),
            *("Correct only after fine-tuning", "McNemar’s test", "p"),
        ),
        tuple(
            (
                *(study.names[slug], bounded(one.accuracy), one.first_only, one.second_only),
                *(one.test, one.p),
            )
            for slug, one in changes.items()
        ),
    )
    classes = study.data.classes
    each = ReportTable(
        "change-of-each-class",
        "Change in recall per class by fine-tuning",
        ("Class", *(study.names[slug] for slug in changes)),
        tuple(
            (name, *(bounded(one.recall.get(name)) for one in changes.values())) for name in classes
        ),
    )
    moved = [(study.names[slug], one.maps) for slug, one in changes.items() if one.maps]
    movement = ReportTable(
        "movement-of-maps",
        "Movement of the maps by fine-tuning",
        ("Backbone", "Distance between centres", "To the right", "Downwards"),
        tuple((name, bounded(one.shift), one.right, one.down) for name, one in moved),
    )
    spread = {
        name: max(
            (abs(one.recall[name].value) for one in changes.values() if name in one.recall),
            default=0,
        )
        for name in classes
    }
    shown = set(sorted(classes, key=lambda name: -spread[name])[:MOST_ROWS])
    order = [name for name in classes if name in shown]
    alt = "Change in recall per class by fine-tuning with 95 % CI; the table has the numbers"
    return {
        "total": total,
        "each": each,
        "movement": movement if moved else None,
        "figure": change_dots(
            order, [one.recall for one in changes.values()], "change-of-each-class", alt
        ),
        "key": [
            {
                "sign": SIGNS[k % len(MARKERS)],
                "name": study.names[slug],
                "paint": k % len(MARKERS) + 1,
            }
            for k, slug in enumerate(changes)
        ],
        "shown": len(order),
    }


def _over_folds(study: ReportInput, found: FoldComparison) -> Section:
    stage: Stage = found.stage
    title = f"Accuracy over {count(len(found.repetitions), found.over.removesuffix('s'))}"
    title += f" of {STAGE_TITLES[stage].lower()}"
    file = f"{found.over}-{stage}"
    table = ReportTable(
        file,
        title,
        ("Backbone", "Mean", "Standard deviation", *found.repetitions, "Mean rank"),
        tuple(
            (
                study.names.get(slug, slug),
                one.mean,
                one.deviation,
                *one.values,
                None if slug not in found.mean_ranks else f"{found.mean_ranks[slug]:.2f}",
            )
            for slug, one in found.backbones.items()
        ),
    )
    names = [study.names.get(slug, slug) for slug in found.backbones]
    alt = f"Accuracy of {listing(names)} over the {found.over}, after {STAGE_TITLES[stage].lower()}"
    rows: list[tuple[Value, ...]] = [
        (
            *(study.names.get(slug, slug) for slug in (one.first, one.second)),
            *(_difference(one), one.p, one.p_holm),
        )
        for one in found.pairs
    ]
    pairs = ReportTable(
        f"pairs-over-{file}",
        f"Pairs over the {found.over} of {STAGE_TITLES[stage].lower()}",
        ("First", "Second", "Mean difference", "p", "p, Holm"),
        tuple(rows),
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
    return BoundedNumber(pair.difference, pair.low, pair.high)
