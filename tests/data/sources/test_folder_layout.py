"""Which folders are splits, which are classes, and what is refused as either."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from seewhy.data.sources.folder import list_folder
from seewhy.data.sources.listing import Listing
from seewhy.data.sources.split_names import SplitName, read_name
from seewhy.errors import DataError


def put(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), (1, 2, 3)).save(path, format="PNG")
    return root


def tree(root: Path, *parts: str, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Two images of each class in each part."""
    return put(
        root, *(f"{part}/{name}/{k}.png" for part in parts for name in classes for k in "12")
    )


def counts(listing: Listing) -> dict[str | None, int]:
    return dict(Counter(listing.splits))


def listed(root: Path, test: Path | None = None, **options: str) -> Listing:
    return list_folder(root, test, 100, **options)  # type: ignore[arg-type]


TRAIN, VALIDATION, TEST = "train", "validation", "test"


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Training", "Testing"), (TRAIN, TEST)),
        (("training", "validation", "testing"), (TRAIN, VALIDATION, TEST)),
        (("train_set", "test_set"), (TRAIN, TEST)),
        (("TrainSet", "ValSet", "TestSet"), (TRAIN, VALIDATION, TEST)),
        (("trainset", "testset"), (TRAIN, TEST)),
        (("seg_train", "seg_test"), (TRAIN, TEST)),
        (("seg_train/seg_train", "seg_test/seg_test"), (TRAIN, TEST)),
        (("train/images", "test/images"), (TRAIN, TEST)),
        (("train", "eval"), (TRAIN, TEST)),
        (("train", "eval", "test"), (TRAIN, VALIDATION, TEST)),
        (("train", "val", "evaluation"), (TRAIN, VALIDATION, TEST)),
        (("train", "dev", "test"), (TRAIN, VALIDATION, TEST)),
        (("train", "validate", "test"), (TRAIN, VALIDATION, TEST)),
        (("TRAIN", "VALID"), (TRAIN, VALIDATION)),
        (("train-images", "test images"), (TRAIN, TEST)),
        (("train2017", "val2017"), (TRAIN, VALIDATION)),
        (("train", "hold-out"), (TRAIN, TEST)),
        (("1. Training Data", "2. Test Data"), (TRAIN, TEST)),
    ],
)
def test_splits_under_their_usual_names(
    tmp_path: Path, folders: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    found = listed(tree(tmp_path, *folders))
    assert found.classes == ("cat", "dog")
    assert counts(found) == dict.fromkeys(splits, 4)
    places = {path.rpartition("/")[0].rpartition("/")[0] for path in found.paths}
    assert places == set(folders)


@pytest.mark.parametrize(
    "name",
    ["trainval", "train_test", "trained", "latest", "contest", "attest", "value", "evil", ""],
)
def test_other_names_name_no_split(name: str) -> None:
    assert read_name(name) is None


def test_what_else_is_in_a_name() -> None:
    assert read_name("steam_train") == SplitName("train", ("steam",))
    assert read_name("TrainStation2") == SplitName("train", ("station",))


def test_classes_that_only_sound_like_splits(tmp_path: Path) -> None:
    classes = ("train station", "test pattern", "valid", "invalid")
    found = listed(tree(tmp_path, ".", classes=classes))
    assert found.classes == tuple(sorted(classes))
    assert counts(found) == {None: 8}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        # The same folders in each, under names that say nothing.
        ([f"fold{k}/{c}" for k in range(5) for c in ("cat", "dog")], "hold the same folders"),
        (["Entrenamiento/cat", "Entrenamiento/dog", "Prueba/dog", "Prueba/cat"], "same folders"),
        (["one/images", "one/masks", "two/images", "two/masks"], "hold the same folders (images"),
        (
            ["train/a/cat", "train/a/dog", "train/b/cat", "train/b/dog", "test/a/cat"],
            "train: a/, b/",
        ),
        # A split's name among classes.
        (["cat", "dog", "test"], "test/ is beside cat/, dog/ and is named like a split"),
        (["cat", "dog", "test/cat", "test/dog"], "test/ is beside cat/, dog/"),
        (["val/cat", "val/dog", "other/bus"], "val/ is beside other/"),
        (["train/cat", "train/dog", "samples"], "train/ holds folders of its own (cat/, dog/)"),
        # Splits without classes.
        (["train", "test"], "train: is named like a split and holds 2 pictures, but no class fold"),
        (["fold1", "fold2", "fold3"], "fold1/, fold2/, fold3/ are named like parts of a data set"),
        (["train/cat", "train/dog", "val"], "val: is named like a split and holds 2 pictures, but"),
        # Two folders for one split, and names of both kinds.
        (["train/cat", "training/cat", "test/cat"], "holds both train/ and training/"),
        (["train/cat", "val/cat", "dev/cat"], "holds both"),
        (["train/a", "val/a", "test/a", "eval/a"], "holds both test/ and eval/; keep one of them"),
        (["cat_train", "cat_test", "dog_train", "dog_test"], "name both a class and a split"),
        # Splits within classes.
        (["cat/train", "cat/test", "dog/train", "dog/test"], "each of its 2 folders (cat/, dog/)"),
        (["cats/train/a", "cats/test/a", "birds"], "cats/ is divided into test/, train/; name"),
        # A zip file's own folder.
        (["pets/cat", "pets/dog"], "single folder pets/, and a study needs at least two classes"),
        (["pets/train/cat", "pets/test/cat"], "pets/ holds 2 folders (test/, train/): name"),
        (["a/b/c/cat", "a/b/c/dog"], "a/b/c/ holds 2 folders (cat/, dog/): name"),
    ],
)
def test_two_meanings_are_refused(tmp_path: Path, folders: list[str], message: str) -> None:
    put(tmp_path, *(f"{folder}/{k}.png" for folder in folders for k in "12"))
    with pytest.raises(DataError) as caught:
        listed(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folders", [("fold1", "fold2"), ("train", "test"), ("cat", "test")])
def test_a_person_may_say_that_they_are_classes(tmp_path: Path, folders: tuple[str, ...]) -> None:
    put(tmp_path, *(f"{name}/1.png" for name in folders))
    with pytest.raises(DataError, match=r"--set data.top_folders=classes"):
        listed(tmp_path)
    found = listed(tmp_path, top_folders="classes")
    assert found.classes == tuple(sorted(folders))
    assert set(found.splits) == {None}


def test_a_person_may_say_that_they_are_splits(tmp_path: Path) -> None:
    tree(tmp_path, "train/left", "train/right", "test/left", "test/right")
    with pytest.raises(DataError, match=r"train: left/, right/ .* --set data.top_folders=splits"):
        listed(tmp_path)
    found = listed(tmp_path, top_folders="splits")
    assert (found.classes, counts(found)) == (("left", "right"), {TRAIN: 8, TEST: 8})
    with pytest.raises(DataError, match="is splits, but there is no train/ with val/ or test/"):
        listed(tmp_path / "train", top_folders="splits")


def test_a_split_that_is_divided_again(tmp_path: Path) -> None:
    tree(tmp_path, "train/train", "train/val", "test/train")
    with pytest.raises(DataError, match="train: is a split by its name and divided once more"):
        listed(tmp_path)


def test_what_a_zip_holds_can_be_named(tmp_path: Path) -> None:
    tree(tmp_path, "my pets/v1")
    with pytest.raises(DataError) as caught:
        listed(tmp_path)
    inner = str(tmp_path / "my pets" / "v1")
    assert f"name '{inner}' as the source" in str(caught.value)
    assert listed(Path(inner)).classes == ("cat", "dog")


@pytest.mark.parametrize("inside", ["test", "test/images", "test/unknown"])
def test_an_unlabelled_test_folder_is_told(tmp_path: Path, inside: str) -> None:
    put(tree(tmp_path, "train"), *(f"{inside}/{k}.png" for k in range(5)))
    found = listed(tmp_path)
    assert (found.classes, counts(found)) == (("cat", "dog"), {TRAIN: 4})
    where = tmp_path / inside
    assert found.notes == (
        "Split folders: train/ is training.",
        f"{inside}/ holds 5 pictures in no class folders, so their classes are not known: they are "
        "not the test images, a test set is drawn from the training images; `seewhy predict RUN "
        f"{where}` predicts them.",
    )


@pytest.mark.parametrize("split", ["test", "val"])
def test_an_empty_split_is_not_replaced_by_a_drawn_one(tmp_path: Path, split: str) -> None:
    (tree(tmp_path, "train") / split / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match=rf"{split}: holds no pictures; add class folders"):
        listed(tmp_path)


def test_what_lies_beside_the_splits_is_told(tmp_path: Path) -> None:
    put(tree(tmp_path, "train", "test", "extra"), "seg_pred/1.png", "pred/1.png", "cover.png")
    found = listed(tmp_path)
    assert found.notes == (
        "Split folders: train/ is training and test/ is test.",
        "extra/ (4 pictures) is beside the split folders and was not read.",
        "pred/ (1 picture) is beside the split folders and was not read; "
        f"`seewhy predict RUN {tmp_path / 'pred'}` predicts them.",
        "seg_pred/ (1 picture) is beside the split folders and was not read; "
        f"`seewhy predict RUN {tmp_path / 'seg_pred'}` predicts them.",
    )
    assert [item.path for item in found.set_aside] == ["cover.png"]


def test_a_named_test_folder_is_used_or_refused(tmp_path: Path) -> None:
    source = tree(tmp_path / "mine", ".")
    loose = put(tmp_path / "loose", "1.png", "2.png")
    with pytest.raises(DataError) as caught:
        listed(source, loose)
    assert str(caught.value).startswith(f"--test {loose}: holds 2 pictures, but no class folders")
    assert f"`seewhy predict RUN {loose}` predicts them" in str(caught.value)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"--test .*none: holds no pictures"):
        listed(source, tmp_path / "none")
    with pytest.raises(DataError, match=r"--test .* is divided itself, into test/, train/; name"):
        listed(source, tree(tmp_path / "divided", "train", "test"))
    with pytest.raises(DataError, match=r"1 class has no training images: 'all'"):
        listed(source, put(tmp_path / "deep", "all/1.png"))
    wrapped = tree(tmp_path / "seg_test", "seg_test")
    assert counts(listed(source, wrapped)) == {None: 4, TEST: 4}


