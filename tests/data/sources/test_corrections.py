"""Corrections laid over any source: labels changed, images dropped, mistakes named."""

from __future__ import annotations

from pathlib import Path

import pytest

from seewhy.config import load_config
from seewhy.data.prepare import prepare_data
from seewhy.data.sources.listing import Listing
from seewhy.data.sources.open_source import find_images
from seewhy.errors import DataError
from seewhy.runtime.progress import Silent
from seewhy.storage.run_directory import RunDirectory


def _corrected(photos: Path, text: str) -> Listing:
    file = photos.parent / "corrections.csv"
    file.write_text(text)
    config = load_config(str(photos), settings={"data.corrections": str(file)})
    return find_images(config, Silent())


def test_labels_change_and_images_are_dropped(photos: Path) -> None:
    # The columns of the report's own table of label issues.
    text = "Image,Split,Class,Suggested,Score\ncat/3.jpg,training,dog,dog,0.9\n"
    listing = _corrected(photos, text + "dog/1.jpg,test,drop,,0.5\ncat/0.jpg,training,cat,,0.4\n")
    labels = dict(zip(listing.paths, listing.labels.tolist(), strict=True))
    assert labels["cat/3.jpg"] == 1
    assert sum(labels.values()) == 9
    assert listing.dropped == {9: "dropped by corrections.csv, line 3"}
    assert listing.notes[-1] == (
        "corrections.csv: 1 label changed (cat → dog 1), 1 image dropped; `seewhy compare` sets "
        "this study beside the one before."
    )
    assert [file.name for file in listing.other_sources] == ["corrections.csv"]


def test_a_study_goes_without_what_was_dropped(photos: Path) -> None:
    file = photos.parent / "corrections.csv"
    file.write_text("path,label\ndog/1.jpg,drop\ncat/3.jpg,dog\n")
    config = load_config(str(photos), settings={"data.corrections": str(file)})
    data = prepare_data(config, 16, RunDirectory(photos.parent / "run"), Silent())
    assert len(data.ids) == 15
    assert "dog/1.jpg" not in data.paths
    assert [(one.path, one.reason) for one in data.set_aside] == [
        ("dog/1.jpg", "dropped by corrections.csv, line 2")
    ]
    assert data.labels[data.paths.index("cat/3.jpg")] == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "path,label\ncat/99.jpg,dog\n",
            "corrections.csv, line 2: 'cat/99.jpg' is no image of ",
        ),
        (
            "path,label\ncat/1.jpg,dog\ncat/1.jpg,cat\n",
            "corrections.csv, line 3: 'cat/1.jpg' is in line 2 too; correct it once",
        ),
        (
            "path,label\ncat/1.jpg,dgo\n",
            "line 2: expected a class or 'drop' as label, but got 'dgo'; did you mean dog?",
        ),
        ("path,label\ncat/1.jpg,\n", "expected a class or 'drop' as label, but got ''"),
        ("path\ncat/1.jpg\n", "corrections.csv: has the single column 'path';"),
    ],
)
def test_mistakes_are_named(photos: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        _corrected(photos, text)
    assert sentence in str(caught.value)


def test_a_table_that_is_not_there_is_named(photos: Path) -> None:
    config = load_config(str(photos), settings={"data.corrections": "none.csv"})
    with pytest.raises(DataError, match=r"none.csv: there is no such file or folder; expected a "):
        find_images(config, Silent())
