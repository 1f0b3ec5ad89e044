"""Finished studies side by side: run directories in, the comparison of their classifiers out.

Studies are compared on the same test images only. It reads records and knows no networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seewhy.data.groups import join
from seewhy.errors import RunError
from seewhy.evaluation.comparison import compare
from seewhy.evaluation.performance import evaluate
from seewhy.pipeline.dependent_images import grouped, with_groups
from seewhy.report.text.tables import ReportTable
from seewhy.runtime.arguments import run_root
from seewhy.storage.atomic_writing import write_text
from seewhy.storage.run_directory import RunDirectory, refuse_study_files
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.base import STAGES
from seewhy.storage.schemas.comparison import Comparison
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.evaluation import Evaluation
from seewhy.storage.schemas.maps import Maps
from seewhy.storage.schemas.predictions import Predictions
from seewhy.storage.titles import STAGE_TITLES
from seewhy.wording import p_value, signed


@dataclass(frozen=True)
class ComparedStudies:
    """What `compare_studies` found: the comparison, and tables of the classifiers and their pairs.

    The classifiers are called after their runs: ``RUN``, or ``RUN/SLUG`` where a study has several.
    """

    comparison: Comparison
    tables: tuple[ReportTable, ...]


def compare_studies(
    roots: Sequence[Path | str], out: Path | str | None = None, seed: int = 0
) -> ComparedStudies:
    """Compare the classifiers of several studies with the same test images.

    Parameters
    ----------
    roots : sequence of Path or str
        Run directories, at least two.
    out : Path or str, optional
        File for the comparison as JSON; default: nothing is written.
    seed : int, default 0
        Of the bootstrap.

    Raises
    ------
    RunError
        Where there are fewer than two, one is named twice or has not ended, or where their
        classes or test images are not the same.
    """
    if out is not None:
        refuse_study_files(Path(out))
    runs = _opened([run_root(root) for root in roots])
    classes = tuple(runs[0].summary.read().data.classes)
    first = _test_images(runs[0].data.read())
    records: dict[str, BackboneRecords] = {}
    for label, run in zip(_labels(runs), runs, strict=True):
        summary = run.summary.read()
        order = _order(run, runs[0], classes, first)
        columns = np.array([summary.data.classes.index(name) for name in classes])
        for slug in summary.backbones:
            name = f"{label}/{slug}" if _several(runs) else label
            read = with_groups(run, run.backbones.read(slug, summary.data.classes))
            records[name] = _aligned(read, order, columns)
    records = _same_groups(records)
    evaluations = {
        name: evaluate(one.predictions, one.validation, one.baseline_predictions, classes, seed)
        for name, one in records.items()
    }
    names = {name: name for name in records}
    found = compare(records, evaluations, names, classes, seed=seed)
    if out is not None:
        write_text(Path(out), found.model_dump_json(indent=2, exclude_none=True) + "\n")
    return ComparedStudies(found, (_classifiers(evaluations), _pairs(found)))


def _same_groups(records: Mapping[str, BackboneRecords]) -> dict[str, BackboneRecords]:
    """Give the test images of all studies the groups that any of them has, joined.

    Then it does not matter which study is named first.
    """
    known = [
        found.groups
        for one in records.values()
        for found in one.predictions.values()
        if found.groups is not None
    ]
    if not known:
        return dict(records)
    groups = known[0]
    for one in known[1:]:
        joined = join(groups, one)
        assert joined is not None
        groups = joined
    return {name: grouped(one, groups) for name, one in records.items()}


def _opened(roots: Sequence[Path]) -> list[RunDirectory]:
    if len(roots) < 2:
        raise RunError(
            "expected two or more run directories to compare; the backbones of a single study are "
            "compared in its report"
        )
    seen: set[Path] = set()
    for root in roots:
        if root.resolve() in seen:
            raise RunError(f"{root}: is named twice; name each run directory once")
        seen.add(root.resolve())
    return [RunDirectory.open(root) for root in roots]


def _several(runs: Sequence[RunDirectory]) -> bool:
    return any(len(run.summary.read().backbones) > 1 for run in runs)


def _labels(runs: Sequence[RunDirectory]) -> list[str]:
    """Return what each study is called: its folder's name, or its path where two share a name."""
    names = [run.root.resolve().name for run in runs]
    return [
        name if names.count(name) == 1 else str(run.root)
        for name, run in zip(names, runs, strict=True)
    ]


