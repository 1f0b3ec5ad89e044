"""Average pictures and maps, samples, the strip and the large confusion matrix."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from seewhy.report.figures import photographs as pictures
from seewhy.storage.schemas.maps import Maps


def _pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def _maps(maps: list, explained: list[int]) -> Maps:
    values = np.array(maps, dtype=np.float16)
    ones, none = np.ones(len(maps), np.float32), np.zeros(len(maps), bool)
    return Maps(
        ids=tuple(map(str, range(len(maps)))),
        maps=values,
        label_maps=values,
        explained=np.array(explained),
        scales=ones,
        label_scales=ones,
        empty=none,
        label_empty=none,
        method="gradcam",
        layer="last",
        stage="finetuning",
    )


def test_average_maps_worked_out_by_hand() -> None:
    maps = _maps([[[2, 0]], [[4, 8]], [[0, 0]], [[0, 5]]], [0, 0, 0, 1])
    # Scaled by their own maxima (1, 0) and (0.5, 1); the empty map does not count.
    np.testing.assert_allclose(pictures.average_maps(maps, 3), [[[0.75, 0.5]], [[0, 1]], [[0, 0]]])


def test_average_maps_share_one_scale() -> None:
    averages = np.zeros((3, 2, 2), dtype=np.float32)
    averages[0], averages[1] = 0.4, 0.2
    strong, weak, none = pictures.average_map_addresses(averages)
    assert none is None
    # The strongest is the end of the colour map, half of it the middle.
    assert _pixels(strong)[..., 1].mean() > 240
    assert 40 < _pixels(weak)[..., 1].mean() < 80


def test_average_photo(make_run: Callable) -> None:
    run, _ = make_run(side=64)
    data = run.data.read()
    test = data.where("test")
    found = _pixels(pictures.average_photos(data)[2]).astype(float)
    mean = data.pixels[test[data.labels[test] == 2]].mean(axis=0)
    # WebP loses detail, not brightness.
    assert abs(found.mean() - mean.mean()) < 3


def test_samples_are_spread_over_the_training_images(make_run: Callable) -> None:
    run, _ = make_run(side=96)
    data = run.data.read()
    rows = pictures.samples(data)
    assert [len(row) for row in rows] == [2, 2, 2]
    np.testing.assert_array_equal(rows[1][1], data.pixels[4])
    assert pictures.strip([]) is None
    assert _pixels(pictures.strip(rows[0])).shape == (96, 8 * 100 - 4, 4)


def test_large_confusion_matrix_is_covered_by_the_share_of_its_row() -> None:
    confusion = np.zeros((40, 40), dtype=np.int64)
    confusion[3, 3], confusion[3, 7], confusion[9, 9] = 3, 1, 5
    cover = _pixels(pictures.confusion_address(confusion))[..., 3]
    assert cover[9, 9] == 255
    assert cover[3, 3] == round(np.sqrt(0.75) * 255)
    assert cover[3, 7] == round(0.5 * 255)
    assert np.count_nonzero(cover) == 3
