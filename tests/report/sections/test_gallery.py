"""Which predictions the gallery shows, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seewhy.report.figures.photographs import PictureStore
from seewhy.report.sections.gallery import (
    MOST_PICTURES,
    GalleryBuilder,
    gallery_bounds,
    lowest_and_highest,
)
from seewhy.storage.schemas.predictions import Predictions


def test_lowest_and_highest_worked_out_by_hand() -> None:
    confidence = [0.9, 0.6, 0.7, 0.5, 0.95, 0.8]
    rows = np.array([[p, 1 - p] for p in confidence], dtype=np.float32)
    rows[5] = rows[5][::-1]  # the last one is taken for the other class
    rows[3] = [0.51, 0.49]
    predictions = Predictions(tuple("abcdef"), np.zeros(6, dtype=np.int64), rows)
    lowest, highest = lowest_and_highest(predictions, 0, 2)
    assert [predictions.ids[k] for k in lowest] == ["d", "b"]
    assert [predictions.ids[k] for k in highest] == ["e", "a"]
    # Five are taken for class 0: of three an end, the highest get the odd one.
    lowest, highest = lowest_and_highest(predictions, 0, 3)
    assert [predictions.ids[k] for k in lowest] == ["d", "b"]
    assert [predictions.ids[k] for k in highest] == ["e", "a", "c"]
    lowest, highest = lowest_and_highest(predictions, 1, 3)
    assert ([*lowest], [*highest]) == ([], [5])


@given(st.lists(st.sampled_from([0.5, 0.6, 0.7, 0.8]), max_size=12), st.integers(1, 4))
def test_the_ends_never_meet(confidence: list[float], count: int) -> None:
    rows = np.array([[p, 1 - p] for p in confidence], dtype=np.float32).reshape(-1, 2)
    predictions = Predictions(
        tuple(map(str, range(len(rows)))), np.zeros(len(rows), np.int64), rows
    )
    lowest, highest = lowest_and_highest(predictions, 0, count)
    assert not set(lowest.tolist()) & set(highest.tolist())
    assert len(lowest) + len(highest) == min(2 * count, len(rows))
    if len(lowest):
        assert rows[lowest].max() <= rows[highest].max(axis=1).min()


@pytest.mark.parametrize(
    ("classes", "backbones", "expected"),
    [(8, 1, (3, 8)), (10, 3, (3, 10)), (200, 1, (1, 200)), (200, 3, (1, 33)), (3, 40, (1, 1))],
)
def test_bounds(classes: int, backbones: int, expected: tuple[int, int]) -> None:
    per_end, shown = gallery_bounds(classes, backbones)
    assert (per_end, shown) == expected
    if backbones < 18:
        assert 2 * per_end * shown * backbones**2 <= MOST_PICTURES


def test_a_studys_gallery(make_run: Callable) -> None:
    run, summary = make_run()
    data = run.data.read()
    records = [run.backbones.read(slug, data.classes) for slug in summary.backbones]
    store = PictureStore(data)
    gallery = GalleryBuilder(data, records, ["Net A", "Net B"], store)
    first, second = gallery.of_class(0, 3).choices
    # Net A takes test images 0, 1, 2, 3 and 5 for a cat; test images begin at id009.
    assert first.taken == 5
    assert [shot.id for shot in first.lowest] == ["id012", "id010"]
    assert [shot.id for shot in first.highest] == ["id014", "id009", "id011"]
    assert [shot.right for shot in first.highest] == [False, True, True]
    assert [shot.id for shot in second.lowest] == ["id011"]
    assert [shot.id for shot in second.highest] == ["id009"]
    # The same image by both: a dog that Net A takes for a cat and Net B for a frog.
    dog = first.highest[0]
    assert (dog.label, dog.file) == ("dog", "photo14.jpg")
    assert [(a.predicted, a.confidence, a.right) for a in dog.answers] == [
        ("cat", "0.95", False),
        ("frog", "0.90", False),
    ]
    # Test image 1 has an empty map: no heat, and it is said.
    empty = first.lowest[1].answers[0]
    assert empty.heat is None
    assert "the map for cat is empty" in empty.alt
    assert dog.answers[0].heat in store.pictures


def test_the_surest_are_right(make_run: Callable) -> None:
    run, summary = make_run()
    data = run.data.read()
    records = [run.backbones.read(slug, data.classes) for slug in summary.backbones]
    gallery = GalleryBuilder(data, records, ["Net A", "Net B"], PictureStore(data))
    assert [shot.id for shot in gallery.surest(0, 8)] == ["id009", "id013", "id015"]
    assert [shot.id for shot in gallery.surest(0, 2)] == ["id009", "id013"]