def _test_images(data: Dataset) -> dict[str, tuple[str, str]]:
    """Return path and class of each test image, by id, in the data's order."""
    return {data.ids[k]: (data.paths[k], data.classes[data.labels[k]]) for k in data.where("test")}


def _order(
    run: RunDirectory,
    other: RunDirectory,
    classes: Sequence[str],
    wanted: Mapping[str, tuple[str, str]],
) -> NDArray[np.int64]:
    """Return where each wanted test image is among those of `run`; refuse others than these."""
    data = run.data.read()
    if set(data.classes) != set(classes):
        raise RunError(
            f"{run.root}: has other classes than {other.root} "
            f"({', '.join(data.classes[:5])}; there {', '.join(classes[:5])}); compare studies of "
            "the same data"
        )
    found = _test_images(data)
    same = sum(found.get(id_) == image for id_, image in wanted.items())
    if same < max(len(found), len(wanted)):
        raise RunError(
            f"{run.root}: its test images are not those of {other.root}: {same} of {len(wanted)} "
            f"have the same id, path and label, and it has {len(found)}; compare studies of the "
            "same data, divided alike"
        )
    place = {id_: k for k, id_ in enumerate(found)}
    return np.array([place[id_] for id_ in wanted], dtype=np.int64)


def _aligned(
    records: BackboneRecords, order: NDArray[np.int64], columns: NDArray[np.int64]
) -> BackboneRecords:
    """Put a backbone's test images and classes into another study's order."""
    base = records.baseline_predictions
    new = np.argsort(columns)  # A class's old number to its new one.

    def answers(given: Predictions, places: NDArray[np.int64]) -> Predictions:
        return Predictions(
            ids=tuple(given.ids[k] for k in places),
            labels=new[given.labels[places]].astype(np.int64),
            probabilities=given.probabilities[places][:, columns],
            groups=None if given.groups is None else given.groups[places],
        )

    def maps(given: Maps) -> Maps:
        names = ("maps", "label_maps", "scales", "label_scales", "empty", "label_empty")
        return replace(
            given,
            ids=tuple(given.ids[k] for k in order),
            explained=new[given.explained[order]].astype(np.int64),
            **{name: getattr(given, name)[order] for name in names},
        )

    return replace(
        records,
        predictions={stage: answers(one, order) for stage, one in records.predictions.items()},
        validation={
            stage: answers(one, np.arange(len(one.ids)))
            for stage, one in records.validation.items()
        },
        baseline_predictions=answers(base, order) if base else None,
        maps={stage: maps(one) for stage, one in records.maps.items()},
    )


def _classifiers(evaluations: Mapping[str, Evaluation]) -> ReportTable:
    rows = []
    for name, one in evaluations.items():
        before, after = (one.stages[stage] for stage in STAGES)
        error = after.calibration.error if after.calibration else None
        rows.append((name, before.accuracy, after.accuracy, after.f1, error))
    return ReportTable(
        name="studies",
        title="Test accuracy, macro F1 and calibration, with 95 % intervals",
        columns=("classifier", "adaptation", "fine-tuning", "macro F1", "calibration error"),
        rows=tuple(rows),
    )


def _pairs(found: Comparison) -> ReportTable:
    rows = []
    for pair in found.pairs:
        apart = pair.difference
        alike = pair.maps.pearson.value if pair.maps and pair.maps.pearson else None
        rows.append(
            (
                f"{found.names[pair.first]} − {found.names[pair.second]}",
                STAGE_TITLES[pair.stage],
                f"{signed(apart.value, 3)} ({signed(apart.low, 3)} to {signed(apart.high, 3)})",
                p_value(pair.p_holm),
                pair.test,
                pair.agreement,
                alike,
            )
        )
    return ReportTable(
        name="pairs",
        title="Differences in accuracy with 95 % intervals; p corrected after Holm",
        columns=("pair", "stage", "difference", "p", "test", "same answers", "maps' correlation"),
        rows=tuple(rows),
    )
