"""From a configuration to the data set on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.config import load_config
from seewhy.data.prepare import prepare_data
from seewhy.errors import DataError
from seewhy.pipeline.provenance import data_key
from seewhy.runtime.progress import Silent
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.input_size import InputSize


class Hearing(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def say(self, message: str) -> None:
        self.heard.append(message)


def prepare(source: Path | str, run: Path, size: InputSize = 32, **options: object) -> Dataset:
    config = load_config(str(source), **options)  # type: ignore[arg-type]
    return prepare_data(config, size, RunDirectory(run), Silent())


def photos(root: Path, counts: dict[str, int]) -> Path:
    rng = np.random.default_rng(0)
    for k, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(0, 256, (20 + k, 30, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / name / f"{i:02d}.png")
    return root


def same(first: Dataset, second: Dataset) -> bool:
    plain = ("source", "classes", "ids", "paths", "splits", "set_aside")
    return all(getattr(first, name) == getattr(second, name) for name in plain) and all(
        np.array_equal(a, b)
        for a, b in ((first.labels, second.labels), (first.pixels, second.pixels))
    )


def test_a_folder_with_bad_images(tmp_path: Path) -> None:
    root = photos(tmp_path / "mine", {"<b>": 10, "a,\"\nb'": 10})
    (root / "<b>" / "03.png").write_bytes(b"")
    (root / "<b>" / "stray.jpg").write_text("no image")
    Image.new("RGB", (3, 3)).save(root / "loose.png")
    progress = Hearing()
    run = RunDirectory(tmp_path / "run")
    data = prepare_data(load_config(str(root)), 32, run, progress)
    assert data.pixels.shape == (19, 32, 32, 3)
    assert [(item.path, item.reason[:9]) for item in data.set_aside] == [
        ("loose.png", "is in no "),
        ("<b>/03.png", "is an emp"),
        ("<b>/stray.jpg", "is no JPE"),
    ]
    assert progress.heard == [
        "2 classes, 21 images: '<b>' 11, 'a,\"\\nb\\'' 10",
        "2 images set aside; the report lists them",
    ]
    # 9 and 10 left: two each for the test, one each for validation.
    assert [sum(data.counts()[split].values()) for split in data.counts()] == [13, 2, 4]
    assert len(set(data.ids)) == 19
    assert data.masks is None
    names = [data.classes[label] for label in data.labels]
    assert names == [path.partition("/")[0] for path in data.paths]
    # What came from where is still right behind the images that are missing.
    assert data.paths[-1] == "a,\"\nb'/09.png"
    middle = Image.open(root / data.paths[-1]).crop((4, 0, 25, 21))  # 30 wide, 21 high
    expected = np.asarray(middle.resize((32, 32), Image.Resampling.BICUBIC), dtype=int)
    # Away from the edges, where the crop has nothing beside it.
    assert np.abs(data.pixels[-1].astype(int) - expected)[4:-4, 4:-4].max() <= 1
    assert same(run.data.read(), data)


def test_the_same_seed_gives_the_same_and_another_another(tmp_path: Path) -> None:
    root = photos(tmp_path / "mine", {"a": 20, "b": 20})
    first, again, other = (
        prepare(root, tmp_path / f"run{i}", seed=seed) for i, seed in enumerate((1, 1, 2))
    )
    assert same(first, again)
    assert first.splits != other.splits
    assert first.ids == other.ids


def test_a_class_that_bad_images_leave_too_small(tmp_path: Path) -> None:
    root = photos(tmp_path / "mine", {"good": 5, "thin": 4})
    for i in (0, 1):
        (root / "thin" / f"{i:02d}.png").write_bytes(b"broken")
    with pytest.raises(
        DataError,
        match=r"class 'thin' has 2 images .* needs at least 3 \(2 of its images were set aside",
    ):
        prepare(root, tmp_path / "run")
    assert not (tmp_path / "run" / "data").exists()


def test_a_single_class_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    root = photos(tmp_path / "mine", {"alone": 5})
    with pytest.raises(DataError, match="single class 'alone'; expected at least two"):
        prepare(root, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("classes", "setting", "sentence"),
    [
        ("ab", "evaluation.positive=c", "evaluation.positive: expected 'a' or 'b', but got 'c'"),
        ("abc", "evaluation.positive=c", "evaluation.positive: expected two classes, but "),
        ("abc", "evaluation.operating_point=precision=1", "operating_point: expected two classes"),
        ("ab", "head.class_weights={ad=2}", "head.class_weights: .*mine has no class 'ad'"),
        ("ab", "data.weight=w", "data.weight: .*mine is no table, so it has no column 'w'; leave"),
        ("abc", "data.ordered=['a', 'b']", "data.ordered: expected each class once .'a', 'b', 'c'"),
    ],
)
def test_classes_that_do_not_fit_are_refused_before_anything_is_decoded(
    tmp_path: Path, classes: str, setting: str, sentence: str
) -> None:
    root = photos(tmp_path / "mine", dict.fromkeys(classes, 10))
    with pytest.raises(DataError, match=sentence):
        prepare(root, tmp_path / "run", settings=[setting])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("size", "expected"), [(96, 32), (32, 32), (16, 16)])
def test_arrays_are_never_enlarged_on_disk(tmp_path: Path, size: int, expected: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(12) % 2)
    data = prepare(tmp_path / "a.npz", tmp_path / "run", size)
    assert data.pixels.shape == (12, expected, expected, 3)
    if expected == 32:
        assert (data.pixels == images).all()
    assert data.ids == tuple(f"{i:06d}" for i in range(12))


def test_the_demo_comes_with_masks(tmp_path: Path) -> None:
    settings = ["data.demo_train=10", "data.demo_test=4", "data.demo_size=96"]
    data = prepare("demo", tmp_path / "run", 48, settings=settings)
    assert data.masks is not None
    assert data.masks.shape == data.pixels.shape[:3] == (len(data.ids), 48, 48)
    assert data.masks.any(axis=(1, 2)).all()
    read = RunDirectory(tmp_path / "run").data.read()
    assert same(read, data)
    assert np.array_equal(read.masks, data.masks)
    for counts in data.counts().values():
        assert min(counts.values()) >= 1


def test_the_photographs(shared: Path, tmp_path: Path) -> None:
    data = prepare(shared / "data" / "photos", tmp_path / "run", 224)
    assert data.pixels.shape == (120, 224, 224, 3)
    assert data.classes == ("bird", "dog", "insect", "musical_instrument", "vehicle")
    assert [sum(c.values()) for c in data.counts().values()] == [85, 10, 25]
    assert data.set_aside == ()
    photo = Image.open(shared / "data" / "photos" / data.paths[0]).convert("RGB")
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    middle = photo.crop((left, top, left + side, top + side))
    expected = np.asarray(middle.resize((224, 224), Image.Resampling.BICUBIC), dtype=float)
    # Decoding at a part of the size costs little: a mean difference below one and a half of 255.
    assert np.abs(data.pixels[0] - expected).mean() < 1.5


def test_the_stand_in_for_cifar(shared: Path, tmp_path: Path) -> None:
    data = prepare(
        shared / "data" / "cifar10_standin_train.npz",
        tmp_path / "run",
        96,
        test=str(shared / "data" / "cifar10_standin_test.npz"),
    )
    assert data.pixels.shape == (12000, 32, 32, 3)
    assert {s: set(c.values()) for s, c in data.counts().items()} == {
        "train": {900},
        "validation": {100},
        "test": {200},
    }


def test_working_size_of_pictures_without_one_of_their_own(tmp_path: Path) -> None:
    root = photos(tmp_path / "mine", {"a": 3, "b": 3})
    assert prepare(root, tmp_path / "run", 64).pixels.shape == (6, 64, 64, 3)


@pytest.mark.parametrize(
    ("size", "resize", "shape"),
    [
        (96, "pad", (32, 32)),
        ((64, 96), "crop", (64, 96)),  # squares of 32 do not have these proportions
        ((24, 16), "squash", (24, 16)),
    ],
)
def test_the_working_size_of_squares(
    tmp_path: Path, size: InputSize, resize: str, shape: tuple[int, int]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(12) % 2)
    settings = [f"input.resize={resize}"]
    data = prepare(tmp_path / "a.npz", tmp_path / "run", size, settings=settings)
    assert data.pixels.shape == (12, *shape, 3)


def test_a_given_test_part_that_cannot_be_read_is_not_replaced_by_another(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    photos(root / "train", {"a": 10, "b": 10})
    photos(root / "test", {"a": 2, "b": 2})
    for file in (root / "test").rglob("*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of its test images can be read"):
        prepare(root, tmp_path / "run")


def test_run_directories_among_the_class_folders_are_left_alone(tmp_path: Path) -> None:
    root = photos(tmp_path / "mine", {"a": 5, "b": 5})
    photos(root / "runs" / "first" / "data", {"x": 2})
    for name in ("config.toml", "study.log"):
        (root / "runs" / "first" / name).write_text("")
    assert prepare(root, tmp_path / "run").classes == ("a", "b")


def test_weights_stay_with_their_images(tmp_path: Path) -> None:
    """Through pictures set aside, corrected labels, and the run directory."""
    root = photos(tmp_path / "mine", {"a": 10, "b": 10})
    files = sorted(file.relative_to(root).as_posix() for file in root.glob("*/*.png"))
    rows = [f"{file},{file[0]},{k / 3!r}" for k, file in enumerate(files)]
    (root / "labels.csv").write_text("\n".join(["path,label,trust", *rows]))
    (root / files[2]).write_bytes(b"broken")
    (tmp_path / "fixed.csv").write_text(f"path,label\n{files[4]},b\n{files[6]},drop\n")
    settings = ["data.weight=trust", f"data.corrections={tmp_path / 'fixed.csv'}"]
    data = prepare(root, tmp_path / "run", settings=settings)
    assert data.weights is not None
    expected = {file: k / 3 for k, file in enumerate(files) if k not in (2, 6)}
    assert dict(zip(data.paths, data.weights.tolist(), strict=True)) == expected
    assert data.classes[data.labels[data.paths.index(files[4])]] == "b"
    read = RunDirectory(tmp_path / "run").data.read()
    assert read.weights is not None
    assert read.weights.tolist() == data.weights.tolist()
    assert data_key(read) == data_key(data)
    assert data_key(replace(data, weights=2 * data.weights)) != data_key(data)
    # The key of a study without weights is that of before there were any.
    assert len({data_key(replace(data, weights=one)) for one in (None, data.weights)}) == 2


def test_a_class_that_is_never_learned_is_refused(tmp_path: Path) -> None:
    root = photos(tmp_path / "mine", {"a": 10, "b": 10})
    files = sorted(file.relative_to(root).as_posix() for file in root.glob("*/*.png"))
    rows = [f"{file},{file[0]},{int(file[0] == 'a')}" for file in files]
    (root / "labels.csv").write_text("\n".join(["path,label,trust", *rows]))
    with pytest.raises(DataError, match=r": 1 class has no training image with a weight above 0: "):
        prepare(root, tmp_path / "run", settings=["data.weight=trust"])
    assert not (tmp_path / "run" / "data").exists()
