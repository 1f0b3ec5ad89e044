"""Pictures without labels through a classifier whose answers are known: lines, order, failures."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from seewhy.errors import ConfigError, DataError
from seewhy.inference import predict_pictures as module
from seewhy.inference.classifiers import NamedClassifier
from seewhy.inference.decision_rule import DecisionRule
from seewhy.inference.predict_pictures import predict_fitted, predict_pictures
from seewhy.inference.prediction_inputs import list_given

Draw = Callable[..., Path]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_line_per_picture_in_the_order_given(
    colours: NamedClassifier, draw: Draw, tmp_path: Path, batch_size: int
) -> None:
    names = [f"{number:02}.png" for number in range(7)]
    for number, name in enumerate(names):
        draw(f"folder/{name}", colour=number % 3)
    last = draw("z.png", colour=2)
    out = tmp_path / "answers.csv"
    # Given twice, the second time before the folder: each time is a line.
    paths = [tmp_path / "nothing.png", last, tmp_path / "folder", last]
    found = predict_pictures(colours, paths, out, batch_size=batch_size)
    assert (found.predicted, found.failed, found.abstained) == (9, 1, None)
    rows = read_csv(out)
    assert list(rows[0]) == [
        "path", "predicted", "confidence", "p:red", "p:green", "p:blue", "error",
    ]  # fmt: skip
    assert [Path(row["path"]).name for row in rows] == ["nothing.png", "z.png", *names, "z.png"]
    said = [colours.classes[number % 3] for number in range(7)]
    assert [row["predicted"] for row in rows] == ["", "blue", *said, "blue"]
    assert rows[0]["error"]
    for row in rows[1:]:
        assert row["confidence"] == row[f"p:{row['predicted']}"]
        assert row["error"] == ""


def test_a_threshold_is_of_the_calibrated_confidence(
    colours: NamedClassifier, draw: Draw, tmp_path: Path
) -> None:
    """A temperature of 2 takes roots: red : green : blue of 9 : 1 : 1 becomes 3 : 1 : 1, or 3/5."""
    small, large = (80, 8, 82, 10), (64, 0, 96, 32)
    paths = [draw("small.png", patch=small), draw("large.png", patch=large)]
    squares = [module.read_fitted(colours, path) for path in paths]
    raw = predict_fitted(colours, squares).astype(np.float64)
    roots = np.sqrt(raw)
    calibrated = roots / roots.sum(axis=1, keepdims=True)
    # Between the calibrated confidences, and below the uncalibrated ones of both pictures.
    threshold = float(calibrated[0, 0] + min(raw[0, 0], calibrated[1, 0])) / 2
    assert calibrated[0, 0] < threshold < min(raw[0, 0], calibrated[1, 0])
    sure = replace(colours, rule=DecisionRule(temperature=2.0, threshold=threshold))
    for option, expected in ((True, calibrated), (False, raw)):
        found = predict_pictures(sure, paths, tmp_path / "a.csv", calibrated=option)
        rows = read_csv(tmp_path / "a.csv")
        assert list(rows[0])[:4] == ["path", "predicted", "confidence", "abstain"]
        assert [row["abstain"] for row in rows] == ["true", "false"]
        assert found.abstained == 1
        for row, shares in zip(rows, expected, strict=True):
            given = [float(row[f"p:{name}"]) for name in colours.classes]
            assert given == pytest.approx(shares.tolist(), rel=1e-5)
            assert float(row["confidence"]) == pytest.approx(shares[0], rel=1e-5)
            assert row["predicted"] == "red"


def test_only_a_few_batches_are_decoded_at_once(
    colours: NamedClassifier, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pictures there are: what is decoded is at most so far ahead of what is said."""
    path = draw("a.png")
    decoded, said, ahead = [0], [0], [0]
    read, say = module.read_fitted, module.predict_fitted

    def counted_read(*arguments: object) -> NDArray[np.uint8]:
        decoded[0] += 1
        return read(*arguments)  # type: ignore[arg-type]

    def counted_say(
        classifier: NamedClassifier, squares: list[NDArray[np.uint8]], mirror: bool
    ) -> NDArray[np.float32]:
        ahead[0] = max(ahead[0], decoded[0] - said[0])
        said[0] += len(squares)
        return say(classifier, squares, mirror)

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(module, "read_fitted", counted_read)
    monkeypatch.setattr(module, "predict_fitted", counted_say)
    predict_pictures(colours, [path] * 600, tmp_path / "a.csv", batch_size=8)
    assert said[0] == 600
    assert ahead[0] <= 6 * 16 + 8


