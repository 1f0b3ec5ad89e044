"""Pictures through a classifier whose answers are known: places, files, failures, batches."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from seewhy.config import Resize
from seewhy.errors import ConfigError, RunError
from seewhy.explanation.explain import explain
from seewhy.inference import overlays as drawing
from seewhy.inference.classifiers import NamedClassifier
from seewhy.inference.explain_pictures import explain_pictures
from seewhy.inference.explanation_request import ExplanationRequest, read_question
from seewhy.inference.manifest import NAME, Manifest, Picture
from seewhy.inference.overlays import OverlayWriter
from seewhy.inference.picture_input import read_images
from seewhy.storage.json_files import read_record

Draw = Callable[..., Path]


def pixels(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int64)


def test_the_overlay_has_the_pictures_own_size_and_the_map_its_place(
    colours: NamedClassifier, draw: Draw, tmp_path: Path
) -> None:
    path = draw("a.png", colour=0)
    done = explain_pictures(colours, [path], tmp_path / "out")
    assert done == read_record(tmp_path / "out" / NAME, Manifest)
    (one,) = done.pictures
    assert (one.size, one.overlay_size) == ((128, 64), (128, 64))
    assert one.square == (32, 0, 96, 64)
    assert (one.predicted, one.sheet) == ("red", None)
    (found,) = one.maps
    assert (found.explained, found.index, found.method, found.layer) == (
        "red", 0, "gradcam", "places",
    )  # fmt: skip
    # The patch is 48 … 64 from the square's left and 8 … 24 from its top: cells of 8 pixels.
    map_ = np.load(tmp_path / "out" / found.map, allow_pickle=False)
    assert set(zip(*np.nonzero(map_ > map_.max() / 2), strict=True)) == {
        (1, 6), (1, 7), (2, 6), (2, 7)
    }  # fmt: skip
    changed = np.abs(pixels(tmp_path / "out" / found.overlay) - pixels(path)).sum(axis=2)
    # Untouched but for two lines along the square's edges; nothing is right of 96 + 2.
    assert not changed[:, :30].any()
    assert not changed[:, 98:].any()
    assert changed[:, 30:32].all()
    # Of the square only the patch and half a cell around it, as far as bilinear values reach.
    # The bicubic filter that shrinks a picture spreads a little further: a shade or two.
    inside = changed[:, 32:96] > 6
    assert inside[12:20, 52:60].all()
    assert not inside[30:].any()
    assert not inside[:, :42].any()


@pytest.mark.parametrize(("orientation", "patch"), [(6, (40, 80)), (8, (8, 32))])
def test_a_turned_picture_is_drawn_upright(
    colours: NamedClassifier, draw: Draw, tmp_path: Path, orientation: int, patch: tuple[int, int]
) -> None:
    path = draw("a.jpg", colour=1, orientation=orientation)
    (one,) = explain_pictures(colours, [path], tmp_path / "out").pictures
    assert (one.size, one.predicted) == ((64, 128), "green")
    assert one.square == (0, 32, 64, 96)
    map_ = np.load(tmp_path / "out" / one.maps[0].map, allow_pickle=False)
    row, column = np.unravel_index(map_.argmax(), map_.shape)
    # Stored at (80 … 96, 8 … 24): by hand, a quarter turn takes it to x 40 … 56 or 8 … 24.
    across = int(column) * 8
    down = 32 + int(row) * 8
    expected = (40 <= across < 56, 80 <= down < 96) if orientation == 6 else (
        8 <= across < 24, 32 <= down < 48
    )  # fmt: skip
    assert expected == (True, True), (across, down, patch)


@pytest.mark.parametrize(
    ("resize", "within", "cells", "rows"),
    [
        # A quarter of its size, 8 rows from the top: the patch is at x 20 … 24, y 10 … 14. The two
        # cells, y 8 … 16, are the picture's rows 0 … 32.
        ("pad", (0, 0.25, 1, 0.75), {(2, 5), (3, 5)}, slice(4, 28)),
        # Half as high: x 20 … 24, y 4 … 12; the cells are the rows 8 … 24.
        ("squash", (0, 0, 1, 1), {(1, 5), (2, 5)}, slice(12, 20)),
    ],
)
def test_the_overlay_of_a_whole_picture_marks_the_same_place(
    colours: NamedClassifier,
    draw: Draw,
    tmp_path: Path,
    resize: Resize,
    within: tuple[float, ...],
    cells: set[tuple[int, int]],
    rows: slice,
) -> None:
    path = draw("a.png", colour=0)
    done = explain_pictures(replace(colours, resize=resize), [path], tmp_path / "out")
    (one,) = done.pictures
    assert (done.resize, one.predicted) == (resize, "red")
    assert (one.square, one.within, one.overlay_size) == ((0, 0, 128, 64), within, (128, 64))
    map_ = np.load(tmp_path / "out" / one.maps[0].map, allow_pickle=False)
    assert set(zip(*np.nonzero(map_ > map_.max() / 2), strict=True)) == cells
    changed = np.abs(pixels(tmp_path / "out" / one.maps[0].overlay) - pixels(path)).sum(axis=2)
    # The patch, 80 … 96 and 8 … 24, and a cell of 16 around it; no line is drawn. The border of a
    # padded picture is not wholly grey, so its map is nowhere quite zero.
    assert changed[rows, 84:92].min() > 40
    assert changed[:, :62].max() < 20 and changed[:, 114:].max() < 20
    assert changed[42:].max() < 20


def test_a_large_picture_is_reduced_and_its_square_still_told_in_its_own_pixels(
    colours: NamedClassifier, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "LARGEST_SIDE", 64)
    (one,) = explain_pictures(colours, [draw("a.png")], tmp_path / "out").pictures
    assert (one.size, one.square, one.overlay_size) == ((128, 64), (32, 0, 96, 64), (64, 32))
    assert pixels(tmp_path / "out" / one.maps[0].overlay).shape == (32, 64, 3)


def test_maps_are_those_of_explain_whatever_the_batch(
    colours: NamedClassifier, draw: Draw, tmp_path: Path
) -> None:
    paths = [draw(f"{k}.png", colour=k % 3, patch=(40 + k, 8, 60 + k, 30)) for k in range(5)]
    expected = explain(colours.module, read_images(paths, colours), "top2", "places").maps.numpy()
    for size in (2, 5):
        asking = ExplanationRequest(classes=("top2",), batch_size=size)
        done = explain_pictures(colours, paths, tmp_path / f"out{size}", asking)
        assert [one.predicted for one in done.pictures] == ["red", "green", "blue", "red", "green"]
        for one, maps in zip(done.pictures, expected, strict=True):
            found = [np.load(tmp_path / f"out{size}" / part.map) for part in one.maps]
            np.testing.assert_allclose(np.stack(found), maps, rtol=1e-5, atol=1e-7)


def test_several_methods_and_classes_make_a_sheet_and_names_that_say_which(
    colours: NamedClassifier, draw: Draw, tmp_path: Path
) -> None:
    methods = ("gradcam", "gradcam++", "captum:saliency", "gradcam")
    asking = ExplanationRequest(classes=("blue,0", "blue"), methods=methods)
    (one,) = explain_pictures(colours, [draw("a.png")], tmp_path / "out", asking).pictures
    assert [(part.explained, part.method) for part in one.maps] == [
        (name, method) for name in ("blue", "red") for method in methods[:3]
    ]
    assert one.maps[1].overlay == "a-overlay-blue-gradcampp.png"
    assert one.maps[2].map == "a-map-blue-captum_saliency.npy"
    assert np.load(tmp_path / "out" / one.maps[2].map).shape == (32, 32)
    # Nothing in the picture is blue.
    assert [part.empty for part in one.maps[:2]] == [True, True]
    assert one.sheet == "a-sheet.png"
    listed = {part.map for part in one.maps} | {part.overlay for part in one.maps}
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == listed | {"a-sheet.png", "manifest.json"}


def test_what_cannot_be_explained_is_listed_and_the_rest_is_done(
    colours: NamedClassifier, draw: Draw, tmp_path: Path
) -> None:
    good = draw("good.png")
    (tmp_path / "broken.png").write_bytes(good.read_bytes()[:60])
    Image.new("1", (2000, 1000)).save(tmp_path / "bomb.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty").mkdir()
    names = ["missing.png", "broken.png", "bomb.png", "pipe.png", "empty", "good.png"]
    done = explain_pictures(colours, [tmp_path / name for name in names], tmp_path / "out")
    assert [Path(one.path).name for one in done.pictures] == ["good.png"]
    reasons = {Path(one.path).name: one.reason for one in done.failed}
    assert "No such file" in reasons["missing.png"]
    assert "cannot be decoded" in reasons["broken.png"]
    assert "more than 1 megapixels" in reasons["bomb.png"]
    assert reasons["pipe.png"] == "is no regular file"
    assert reasons["empty"] == "the folder holds no picture files"
    assert read_record(tmp_path / "out" / NAME, Manifest) == done


def test_nothing_is_written_where_nothing_could_be_explained(
    colours: NamedClassifier, tmp_path: Path
) -> None:
    done = explain_pictures(colours, [tmp_path / "none.png"], tmp_path / "out")
    assert len(done.failed) == 1
    assert not (tmp_path / "out").exists()


def test_the_manifest_comes_last_and_an_older_one_goes_first(
    colours: NamedClassifier, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [draw("a.png"), draw("b.png")]
    explain_pictures(colours, paths[:1], tmp_path / "out")
    draws = OverlayWriter.draw

    def broken(self: OverlayWriter, *arguments: object) -> Picture:
        assert not (tmp_path / "out" / "manifest.json").exists()
        if arguments[2] == 1:
            raise RunError("the disk is full")
        return draws(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(OverlayWriter, "draw", broken)
    with pytest.raises(RunError, match="the disk is full"):
        explain_pictures(colours, paths, tmp_path / "out")
    with pytest.raises(RunError, match=r"manifest\.json: cannot be read"):
        read_record(tmp_path / "out" / NAME, Manifest)


def test_a_class_is_held_against_others(
    colours: NamedClassifier, draw: Draw, tmp_path: Path
) -> None:
    paths = [draw("red.png", colour=0), draw("green.png", colour=1)]
    asking = ExplanationRequest(against=("green",))
    done = explain_pictures(colours, paths, tmp_path / "out", asking)
    assert done.against == ("green",)
    assert [one.predicted for one in done.pictures] == ["red"]
    (failed,) = done.failed
    assert failed.reason == "is taken for green, which cannot be held against itself"
    images = read_images(paths[:1], colours)
    expected = explain(colours.module, images, layer="places", against=[[1]]).maps[0, 0]
    np.testing.assert_allclose(
        np.load(tmp_path / "out" / done.pictures[0].maps[0].map), expected.numpy(), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("asking", "method", "layers"),
    [
        (ExplanationRequest(), "layercam", ("says", "places")),
        (ExplanationRequest(methods=("layercam",)), "layercam", ("says", "places")),
        # Another method explains the last map, as for any classifier.
        (ExplanationRequest(methods=("gradcam",)), "gradcam", ("places",)),
        (ExplanationRequest(layers=("says",)), "layercam", ("says",)),
    ],
)
def test_the_pair_of_a_study_is_the_default(
    colours: NamedClassifier, asking: ExplanationRequest, method: str, layers: tuple[str, ...]
) -> None:
    known = replace(colours, method="layercam", method_layers=("says", "places"))
    ((found, explained),) = read_question(known, asking).methods
    assert (found.name, explained) == (method, layers)


@pytest.mark.parametrize(
    ("asking", "sentence"),
    [
        (ExplanationRequest(classes=("violet",)), "class 'violet': colours has no such class"),
        (ExplanationRequest(classes=("rad",)), "did you mean red?"),
        (ExplanationRequest(classes=("3",)), "colours numbers its classes 0 … 2"),
        (ExplanationRequest(classes=("top4",)), "top4 asks for more than the 3 there are"),
        (ExplanationRequest(classes=("predicted", "red")), "predicted stands alone"),
        (ExplanationRequest(classes=("red",), against=("red",)), "red is explained itself"),
        (ExplanationRequest(methods=("gradcam", "gradcat")), "did you mean gradcam"),
        (ExplanationRequest(layers=("place",)), "did you mean places?; `seewhy layers` lists them"),
        (ExplanationRequest(opacity=1.5), "opacity: expected a number in 0 … 1, but got 1.5"),
        (ExplanationRequest(batch_size=0), "batch size: expected 1 or more, but got 0"),
    ],
)
def test_a_question_without_an_answer_is_named_before_anything_is_written(
    colours: NamedClassifier, draw: Draw, tmp_path: Path, asking: ExplanationRequest, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        explain_pictures(colours, [draw("a.png")], tmp_path / "out", asking)
    assert sentence in str(caught.value)
    assert not (tmp_path / "out").exists()


class _Redness(nn.Module):
    """One logit: how much more red than green there is."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.colours = classifier

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.colours(images)
        return logits[:, :1] - logits[:, 1:2]


