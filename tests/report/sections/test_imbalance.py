"""Measures for unequal classes in the page; what is not defined is shown as missing."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

from seewhy.config import validate
from seewhy.evaluation.metrics import score
from seewhy.pipeline.imbalance import write_imbalance
from seewhy.report.build import _read, build_report
from seewhy.report.sections.imbalance import imbalance_section
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.summary import Summary
from tests.report.conftest import Make

# Nine test images of two classes, one of them rare.
TWO = {
    "net_a": [(0, 0, 0.9)] * 5 + [(0, 1, 0.6), (1, 1, 0.8), (1, 1, 0.7), (1, 0, 0.55)],
    "net_b": [(0, 0, 0.9)] * 6 + [(1, 1, 0.8), (1, 1, 0.7), (1, 0, 0.55)],
}


def judge(made: tuple[RunDirectory, Summary]) -> None:
    """Write imbalance.json of each backbone, as a study does."""
    run, summary = made
    for slug in summary.backbones:
        write_imbalance(run, slug, run.backbones.read(slug, summary.data.classes), 0)


def _words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_table_has_every_backbone_and_stage(make_run: Make) -> None:
    run, summary = made = make_run(("no", "yes"), answers=TWO)
    judge(made)
    words = _words(build_report(run, summary).read_text("utf-8"))
    assert "Unequal classes" in words
    assert "The positive class is &#39;yes&#39;, which has fewer training images" in words
    path = run.report.path.parent / "tables" / "unequal-classes.csv"
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [(row["Backbone"], row["Stage"]) for row in rows] == [
        (slug, stage) for slug in ("net_a", "net_b") for stage in ("Adaptation", "Fine-tuning")
    ]
    predicted = run.backbones.read("net_a", ("no", "yes")).predictions["finetuning"]
    recall = score(predicted.labels, predicted.predicted, ("no", "yes")).per_class_recall
    assert float(rows[1]["Sensitivity"]) == pytest.approx(recall["yes"]) == pytest.approx(2 / 3)
    assert float(rows[1]["Specificity"]) == pytest.approx(recall["no"]) == pytest.approx(5 / 6)
    assert float(rows[1]["Balanced accuracy"]) == pytest.approx(np.mean([2 / 3, 5 / 6]))


def test_the_operating_point_is_a_sentence_a_table_and_a_mark(make_run: Make) -> None:
    run, summary = made = make_run(("no", "yes"), backbones=("net_a",), answers=TWO)
    config = {"evaluation": {"positive": "no", "operating_point": "specificity=0.9"}}
    run.config.write(validate(config, "test"))
    for stage in ("adaptation", "finetuning"):
        test = run.backbones.read("net_a", ("no", "yes")).predictions["finetuning"]
        run.training.write_validation("net_a", stage, test, ("no", "yes"))
    judge(made)
    words = _words(build_report(run, summary).read_text("utf-8"))
    assert "The positive class is &#39;no&#39;: sensitivity is" in words
    # The negative image with 0.55 for "no" is rejected from above 0.55 on.
    assert "Predict &#39;no&#39; from a probability of 0.725 on" in words
    assert "◇ operating point" in words
    path = run.report.path.parent / "tables" / "operating-point.csv"
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [float(row["Specificity"]) for row in rows] == [pytest.approx(2 / 3), 1]
    assert [float(row["Threshold"]) for row in rows] == [0.5, pytest.approx(0.725)]
    drawn = (run.report.path.parent / "figures" / "ranking-curves-net_a.svg").read_text("utf-8")
    assert "Precision and recall" in drawn


def test_curves_of_more_classes_are_not_drawn(make_run: Make) -> None:
    run, summary = made = make_run(backbones=("net_a",))
    judge(made)
    study = _read(run, summary)
    found = imbalance_section(study)
    assert (found["curves"], found["points"], found["thresholds"]) == ([], [], None)


@pytest.mark.parametrize(
    ("ordered", "order"),
    [(True, ["cat", "dog", "frog"]), (["frog", "cat", "dog"], ["frog", "cat", "dog"])],
)
def test_ordered_classes_have_their_measures(
    make_run: Make, ordered: object, order: list[str]
) -> None:
    run, summary = made = make_run(backbones=("net_a",))
    run.config.write(validate({"data": {"ordered": ordered}}, "test"))
    judge(made)
    found = imbalance_section(_read(run, summary))
    assert found["order"].startswith(f"The classes are ordered: {', '.join(order)}. Quadratic")
    assert found["table"].columns[-2:] == ("Quadratic kappa", "Mean absolute error")
    # Fine-tuning takes two dogs for cats: neighbours in both orders.
    assert found["table"].rows[1][-1].value == pytest.approx(2 / 8)


def test_a_class_without_test_images_is_missing(make_run: Make) -> None:
    run, summary = made = make_run(("cat", "dog", "frog", "newt"))
    judge(made)
    html = build_report(run, summary).read_text("utf-8")
    path = run.report.path.parent / "tables" / "ranking-net_a.csv"
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [(row["Images"], row["AUROC"]) for row in rows if row["Class"] == "newt"] == [
        ("0", ""),
        ("0", ""),
    ]
    assert "The positive class is" not in html
    assert "Sensitivity" not in html


def test_a_study_without_the_record_has_no_such_part(make_run: Make) -> None:
    run, summary = make_run()
    assert "Unequal classes" not in build_report(run, summary).read_text("utf-8")
