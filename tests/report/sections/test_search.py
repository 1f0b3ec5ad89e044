"""The section on the search, against numbers worked out by hand (see conftest.py)."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from seewhy.evaluation.published_results import HUMAN_ACCURACY
from seewhy.report.build import build_report
from seewhy.report.figures.search_figures import (
    PARAMETERS,
    Scale,
    against,
    best_so_far,
    course,
    importance_bars,
    rate,
    value_scale,
    varied,
)
from seewhy.report.sections.search import search_section
from seewhy.report.sections.section import ReportInput, Section
from seewhy.storage.schemas.search import FoldComparison, Trial

CIFAR = sorted(HUMAN_ACCURACY)
OFF = "The search was off: the head is given by the configuration."
SAME = "Cross-entropy and KL divergence have the same gradient for fixed labels"
Point = tuple[float, float]


@pytest.fixture
def study(make_run: Callable) -> ReportInput:
    """Two backbones: `net_a` was searched, `net_b` was not."""
    run, summary = make_run()
    records = {s: run.backbones.read(s, summary.data.classes) for s in summary.backbones}
    return ReportInput(run, summary, run.data.read(), records, None, "")


def _trials(study: ReportInput, layers: int | None = None) -> list[Trial]:
    return [t for t in study.records["net_a"].trials if layers in (None, t.layers)]


def _with(study: ReportInput, trials: Sequence[Trial]) -> Section:
    """The section's part on `net_a`, had it had other trials."""
    records = replace(study.records["net_a"], trials=tuple(trials))
    return search_section(replace(study, records={**study.records, "net_a": records}))


def _source(made: tuple) -> str:
    """The section as HTML."""
    page = build_report(*made).read_text("utf-8")
    return page.partition('<section id="search">')[2].partition("</section>")[0]


def _words(source: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", source)).split())


def _cells(source: str, table: str) -> list[list[str]]:
    """The rows of the first table with a class, as words."""
    body = re.search(rf'<table class="{table}">.*?</table>', source, re.DOTALL)
    assert body
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body[0], re.DOTALL)
    return [
        [_words(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def _dots(svg: str, paint: str, hollow: bool = False) -> list[Point]:
    """Where the signs of one colour stand in a figure."""
    found = []
    for use in ET.fromstring(svg).iter("use"):
        style = use.get("style", "")
        if f"{'stroke' if hollow else 'fill'}: var(--{paint})" in style and (
            ("fill-opacity: 0;" in style) == hollow
        ):
            found.append((float(use.get("x", "")), float(use.get("y", ""))))
    return found


def _line(svg: str, paint: str) -> list[Point]:
    """The corners of the figure's thick line in one colour."""
    for path in ET.fromstring(svg).iter("path"):
        if f"stroke: var(--{paint}); stroke-width: 1.8" in path.get("style", ""):
            numbers = [float(n) for n in re.findall(r"-?[\d.]+", path.get("d", ""))]
            return list(zip(numbers[::2], numbers[1::2], strict=True))
    return []


def _texts(svg: str) -> list[str]:
    return [
        " ".join("".join(element.itertext()).split()) for element in ET.fromstring(svg).iter("text")
    ]


def test_what_was_tried_and_what_won(study: ReportInput) -> None:
    opening = search_section(study)["parts"][0]["opening"]
    assert opening == (
        "9 trials in 31.5 s, suggested by a Gaussian process: 6 with one hidden layer and 3 with "
        "two; 1 failed and 1 was pruned by the median rule. Best head: one hidden layer "
        "(256 units), value 0.800 in trial 4. No further layer was tried: 2 hidden "
        "layers did not improve the validation accuracy (0.7900 against 0.8000)."
    )


def test_a_head_that_folds_do_not_accept_is_the_best_but_not_the_chosen_one(
    study: ReportInput,
) -> None:
    search = study.records["net_a"].search
    assert search_section(study)["parts"][0]["mark"] == "chosen"
    search.layer_counts[0].ended = "3 trials in a row brought no more than chance"
    search.comparison = FoldComparison(accepted=False, reason="the configured head stays")
    part = search_section(study)["parts"][0]
    assert part["mark"] == "best"
    assert (
        "in trial 4. With one hidden layer, 3 trials in a row brought no more than chance. No "
        "further layer was tried" in part["opening"]
    )
    assert part["opening"].endswith("against 0.8000). The configured head stays.")


def test_one_layer_count_without_trouble(study: ReportInput) -> None:
    del study.records["net_a"].search.layer_counts[1]
    section = _with(study, [t for t in _trials(study, 1) if t.state == "complete"])
    assert section["parts"][0]["opening"].startswith(
        "4 trials in 31.5 s, suggested by a Gaussian process, each with one hidden layer. Best head"
    )
    assert not section["further"]


def test_a_layer_count_without_success(study: ReportInput) -> None:
    del study.records["net_a"].search.layer_counts[1]
    lost = [replace(t, state="failed", value=None, reason="x") for t in _trials(study, 2)]
    part = _with(study, [*_trials(study, 1), *lost])["parts"][0]
    assert "6 with one hidden layer and 3 with two; 4 failed and 1 was" in part["opening"]
    second = part["layers"][1]
    assert second["name"] == "two hidden layers"
    assert len(_dots(second["course"], "ink")) == 3
    assert not _dots(second["course"], "series-2")
    assert second["before"] == 0.8
    assert second["importance"] is None


def test_best_parameters_a_layer_count(make_run: Callable) -> None:
    header, *rows = _cells(_source(make_run()), "heads")
    assert ", ".join(header) == (
        "Layers added, Units, Dropout, Learning rate, Batch size, Loss, Best value, Trials"
    )
    assert rows == [
        ["1 ✓ chosen", "256", "0.3", "0.001", "64", "cross-entropy", "0.8000", "6"],
        ["2", "300 + 150", "0.2", "0.001", "64", "cross-entropy", "0.7900", "3"],
    ]


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        (
            "resnet50.tv_in1k",
            [["178", "0", "0.001", "64"], ["55 + 27", "0", "0.001", "64"]],
        ),
        (
            "inception_v3",
            [["93", "0.1", "0.00056", "16"], ["512 + 256", "0.6", "0.00056", "16"]],
        ),
        (
            "local-dir:weights/vgg16",
            [["312", "0.6", "0.000725", "64"], ["512 + 256", "0", "0.000725", "64"]],
        ),
    ],
)
def test_the_papers_parameters(make_run: Callable, backbone: str, expected: list) -> None:
    source = _source(make_run(classes=CIFAR, backbones=["net_a"], names=[backbone]))
    *_, title, first, second = _cells(source, "heads")
    assert title[0].endswith("in the paper, on CIFAR-10.2")
    # The paper gives no best values; the head with one layer went on in all its networks.
    assert first == ["1 ✓ chosen", *expected[0], "cross-entropy", "–", "–"]
    assert second == ["2", *expected[1], "cross-entropy", "–", "–"]


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["cat", "dog", "frog"], ["resnet50", "vgg16"]),
        # The second network is the paper's, but nothing was searched for it.
        (CIFAR, ["tf_efficientnet_lite0", "resnet50"]),
    ],
)
def test_the_papers_parameters_stand_nowhere_else(
    make_run: Callable, classes: list[str], names: list[str]
) -> None:
    assert "paper" not in _words(_source(make_run(classes=classes, names=names)))