def test_an_interrupted_call_leaves_the_earlier_file(
    colours: NamedClassifier, draw: Draw, tmp_path: Path, stopping: Callable[[int], object]
) -> None:
    path, out = draw("a.png"), tmp_path / "out" / "a.csv"
    predict_pictures(colours, [path], out)
    before = out.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        predict_pictures(colours, [path] * 9, out, batch_size=2, progress=stopping(3))  # type: ignore[arg-type]
    assert [file.name for file in out.parent.iterdir()] == ["a.csv"]
    assert out.read_bytes() == before


def test_what_a_study_lacks_is_said(
    colours: NamedClassifier, draw: Draw, tmp_path: Path, stopping: Callable[[int], object]
) -> None:
    told = stopping(-1)
    named = replace(colours, rule=DecisionRule(notes=("probabilities are not calibrated: why",)))
    predict_pictures(named, [draw("a.png")], tmp_path / "a.csv", progress=told)  # type: ignore[arg-type]
    assert told.said == ["colours: probabilities are not calibrated: why"]  # type: ignore[attr-defined]


def test_classifiers_that_have_nothing_to_say(
    colours: NamedClassifier, draw: Draw, tmp_path: Path
) -> None:
    path, out = draw("a.png"), tmp_path / "a.csv"
    with pytest.raises(ConfigError, match="its weights have no classifier"):
        predict_pictures(replace(colours, classes=(), labels=()), [path], out)
    with pytest.raises(ConfigError, match="a name for each of its 3 classes, but got 2"):
        predict_pictures(replace(colours, classes=("a", "b")), [path], out)
    with pytest.raises(ConfigError, match="batch_size: expected at least 1, but got 0"):
        predict_pictures(colours, [path], out, batch_size=0)
    assert not out.exists()


def test_nothing_is_written_where_nothing_can_be_read(
    colours: NamedClassifier, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "b.png").write_bytes(b"no picture")
    out = tmp_path / "a.csv"
    with pytest.raises(
        DataError, match=r"none of the 2 pictures can be read; the first: .*empty: "
    ):
        predict_pictures(colours, [tmp_path / "empty", tmp_path / "b.png"], out)
    with pytest.raises(DataError, match=r"^.*b\.png: is no JPEG"):
        predict_pictures(colours, [tmp_path / "b.png"], out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A single column, with and without a name for it, and with blanks in the names.
        ("photo\nmy cat.png\nb.png\n", ["my cat.png", "b.png"]),
        ("my cat.png\nb.png\n", ["my cat.png", "b.png"]),
        ("my cat.png\nmy dog.png\n", ["my cat.png", "my dog.png"]),
        # Divided by blanks, as lists of benchmarks are.
        ("b.png 3\nc.png 4\n", ["b.png", "c.png"]),
        # Without their suffix, as some tables name pictures.
        ("image_id,age\nb,3\n", ["b"]),
        ("path,age\n,3\nb.png,4\n", ["", "b.png"]),
    ],
)
def test_tables_need_a_column_of_paths_only(
    tmp_path: Path, draw: Draw, text: str, expected: list[str]
) -> None:
    for name in ("my cat.png", "my dog.png", "b.png", "c.png"):
        draw(name)
    table = tmp_path / "list.csv"
    table.write_text(text, "utf-8")
    given = list_given([table])
    assert [one.shown for one in given.pictures] == expected
    assert [one.path.is_file() and not one.error for one in given.pictures] == [
        bool(name) for name in expected
    ]


def test_columns_of_two_tables_are_put_together(tmp_path: Path, draw: Draw) -> None:
    path = draw("b.png")
    (tmp_path / "one.csv").write_text("path,age\nb.png,3\n", "utf-8")
    (tmp_path / "two.csv").write_text("site,picture\nx,b.png\n", "utf-8")
    given = list_given([tmp_path / "one.csv", path, tmp_path / "two.csv"])
    assert given.columns == ("age", "site")
    cells = [tuple(one.cell(name) for name in given.columns) for one in given.pictures]
    assert cells == [("3", ""), ("", ""), ("", "x")]


def test_a_folder_of_maps_is_not_searched(tmp_path: Path, draw: Draw) -> None:
    draw("photos/a.png")
    draw("photos/maps/a-overlay.png")
    given = list_given([tmp_path / "photos"], without=tmp_path / "photos" / "maps")
    assert [one.path.name for one in given.pictures] == ["a.png"]


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (one,) = list_given([tmp_path / "pipe.png"]).pictures
    assert one.error == "is no regular file"