def test_a_test_folder_within_the_source_is_no_class(tmp_path: Path) -> None:
    tree(tmp_path, ".", "holdout")
    found = listed(tmp_path, tmp_path / "holdout")
    assert (found.classes, counts(found)) == (("cat", "dog"), {None: 4, TEST: 4})
    shutil.move(tmp_path / "holdout", tmp_path / "cat" / "holdout")
    assert counts(listed(tmp_path, tmp_path / "cat" / "holdout")) == {None: 4, TEST: 4}


def test_a_named_test_folder_takes_the_place_of_the_sources_own(tmp_path: Path) -> None:
    tree(tmp_path, "train", "val", "test")
    other = tree(tmp_path / "other", ".")
    found = listed(tmp_path, other)
    assert {path for path in found.paths if "test" in path} == set()
    assert "test/ was not read: --test takes its place." in found.notes
    found = listed(tmp_path, tmp_path / "test")
    assert counts(found) == {TRAIN: 4, VALIDATION: 4, TEST: 4}
    assert not [note for note in found.notes if "takes its place" in note]


def test_links_in_circles_do_not_hang(tmp_path: Path) -> None:
    for name in ("seg_train", "seg_test", "wrapped"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).symlink_to(tmp_path / name)
    with pytest.raises(DataError):
        listed(tmp_path)
    with pytest.raises(DataError):
        listed(tmp_path / "wrapped")
    put(tmp_path, "seg_train/cat/1.png", "seg_train/dog/1.png")
    with pytest.raises(DataError, match="holds no pictures"):
        listed(tmp_path)


