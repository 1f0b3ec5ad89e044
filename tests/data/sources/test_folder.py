from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.data.sources.folder import list_folder, list_pictures
from seewhy.data.sources.listing import Listing
from seewhy.errors import DataError, UnreadableImageError


def put(root: Path, *names: str, colour: tuple[int, int, int] = (1, 2, 3)) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), colour).save(path, format="PNG")


def listed(root: Path, test: Path | None = None) -> Listing:
    return list_folder(root, test, max_megapixels=100)


def rows(listing: Listing) -> list[tuple[str, str, str | None]]:
    names = (listing.classes[label] for label in listing.labels)
    return list(zip(listing.paths, names, listing.splits, strict=True))


def test_class_folders(tmp_path: Path) -> None:
    put(tmp_path, "dog/b.png", "dog/a.JPG", "cat/deep/er/z.webp", "cat/y.tif")
    listing = listed(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert rows(listing) == [
        ("cat/deep/er/z.webp", "cat", None),
        ("cat/y.tif", "cat", None),
        ("dog/a.JPG", "dog", None),
        ("dog/b.png", "dog", None),
    ]
    assert listing.labels.dtype == np.int64
    assert listing.native_size is None
    assert str(tmp_path) in listing.source


def test_load_gives_the_image_of_its_place(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", colour=(9, 9, 9))
    put(tmp_path, "b/1.png", colour=(7, 7, 7))
    listing = listed(tmp_path)
    assert [int(listing.load(i).max()) for i in range(2)] == [9, 7]
    assert listing.load(0).shape == (3, 4, 3)


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_split_folders(tmp_path: Path, validation: str) -> None:
    put(tmp_path, "train/dog/1.png", "train/cat/1.png", f"{validation}/cat/2.png", "test/dog/3.png")
    put(tmp_path, "notes/picture/1.png")
    listing = listed(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert rows(listing) == [
        ("train/cat/1.png", "cat", "train"),
        ("train/dog/1.png", "dog", "train"),
        (f"{validation}/cat/2.png", "cat", "validation"),
        ("test/dog/3.png", "dog", "test"),
    ]


def test_only_train(tmp_path: Path) -> None:
    put(tmp_path, "train/dog/1.png", "train/cat/1.png")
    assert [split for _, _, split in rows(listed(tmp_path))] == ["train", "train"]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    put(tmp_path, "train/1.png", "bus/1.png", "car/1.png")
    assert listed(tmp_path).classes == ("bus", "car", "train")
    put(tmp_path, "train/steam/2.png")
    assert listed(tmp_path).classes == ("bus", "car", "train")


def test_two_validation_folders_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "val/a/1.png", "validation/a/1.png")
    with pytest.raises(DataError, match="both val/ and validation/"):
        listed(tmp_path)


def test_another_folder_for_the_test(tmp_path: Path) -> None:
    put(tmp_path, "mine/train/a/1.png", "mine/train/b/1.png", "mine/test/a/2.png")
    put(tmp_path, "theirs/a/5.png", "theirs/b/6.png")
    listing = listed(tmp_path / "mine", tmp_path / "theirs")
    assert rows(listing) == [
        ("train/a/1.png", "a", "train"),
        ("train/b/1.png", "b", "train"),
        ("theirs/a/5.png", "a", "test"),
        ("theirs/b/6.png", "b", "test"),
    ]
    assert "theirs" in listing.source


def test_hidden_and_other_files_are_ignored(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "a/.hidden.png", "a/.thumbs/2.png", ".git/x/3.png")
    put(tmp_path, "__MACOSX/a/._1.png", "b/1.png")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "README.md").write_text("no image")
    listing = listed(tmp_path)
    assert listing.paths == ("a/1.png", "b/1.png")
    assert listing.classes == ("a", "b")


def test_what_cannot_be_read_is_listed_and_told(tmp_path: Path) -> None:
    put(tmp_path, "a/good.png")
    (tmp_path / "a" / "bad.jpg").write_text("no image")
    (tmp_path / "a" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    listing = listed(tmp_path)
    assert listing.paths == ("a/bad.jpg", "a/gone.png", "a/good.png", "a/phone.heic")
    for index, reason in ((0, "is no JPEG"), (1, "No such file"), (3, "cannot be decoded")):
        with pytest.raises(UnreadableImageError, match=reason) as caught:
            listing.load(index)
        assert str(tmp_path) not in str(caught.value)


def test_images_in_no_class_folder_are_set_aside(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png", "stray.png")
    listing = listed(tmp_path)
    assert listing.paths == ("a/1.png", "b/1.png")
    assert [(item.path, item.reason) for item in listing.set_aside] == [
        ("stray.png", "is in no class folder")
    ]


@pytest.mark.parametrize(
    ("stray", "holds"),
    [(None, "no images in"), ("1.png", "1 image, but none in"), ("a/notes.txt", "no images in")],
)
def test_an_empty_folder_is_named(tmp_path: Path, stray: str | None, holds: str) -> None:
    if stray:
        (tmp_path / stray).parent.mkdir(exist_ok=True)
        (tmp_path / stray).write_text("x")
    with pytest.raises(DataError, match=f"holds {holds} class folders; expected CLASS/IMAGE"):
        listed(tmp_path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    with pytest.raises(DataError, match="there is no such folder"):
        listed(tmp_path / "none")
    with pytest.raises(DataError, match="is no folder"):
        listed(tmp_path, tmp_path / "a" / "1.png")


def test_empty_class_folders_are_all_named_at_once(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    for name in ("b", "c", "10", "9"):
        (tmp_path / name).mkdir()
    (tmp_path / "c" / "notes.txt").write_text("x")
    with pytest.raises(
        DataError,
        match=r"4 class folders hold no images: '9', '10', 'b', 'c' \(1 other file\)",
    ):
        listed(tmp_path)


def test_empty_class_folders_of_splits_are_named_too(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png")
    (tmp_path / "test" / "b").mkdir()
    with pytest.raises(DataError, match=r"1 class folder holds no images: 'b'; add"):
        listed(tmp_path)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root, "a/1.png", "b/1.png")
    put(tmp_path, "elsewhere/2.png")
    (root / "a" / "link.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    (root / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "self").symlink_to(root / "a")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "top").symlink_to(tmp_path)
    (root / "a" / "loop").symlink_to(root / "a" / "loop")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "elsewhere")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    assert rows(listed(root)) == [
        ("a/1.png", "a", None),
        ("a/link.png", "a", None),
        ("a/more/2.png", "a", None),
        ("b/1.png", "b", None),
        ("c/2.png", "c", None),
    ]


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    os.mkfifo(tmp_path / "a" / "2.png")
    assert listed(tmp_path).paths == ("a/1.png",)


HOSTILE = ['<script>alert("1")</script>'.replace("/", "∕"), "a,b\nc", "Ü ", "Case", "case", "%s{0}"]


def test_names_of_any_kind_are_kept(tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}/1.png" for name in HOSTILE))
    listing = listed(tmp_path)
    assert listing.classes == tuple(sorted(HOSTILE))
    assert all(listing.load(i).shape == (3, 4, 3) for i in range(len(HOSTILE)))


def test_names_that_are_no_utf8_are_escaped(tmp_path: Path) -> None:
    put(tmp_path, "b/1.png", "b/2.png")
    raw = tmp_path / os.fsdecode(b"\xff\xfe")
    raw.mkdir()
    (tmp_path / "b" / "1.png").rename(raw / os.fsdecode(b"\xe9.png"))
    listing = listed(tmp_path)
    assert listing.classes == ("\\xff\\xfe", "b")
    assert set(listing.paths) == {"b/2.png", "\\xff\\xfe/\\xe9.png"}
    put(tmp_path, "\\xff\\xfe/3.png")
    with pytest.raises(DataError, match="two folders are both shown as"):
        listed(tmp_path)


def test_pictures_of_every_kind_are_read_and_the_rest_is_listed(tmp_path: Path) -> None:
    put(tmp_path, "a/0.png", "b/0.png")
    image = Image.new("RGB", (4, 3), (9, 8, 7))
    kinds = ("ppm", "pgm", "tga", "bmp", "jp2", "qoi", "sgi", "pcx", "avif", "pnm", "dds", "ico")
    for kind in kinds:
        image.convert("L" if kind == "pgm" else "RGB").save(tmp_path / "a" / f"1.{kind}")
    image.save(tmp_path / "a" / "scan 1.2", "JPEG")
    image.save(tmp_path / "a" / "IMG_0001", "PNG")
    for name in ("README", "notes.TXT", "more.txt", "film.mp4", "mask.npy"):
        (tmp_path / "a" / name).write_text("P6 and no picture")
    (tmp_path / "labels.csv").write_text("x")
    listing = listed(tmp_path)
    names = {path.removeprefix("a/") for path in listing.paths} - {"0.png", "b/0.png"}
    assert names == {*(f"1.{kind}" for kind in kinds), "scan 1.2", "IMG_0001"}
    for index in range(len(listing.paths)):
        assert listing.load(index).shape[2] == 3
    assert [(one.suffix, one.count, one.first) for one in listing.other_files] == [
        (".txt", 2, ["a/more.txt", "a/notes.TXT"]),
        ("", 1, ["a/README"]),
        (".csv", 1, ["labels.csv"]),
        (".mp4", 1, ["a/film.mp4"]),
        (".npy", 1, ["a/mask.npy"]),
    ]


def test_pictures_to_predict_are_found_by_content_too(tmp_path: Path) -> None:
    put(tmp_path, "test/IMG_1", "test/b.ppm", "test/deep/c.tga", "test/.hidden.png")
    (tmp_path / "test" / "README").write_text("no picture")
    found = list_pictures(tmp_path / "test", tmp_path / "nowhere")
    assert [file.name for file in found] == ["IMG_1", "b.ppm", "c.tga"]


def test_names_are_compared_in_one_normal_form(tmp_path: Path) -> None:
    composed, decomposed = "\u00e9t\u00e9", "e\u0301te\u0301"
    put(tmp_path, f"train/{composed}/1.png", "train/b/1.png", f"test/{decomposed}/2.png")
    listing = listed(tmp_path)
    assert listing.classes == ("b", composed)
    assert listing.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize("other", ["cat", "Cat ", " CAT"])
def test_two_spellings_in_two_splits_are_both_named(tmp_path: Path, other: str) -> None:
    put(tmp_path, "train/Cat/1.png", "train/dog/1.png", f"test/{other}/1.png", "test/dog/1.png")
    with pytest.raises(DataError, match="spelled differently: 'Cat' and " + repr(other)):
        listed(tmp_path)


def test_near_spellings_side_by_side_stay_apart_and_are_told(tmp_path: Path) -> None:
    put(tmp_path, "A/1.png", "a/1.png", "polar bear/1.png", "polar_bear/1.png", "b/1.png")
    listing = listed(tmp_path)
    assert len(listing.classes) == 5
    assert listing.notes == (
        "Classes that differ only in case, blanks or hyphens stay apart: 'A' and 'a', "
        "'polar bear' and 'polar_bear'.",
    )


def test_classes_that_only_the_test_has_are_named(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/c/1.png", "test/d/1.png")
    with pytest.raises(DataError, match=r"2 classes have no training images: 'c', 'd'; training"):
        listed(tmp_path)


def test_numbers_sort_as_numbers(tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}/1.png" for name in ("10", "9", "1", "02", "-1", "2.5", "other")))
    assert listed(tmp_path).classes == ("-1", "1", "02", "2.5", "9", "10", "other")


def test_folders_deeper_than_pythons_calls(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    handles = [os.open(tmp_path / "a", os.O_RDONLY)]
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(300)
        for _ in range(300):
            os.mkdir("d", dir_fd=handles[-1])
            handles.append(os.open("d", os.O_RDONLY, dir_fd=handles[-1]))
        assert listed(tmp_path).paths == ("a/1.png", "b/1.png")
    finally:
        sys.setrecursionlimit(limit)
        while len(handles) > 1:
            os.close(handles.pop())
            os.rmdir("d", dir_fd=handles[-1])
        os.close(handles.pop())


def test_a_link_whose_target_no_system_allows(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a" / "long").symlink_to("x" * 300)
    (tmp_path / "a" / "2.png").symlink_to("x" * 300)
    (tmp_path / "c").symlink_to("x" * 300)
    listing = listed(tmp_path)
    assert listing.paths == ("a/1.png", "a/2.png", "b/1.png")
    assert listing.classes == ("a", "b")
    assert listing.load(0).shape == (3, 4, 3)


def test_a_large_image_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    listing = list_folder(tmp_path, None, max_megapixels=11e-6)
    with pytest.raises(UnreadableImageError, match="4×3 pixels, more than"):
        listing.load(0)


def test_large_jpegs_are_decoded_smaller_where_less_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (800, 800)).save(tmp_path / "a" / "1.jpg")
    assert list_folder(tmp_path, None, 100, at_least=100).load(0).shape == (200, 200, 3)
    assert list_folder(tmp_path, None, 100).load(0).shape == (800, 800, 3)
