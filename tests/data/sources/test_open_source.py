from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from PIL import Image

from seewhy.config import StudyConfig, load_config
from seewhy.data.sources import open_source as sources
from seewhy.data.sources.listing import Listing
from seewhy.data.sources.open_source import cache_folder, find_images
from seewhy.errors import DataError, DownloadError
from seewhy.runtime.progress import Progress, Silent


def find(source: str, **options: object) -> Listing:
    return find_images(load_config(source, **options), Silent())  # type: ignore[arg-type]


def npz(path: Path) -> Path:
    np.savez(path, images=np.zeros((4, 2, 2, 3), np.uint8), labels=np.array([0, 1, 0, 1]))
    return path


def test_a_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        Image.new("RGB", (3, 3)).save(tmp_path / "mine" / name / "1.png")
    assert find(str(tmp_path / "mine")).classes == ("a", "b")
    copied = shutil.copytree(tmp_path / "mine", tmp_path / "theirs")
    both = find(str(tmp_path / "mine"), test=str(copied))
    assert both.splits == (None, None, "test", "test")
    with pytest.raises(DataError, match="is named as source and as --test"):
        find(str(tmp_path / "mine"), test=str(tmp_path / "theirs" / ".." / "mine"))
    limited = find(str(tmp_path / "mine"), settings=["data.max_megapixels=0.000008"])
    with pytest.raises(DataError, match="3×3 pixels"):
        limited.load(0)


def test_arrays(tmp_path: Path) -> None:
    train, test = npz(tmp_path / "a.npz"), npz(tmp_path / "b.npz")
    assert find(str(train), test=str(test)).splits == ("train",) * 4 + ("test",) * 4


def test_the_demo_takes_its_numbers_and_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(sources, "draw_demo", lambda *numbers: asked.append(numbers))
    find("demo", seed=7, settings=["data.demo_train=11", "data.demo_test=5", "data.demo_size=100"])
    assert asked == [(11, 5, 100, 7)]


def test_cifar102_goes_through_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, str]] = []

    def fetch(cache: Path, progress: Progress, base_url: str) -> tuple[Path, Path]:
        asked.append((cache, base_url))
        return npz(tmp_path / "a.npz"), npz(tmp_path / "b.npz")

    monkeypatch.setattr(sources, "fetch_cifar102", fetch)
    monkeypatch.setenv("SEEWHY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEEWHY_CIFAR102_URL", raising=False)
    assert find("cifar10.2").splits.count("test") == 4
    monkeypatch.setenv("SEEWHY_CIFAR102_URL", "http://mirror/")
    find("paper")
    folder = tmp_path / "cache" / "cifar10.2"
    assert asked == [(folder, sources.BASE_URL), (folder, "http://mirror/")]


def test_no_network_reaches_the_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEWHY_CACHE", str(tmp_path))
    monkeypatch.setenv("SEEWHY_CIFAR102_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(DownloadError, match="cannot be reached"):
        find("cifar10.2")


def test_the_cache_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEEWHY_CACHE", raising=False)
    assert cache_folder() == Path(platformdirs.user_cache_dir("seewhy", appauthor=False))


@pytest.mark.parametrize("source", ["demo", "cifar10.2"])
def test_sources_with_test_images_take_no_others(source: str) -> None:
    with pytest.raises(DataError, match=f"data.test: {source} brings its own test images"):
        find(source, test="elsewhere")


def test_a_source_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    near = str(tmp_path / "photo")
    with pytest.raises(DataError) as caught:
        find(near)
    message = str(caught.value)
    assert message.startswith(f"{near}: there is no such file or folder; expected demo, paper, ")
    assert message.endswith(f"did you mean {tmp_path / 'photos'}?")
    with pytest.raises(DataError, match=r"did you mean cifar10\.2"):
        find("cifar102")


def test_near_names_where_nothing_can_be_listed() -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        find("/nowhere/at/all")
    with pytest.raises(DataError, match="no such file or folder"):
        find_images(StudyConfig.model_validate({"data": {"source": ""}}), Silent())


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    train = str(npz(tmp_path / "a.npz"))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"notes\.txt: is a file of another kind; expected demo"):
        find(str(tmp_path / "notes.txt"))
    with pytest.raises(DataError, match=r"is a folder, but .*; expected an \.npz file"):
        find(train, test=str(tmp_path))
    with pytest.raises(DataError, match=r"none: there is no such .* expected an \.npz file"):
        find(train, test=str(tmp_path / "none"))