def test_a_single_logit_is_two_classes_in_the_manifest(
    colours: NamedClassifier, draw: Draw, tmp_path: Path
) -> None:
    names = ("green", "red")
    one = replace(
        colours,
        module=_Redness(colours.module).eval(),
        classes=names,
        labels=names,
        layer="colours.places",
    )
    paths = [draw("red.png", colour=0), draw("green.png", colour=1)]
    done = explain_pictures(one, paths, tmp_path / "out", ExplanationRequest(classes=("all",)))
    assert done.classes == 2
    assert [picture.predicted for picture in done.pictures] == ["red", "green"]
    for picture in done.pictures:
        green, red = picture.maps
        assert (green.explained, red.explained) == names
        assert green.probability + red.probability == pytest.approx(1)
        assert picture.probability == max(green.probability, red.probability) > 0.5


@pytest.mark.parametrize("names", [("red",), ("red", "green"), ("a", "b", "c", "d")])
def test_names_that_are_not_one_for_each_class_are_refused(
    colours: NamedClassifier, draw: Draw, tmp_path: Path, names: tuple[str, ...]
) -> None:
    other = replace(colours, classes=names, labels=names)
    with pytest.raises(
        ConfigError, match=f"a name for each of its 3 classes, but got {len(names)}"
    ):
        explain_pictures(other, [draw("a.png")], tmp_path / "out")
    assert not (tmp_path / "out").exists()