def test_many_names_are_counted(tmp_path: Path) -> None:
    for k in range(210):
        (tmp_path / f"class {k}").mkdir()
    put(tmp_path, "class 0/1.png")
    with pytest.raises(DataError, match=r"209 class folders hold no images") as caught:
        listed(tmp_path)
    assert len(str(caught.value)) < 500


def test_real_photographs_in_folders_of_other_names(tmp_path: Path, shared: Path) -> None:
    real = shared / "data" / "real" / "imagenette"
    for name, place in (("seg_train", "train"), ("seg_test", "test")):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).symlink_to(real / place)
    found = listed(tmp_path)
    assert len(found.classes) == 10
    assert counts(found) == {TRAIN: 1100, TEST: 500}
    for name in ("left", "right"):
        (tmp_path / "unknown").mkdir(exist_ok=True)
        (tmp_path / "unknown" / name).symlink_to(real / "test")
    with pytest.raises(DataError, match="left/, right/ hold the same folders"):
        listed(tmp_path / "unknown")
    photos = shared / "data" / "photos"
    with pytest.raises(DataError, match="5 classes have no training images: 'bird'"):
        listed(tmp_path, photos)
    with pytest.raises(DataError, match=r"--test .* holds 24 pictures, but no class folders"):
        listed(photos, photos / "bird")
