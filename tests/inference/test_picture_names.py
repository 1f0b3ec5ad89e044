"""Names of files: kept places, no collisions, nothing that hurts a terminal or a file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from seewhy.data.sources.class_names import printable
from seewhy.inference.picture_names import UniqueNames, find_pictures, slug


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def places(paths: list[Path], without: Path) -> list[str]:
    found, failed = find_pictures(paths, without)
    assert not failed
    return [one.place for one in found]


def test_pictures_in_a_folder_keep_their_places(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.jpg", "a/deep/x.jpg", "a/deep/x.png", "a/deep/X.gif", "a/notes.txt")
    touch(tmp_path, "a/.hidden/x.jpg", "a/out/x-overlay.png", "b/x.jpg")
    # The folder of results is not searched, or a second call would explain overlays.
    without = tmp_path / "a" / "out"
    assert places([tmp_path / "a"], without) == ["deep/X", "deep/x-2", "deep/x-3", "x"]
    both = [tmp_path / "a" / "deep", tmp_path / "b", tmp_path / "a" / "x.jpg"]
    assert places(both, without) == ["deep/X", "deep/x-2", "deep/x-3", "b/x", "x"]


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.jpg")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    assert places([tmp_path / "a"], tmp_path / "out") == ["x"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("\x1b[31mred\n.png", r"_x1b[31mred_n"),
        (b"caf\xe9.png".decode("utf-8", "surrogateescape"), "caf_xe9"),
        ("é" * 120 + ".png", "é" * 60),
        ("..png", "."),
        ("日本.png", "日本"),
    ],
)
def test_weird_names_become_safe_ones(tmp_path: Path, name: str, place: str) -> None:
    (tmp_path / name).touch()
    found, _ = find_pictures([tmp_path / name], tmp_path / "out")
    assert [one.place for one in found] == [place]
    assert found[0].shown.isprintable()
    found[0].shown.encode("utf-8")


def test_a_name_is_given_out_once() -> None:
    names = UniqueNames()
    given = [names.free(name, ".png") for name in ("a", "A", "a-2", "a")]
    assert given == ["a.png", "A-2.png", "a-2-2.png", "a-3.png"]


def test_words_as_parts_of_names() -> None:
    assert slug("wire-haired fox terrier") == "wire_haired_fox_terrier"
    assert slug("gradcam++") == "gradcampp"
    assert slug("../../etc") == "etc"
    assert slug("!") == "_"
    assert printable("a\x07b") == r"a\x07b"
