"""Figures: well-formed, themed, and nothing of a class's name read as mathematics or markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from seewhy.report.figures.training_figures import DotSeries, curves, recall_dots
from seewhy.storage.schemas.training import Epoch

HOSTILE = ["<script>alert(1)</script>", "$x^2$", "_a_b$", '"onerror="alert(1)', "猫", "a\x01\nb"]
STAGES = ("adaptation", "finetuning")


def _history(epochs: int) -> list[Epoch]:
    return [Epoch(k, 1 / k, 0.5, 1.2 / k, 0.4 + k / 100, 1e-3, 1.0) for k in range(1, epochs + 1)]


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("text")]


def test_names_stay_text() -> None:
    series = [DotSeries("fine", dict.fromkeys(HOSTILE, 0.5), "finetuning")]
    svg = str(recall_dots(HOSTILE, series, "f", '<b>alt</b> & "more"'))
    shown = _texts(svg)
    for name in HOSTILE[:-1]:
        assert name in shown
    assert "a��b" in shown
    assert "<script" not in svg
    assert ET.fromstring(svg).get("aria-label") == '<b>alt</b> & "more"'


def test_colours_are_the_pages() -> None:
    history = dict.fromkeys(STAGES, _history(4))
    svg = str(curves(history, dict.fromkeys(STAGES, 2), "loss", "f", "alt"))
    assert "var(--adaptation)" in svg
    assert "var(--finetuning)" in svg
    # No fixed colour would be readable on both light and dark.
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert not re.search("<style|<metadata|font-family", svg)


def test_ids_of_two_figures_differ_and_references_are_met() -> None:
    series = [DotSeries("fine", {"a": 0.5, "b": 0.7}, "finetuning")]
    both = [str(recall_dots(["a", "b"], series, name, "alt")) for name in ("one", "two")]
    ids = [re.findall(r' id="([^"]+)"', svg) for svg in both]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    for svg, known in zip(both, ids, strict=True):
        used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
        assert {a or b for a, b in used} <= set(known)


def test_the_same_figure_twice_is_the_same_text() -> None:
    history = dict.fromkeys(STAGES, _history(5))
    first, second = (
        curves(history, dict.fromkeys(STAGES, 3), "accuracy", "f", "alt") for _ in range(2)
    )
    assert first == second


def test_the_best_epoch_is_marked_where_there_is_one() -> None:
    history = dict.fromkeys(STAGES, _history(5))
    lines = [
        str(curves(history, {"adaptation": best, "finetuning": 0}, "loss", "f", "a")).count(
            "stroke-dasharray: 0.7"
        )
        for best in (3, 0)
    ]
    assert lines == [1, 0]


@pytest.mark.parametrize("epochs", [0, 1])
def test_short_stages(epochs: int) -> None:
    history = {"adaptation": _history(3), "finetuning": _history(epochs)}
    svg = curves(history, dict.fromkeys(STAGES, epochs), "loss", "f", "alt")
    assert "Fine-tuning" in _texts(svg)


def test_missing_and_undefined_values_are_left_out() -> None:
    history = {key: [Epoch(1, float("nan"), 0.1, float("nan"), 0.1, 0.001, 1.0)] for key in STAGES}
    curves(history, dict.fromkeys(STAGES, 1), "loss", "f", "alt")
    svg = recall_dots(["a", "b"], [DotSeries("human", {"a": 0.9}, "human")], "f", "alt")
    assert {"a", "b"} <= set(_texts(svg))
