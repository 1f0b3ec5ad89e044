"""Performance with intervals, calibration and comparisons in the page; missing shown as missing."""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from seewhy.evaluation.comparison import compare
from seewhy.evaluation.performance import evaluate
from seewhy.report.build import build_report, write_as_markdown
from seewhy.report.figures.statistics_figures import (
    change_dots,
    faithfulness_curves,
    reliability,
)
from seewhy.statistics.bootstrap import Interval
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.comparison import FoldComparison, FoldDifference, FoldScores
from seewhy.storage.schemas.evaluation import Calibration, ReliabilityBin
from seewhy.storage.schemas.faithfulness import FaithfulnessCurve
from seewhy.storage.schemas.summary import Summary
from seewhy.storage.titles import display_names

FOLDS = FoldComparison(
    stage="adaptation",
    repetitions=["fold 1", "fold 2", "fold 3"],
    backbones={
        "net_a": FoldScores(mean=0.8, deviation=0.1, values=[0.7, 0.8, 0.9]),
        "net_b": FoldScores(mean=0.6, deviation=0.05, values=[0.55, 0.6, 0.65]),
        "net_c": FoldScores(mean=0.79, deviation=0.02, values=[0.79, 0.77, 0.81]),
    },
    test="corrected t",
    held_out_ratio=0.55,
    mean_ranks={"net_a": 1.33, "net_b": 3.0, "net_c": 1.67},
    pairs=[
        FoldDifference(
            first="net_a", second="net_b", difference=0.2, low=-0.1, high=0.5, p=0.06, p_holm=0.12
        )
    ],
)


def judge(made: tuple[RunDirectory, Summary], folds: Sequence[FoldComparison] = ()) -> None:
    """Write what the evaluation finds in a study, with few bootstrap draws."""
    run, summary = made
    classes = summary.data.classes
    records = {slug: run.backbones.read(slug, classes) for slug in summary.backbones}
    evaluations = {
        slug: evaluate(one.predictions, one.validation, one.baseline_predictions, classes, draws=40)
        for slug, one in records.items()
    }
    for slug, evaluation in evaluations.items():
        run.evaluation.write(slug, evaluation)
    names = display_names(summary)
    run.evaluation.write_comparison(compare(records, evaluations, names, classes, folds, draws=40))


def _csv(run: RunDirectory, name: str) -> list[dict[str, str]]:
    with (run.root / "report" / "tables" / f"{name}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _words(path: Path) -> str:
    page = path.read_text("utf-8")
    body = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_what_is_compared_stands_in_the_page(make_run: Callable) -> None:
    made = make_run(backbones=("net_a", "net_b", "net_c"))
    seeds = FOLDS.model_copy(
        update={"over": "seeds", "repetitions": ["seed 0", "seed 1", "seed 2"], "test": "paired t"}
    )
    judge(made, [FOLDS, seeds])
    run = made[0]
    words = _words(build_report(*made))
    measured = _csv(run, "test-performance-intervals")
    final = next(r for r in measured if (r["Backbone"], r["Stage"]) == ("net_a", "Fine-tuning"))
    assert float(final["Accuracy"]) == 0.75
    assert float(final["Accuracy, low"]) < 0.75 < float(final["Accuracy, high"])
    # Where it is wrong, dog comes second.
    assert float(final["Top 2"]) == 1.0
    pair = next(r for r in _csv(run, "pairs-of-backbones") if r["Stage"] == "Fine-tuning")
    # Net A is right in 0 1 2 4 6 7, Net B in 0 2 3 4 7.
    counts = ("Both correct", "Only the first", "Only the second", "Both wrong")
    assert [pair[name] for name in counts] == ["4", "2", "1", "1"]
    assert float(pair["Difference in accuracy"]) == pytest.approx(0.125)
    change = _csv(run, "change-of-each-class")
    assert float(change[1]["net_a"]) == pytest.approx(-1 / 3)
    assert "Accuracy over 3 folds of adaptation" in words
    assert "Accuracy over 3 seeds of adaptation" in words
    assert "may not hold for other images" in words
    assert "seed 2" in _csv(run, "seeds-adaptation")[0]
    assert "Each pair is tested with the corrected resampled t-test" in words
    (row,) = _csv(run, "pairs-over-folds-adaptation")
    assert (row["Mean difference, low"], row["p"], row["p, Holm"]) == ("-0.1", "0.06", "0.12")
    assert [row["fold 3"] for row in _csv(run, "folds-adaptation")] == ["0.9", "0.65", "0.81"]
    assert "Main results" in words
    assert "critical difference" not in words.lower()
    markdown = write_as_markdown(run.root).read_text("utf-8")
    assert "figures/reliability-net_a.svg" in markdown


def test_pictures_of_what_backbones_differ_on(make_run: Callable) -> None:
    made = make_run()
    judge(made)
    page = build_report(*made).read_text("utf-8")
    apart = page[page.index('class="gallery many apart"') :]
    assert re.findall(r'data-id="(id\d+)"', apart)[0] == "id015"  # 0.99 for frog and for dog
    assert "Least similar maps" in apart


def test_missing_records_are_said_to_be_missing(make_run: Callable) -> None:
    words = _words(build_report(*make_run()))
    assert "Missing: this study has no comparison.json" in words
    assert "Missing: this study has no evaluation.json" in words
    assert "Missing: this study was made by a version without data checks" in words
    assert "Missing: there is no quality_issues.json of net_a" in words


def test_one_backbone_and_no_folds(make_run: Callable) -> None:
    made = make_run(backbones=("net_a",))
    judge(made)
    words = _words(build_report(*made))
    assert "The study has one backbone, so there is no comparison between backbones." in words
    assert "The study has no folds" in words


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("text")]


def test_reliability_has_a_bar_for_each_bin_with_images() -> None:
    bins = [
        ReliabilityBin(low=0, high=0.5, images=0, confidence=None, accuracy=None),
        ReliabilityBin(low=0.5, high=1, images=4, confidence=0.8, accuracy=0.5),
    ]
    span = Interval(value=0.3, low=0.2, high=0.4)
    usual = {"error_if_calibrated": 0.1, "error_if_calibrated_high": 0.2}
    found = Calibration(error=span, **usual, confidence=0.8, nll=0.9, bins=bins)
    svg = str(reliability({"adaptation": found}, {"adaptation": found}, "f", "alt"))
    assert svg.count("fill: var(--adaptation)") == 1
    assert "var(--finetuning)" not in svg


def test_faithfulness_has_a_panel_for_each_curve() -> None:
    curve = FaithfulnessCurve(
        shares=(0.0, 0.5, 1.0),
        maps=(0.9, 0.2, 0.1),
        random=(0.9, 0.6, 0.1),
        gaussian=(0.9, 0.4, 0.1),
    )
    svg = str(faithfulness_curves({"deletion (blur)": curve, "$x$": curve}, "f", "alt"))
    assert {"deletion (blur)", "$x$"} <= set(_texts(svg))
    # The maps' line, three dots: twice.
    assert svg.count("stroke: var(--finetuning); stroke-width: 2") == 2


def test_changes_of_classes_that_are_missing_are_left_out() -> None:
    span = Interval(value=-0.1, low=-0.2, high=0.1)
    svg = str(change_dots(["a", "$b$"], [{"a": span}, {"$b$": span}], "f", "alt"))
    assert {"a", "$b$"} <= set(_texts(svg))
    assert {"var(--series-1)", "var(--series-2)"} <= set(re.findall(r"var\(--[a-z0-9-]+\)", svg))