def test_every_trial_is_in_the_table(make_run: Callable) -> None:
    source = _source(make_run(backbones=["net_a"]))
    header, *rows = _cells(source, "trials")
    assert len(header) == 12
    assert len(rows) == 9
    assert rows[0][:7] == ["1", "0", "complete", "0.6000", "64", "0.5", "1e-5"]
    assert rows[1][7:] == ["32", "KL divergence", "11", "2.5", ""]
    assert rows[2][:7] == ["1", "2", "failed", "–", "512", "0", "0.001"]
    assert rows[2][7:] == ["16", "KL divergence", "12", "3.5", "the loss became NaN in epoch 2"]
    assert rows[3][6] == "0.000235"
    assert rows[4][2] == "complete ✓ chosen"
    assert rows[5][2:4] == ["pruned", "0.8500"]
    assert rows[6][:5] == ["2", "0", "complete", "0.7800", "55 + 27"]
    assert [row for row in rows if "chosen" in row[2]] == [rows[4]]
    assert "1 trial failed: the loss became NaN in epoch 2" in _words(source.partition("<det")[0])


def test_reasons_stay_text(make_run: Callable) -> None:
    evil = '<script>alert(1)</script>\n"><img src=x onerror=alert(2)> {{ 7 * 7 }}'
    source = _source(make_run(failed=evil))
    assert "<script" not in source
    assert "<img" not in source
    shown = '<script>alert(1)</script> "><img src=x onerror=alert(2)> {{ 7 * 7 }}'
    assert html.unescape(source).count(shown) == 2


