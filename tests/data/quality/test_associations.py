"""Labels that a property gives away, and properties that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seewhy.data.quality.associations import association_sentences, image_properties, told_labels


def test_a_property_that_gives_labels_away_is_named_with_its_accuracy() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    properties = {
        "file size in bytes": np.where(labels == 0, 1000.0, 3000.0) + rng.normal(0, 100, 200),
        "brightness": rng.normal(size=200),
        "file type": np.zeros(200),
    }
    found = told_labels(labels, properties)
    assert found == {"file size in bytes": (1.0, 0.5)}
    assert association_sentences(found) == [
        "Labels can be told from the file size in bytes alone: balanced accuracy 1.00, by chance "
        "0.50. A classifier may learn what causes that (another camera, another export) instead "
        "of the object."
    ]


def test_a_middle_class_between_two_is_found_and_imbalance_alone_is_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 0], 60)
    values = np.concatenate([rng.normal(k, 0.1, 60) for k in range(3)])
    assert told_labels(labels, {"brightness": values})["brightness"][0] > 0.95
    uneven = (np.arange(400) < 20).astype(int)
    assert told_labels(uneven, {"brightness": rng.normal(size=400)}) == {}


def test_noise_is_rarely_called_a_sign() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.integers(0, 4, 120)
        assert told_labels(labels, {"brightness": rng.normal(size=120)}) == {}


def test_small_classes_say_nothing() -> None:
    labels = np.repeat([0, 1], [50, 9])
    assert told_labels(labels, {"brightness": labels.astype(float)}) == {}


def test_properties_of_files(tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.JPG", tmp_path / "none.png"]
    files[0].write_bytes(b"12345")
    files[1].write_bytes(b"123")
    thumbs = np.stack([np.full((2, 2), k, dtype=np.uint8) for k in (0, 100, 200)])
    sizes = np.array([[10, 20], [10, 10], [20, 10]])
    found = image_properties(files, sizes, thumbs)
    assert found["brightness"].tolist() == [0, 100, 200]
    assert found["proportions (width over height)"].tolist() == [2, 1, 0.5]
    assert found["file size in bytes"].tolist() == [5, 3, 0]
    assert found["file type"].tolist() == [1, 0, 1]
    assert set(image_properties((), sizes, thumbs)) == {
        "brightness",
        "proportions (width over height)",
    }