def test_failures_are_counted_by_reason(study: ReportInput) -> None:
    reasons = ["b", "a", "a", "", "c", "d", "e", "x" * 900]
    failed = replace(_trials(study)[2], layers=1)
    trials = tuple(replace(failed, number=10 + k, reason=r) for k, r in enumerate(reasons))
    part = _with(study, trials)["parts"][0]
    assert part["reasons"] == [
        "2 trials failed: a",
        "1 trial failed: b",
        "1 trial failed: no reason was recorded",
        "1 trial failed: c",
        "1 trial failed: d",
        "2 further reasons: see the table of all trials",
    ]
    assert len(part["trials"][-1]["reason"]) == 400


def test_no_search_at_all(make_run: Callable) -> None:
    made = make_run(searched=[])
    source = _source(made)
    assert _words(source) == f"Search {OFF}"
    assert '<a href="#search">' in made[0].report.path.read_text("utf-8")


def test_what_else_is_said(make_run: Callable) -> None:
    words = _words(_source(make_run()))
    assert f"{SAME}, so a difference between them in these trials is chance." in words
    assert "Two hidden layers Too few completed trials (3) to estimate importance." in words
    assert words.endswith(
        "net_b The search was off for this backbone: its head is given by the configuration."
    )
    assert OFF not in words


def test_equal_gradients_are_told_where_both_losses_were_searched(study: ReportInput) -> None:
    assert search_section(study)["both_losses"]
    one = [replace(trial, loss="cross-entropy") for trial in _trials(study)]
    assert not _with(study, one)["both_losses"]


def test_best_so_far_is_the_running_maximum(study: ReportInput) -> None:
    trials = _trials(study, 1)
    # Trial 2 failed; trial 5 was pruned at 0.85, which is no head's value.
    assert best_so_far(trials) == [0.6, 0.7, 0.7, 0.7, 0.8, 0.8]
    assert best_so_far(trials[2:4]) == [None, 0.66]
    # Of a loss the lowest.
    assert best_so_far(trials, lower=True) == [0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    assert value_scale(trials, "log_loss")[2:] == (0, float("inf"))
    assert value_scale(trials, "kappa")[2:] == (-1, 1)
    assert best_so_far([replace(trials[0], value=float("nan")), trials[1]]) == [None, 0.7]


def test_the_course_is_drawn_where_the_records_say(study: ReportInput) -> None:
    trials = _trials(study, 1)
    scale = value_scale(trials)
    svg = str(course(trials, 4, None, scale, "c", "alt"))
    dots = _dots(svg, "series-1")
    (_, low), (_, middle), _, (peak_x, peak) = dots

    def value(y: float) -> float:
        return round(0.6 + 0.2 * (y - low) / (peak - low), 4)

    assert [value(y) for _, y in dots] == [0.6, 0.7, 0.66, 0.8]
    assert value(middle) == 0.7
    # Corners of a staircase: a level lasts until the next trial is done.
    levels = [value(y) for _, y in _line(svg, "series-1")]
    assert levels == [0.6, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.8, 0.8, 0.8]
    assert [value(y) for _, y in _dots(svg, "series-1", hollow=True)] == [0.85]
    ((_, foot),) = _dots(svg, "ink")
    assert value(foot) < 0.6
    assert _dots(svg, "ink", hollow=True) == [(peak_x, peak)]


def test_what_a_further_layer_had_to_beat(study: ReportInput) -> None:
    first, second = search_section(study)["parts"][0]["layers"]
    dashes = "stroke-dasharray: 4,2"
    assert dashes not in first["course"]
    assert second["course"].count(dashes) == 1
    assert (first["before"], second["before"]) == (None, 0.8)
    assert (first["sign"], second["sign"]) == ("●", "■")


def test_figures_say_what_they_show(study: ReportInput) -> None:
    first, second = search_section(study)["parts"][0]["layers"]
    assert ET.fromstring(first["course"]).get("aria-label") == (
        "Value of each of 6 trials of net_a with one hidden layer, and the best so far, which "
        "rises from 0.600 to 0.800; 1 failed, 1 pruned"
    )
    assert "3 trials of net_a with two hidden layers" in second["course"]
    assert ET.fromstring(first["importance"]).get("aria-label") == (
        "Importance of the hyperparameters of net_a with one hidden layer: "
        "learning rate 0.62, units p 0.20, batch size 0.10, dropout 0.05 and loss 0.03"
    )


def test_colours_are_the_pages(study: ReportInput) -> None:
    part = search_section(study)["parts"][0]
    drawn = [one[kind] for one in part["layers"] for kind in ("course", "importance")]
    for svg in filter(None, [*drawn, *part["panels"]]):
        assert "var(--series-" in svg
        assert not re.search(r"#[0-9a-f]{6}", svg)


def test_only_what_was_searched_is_set_against_the_value(study: ReportInput) -> None:
    trials = _trials(study)
    assert {name: len(varied(trials, name)) for name in PARAMETERS} == {
        "learning_rate": 6,
        "dropout": 9,
        "units_p": 9,
        "batch_size": 6,
        "loss": 6,
    }
    panels = search_section(study)["parts"][0]["panels"]
    titles = [_texts(str(panel)) for panel in panels]
    assert [name for name in PARAMETERS.values() if sum(name in t for t in titles) == 1] == list(
        PARAMETERS.values()
    )
    assert [bool(_dots(panel, "series-2")) for panel in panels] == [False, True, True, False, False]


def test_learning_rates_lie_on_a_logarithmic_axis(study: ReportInput) -> None:
    trials = [trial for trial in _trials(study, 1) if trial.number in (0, 1, 4)]
    svg = str(against(trials, "learning_rate", Scale(0, 1), "p", "alt"))
    first, second, third = (x for x, _ in _dots(svg, "series-1"))
    assert second - first == pytest.approx(third - second, abs=1e-4)
    assert {"1e-5", "1e-4", "1e-3"} <= set(_texts(svg))
    near = [replace(trials[0], learning_rate=r) for r in (2.34e-4, 4e-4)]
    assert {"2.3e-4", "4e-4"} <= set(
        _texts(str(against(near, "learning_rate", Scale(0, 1), "p", "")))
    )


def test_choices_are_columns_that_never_mix(study: ReportInput) -> None:
    base = _trials(study, 1)[0]
    trials = [replace(base, number=k, batch_size=(16, 32, 64)[k % 3]) for k in range(35)]
    svg = against(trials, "batch_size", Scale(0, 1), "p", "alt")
    assert svg == against(trials, "batch_size", Scale(0, 1), "p", "alt")
    places = [x for x, _ in _dots(svg, "series-1")]
    columns = [sorted(places[k::3]) for k in range(3)]
    assert columns[0][-1] < columns[1][0] < columns[1][-1] < columns[2][0]
    assert all(len(set(column)) == len(column) for column in columns)
    assert {"16", "32", "64"} <= set(_texts(svg))
    loss = against(varied(_trials(study, 1), "loss"), "loss", Scale(0, 1), "p", "alt")
    assert {"entropy", "divergence"} <= {word for t in _texts(loss) for word in t.split()}


def test_importance_largest_on_top_or_why_not(study: ReportInput) -> None:
    first, second = search_section(study)["parts"][0]["layers"]
    bars = [t for t in _texts(first["importance"]) if not re.fullmatch(r"0|1|0\.25|0\.5|0\.75", t)]
    assert sorted(bars[:5]) == sorted(PARAMETERS.values())
    assert bars[:2] == ["learning rate", "units p"]
    assert bars[5:] == ["0.62", "0.20", "0.10", "0.05", "0.03"]
    assert second["importance"] is None
    equal = [replace(trial, value=0.5) for trial in _trials(study, 2)]
    said = _with(study, equal)["parts"][0]["layers"][0]["unknown"]
    assert said == "All completed trials have the same value: no hyperparameter mattered."
    # A parameter of a later version has a name all the same.
    assert "weight decay" in _texts(importance_bars({"weight_decay": 1.0}, 1, "i", "alt"))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1e-3, "0.001"),
        (5.6e-4, "0.00056"),
        (7.25e-4, "0.000725"),
        (5.62341e-5, "5.62e-5"),
        (1, "1"),
    ],
)
def test_learning_rates_in_words(number: float, expected: str) -> None:
    assert rate(number) == expected


def _odd(base: Trial, kind: str) -> Sequence[Trial]:
    if kind == "one":
        return (base,)
    if kind == "equal":
        return [replace(base, number=k) for k in range(35)]
    if kind == "none has a value":
        return [replace(base, number=k, value=None, state="failed", reason="x") for k in range(3)]
    if kind == "pruned before anything":
        return [base, replace(base, number=1, value=None, state="pruned", dropout=0.1)]
    return [replace(base, layers=n, units=(9,) * n, number=k) for n in range(1, 9) for k in (0, 1)]


@pytest.mark.parametrize(
    "kind", ["one", "equal", "none has a value", "pruned before anything", "eight layers"]
)
def test_odd_searches_are_drawn(study: ReportInput, kind: str) -> None:
    trials = tuple(_odd(study.records["net_a"].trials[4], kind))
    part = _with(study, trials)["parts"][0]
    assert len(part["panels"]) == (1 if kind == "pruned before anything" else 0)
    assert len(part["trials"]) == len(trials)
    for layers in {trial.layers for trial in trials}:
        own = [trial for trial in trials if trial.layers == layers]
        ET.fromstring(course(own, 0, 0.5, value_scale(trials), "c", "alt"))
