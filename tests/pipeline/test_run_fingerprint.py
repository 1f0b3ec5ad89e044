"""A study continues with the same files however they are named, and is refused with other ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seewhy.config import StudyConfig, load_config
from seewhy.data.sources.source_files import named_places, source_files
from seewhy.errors import DataError, OtherStudyError
from seewhy.pipeline.run_fingerprint import refuse_another, refuse_changed_files, with_places
from seewhy.pipeline.run_opening import opened_run
from seewhy.runtime.progress import Silent
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.provenance import RunFingerprint

Begin = Callable[..., RunDirectory]


class Said:
    """Progress that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.task = Silent().task

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images, test images and weights in folders; the test stands beside them."""
    for folder, count in (("photos", 3), ("tests", 1)):
        for label in ("cat", "dog"):
            (tmp_path / folder / label).mkdir(parents=True)
            for number in range(count):
                (tmp_path / folder / label / f"{number}.jpg").write_text(
                    f"{folder} {label} {number}"
                )
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text("{}")
    (tmp_path / "net" / "model.safetensors").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_of(source: str = "photos", **named: object) -> StudyConfig:
    net = str(named.pop("net", "net"))
    return load_config(source, backbones=[f"local-dir:{net}"], **named)  # type: ignore[arg-type]


def begin(config: StudyConfig) -> RunDirectory:
    """Write what a study has written when its first backbone starts."""
    with opened_run(Path("run"), config) as run:
        run.fingerprint.write_sources(source_files(config, Silent()))
        named = {key: str(path) for key, path in named_places(config).items()}
        run.fingerprint.write(
            RunFingerprint(
                device="cpu",
                precision="float32",
                weights_keys={},
                data_key="",
                versions={},
                started="",
                starts=1,
                named=named,
            )
        )
    return run


def go_on(config: StudyConfig) -> list[str]:
    """Compare as a command does that continues; return what is said."""
    said, run = Said(), RunDirectory(Path("run").resolve())
    refuse_another(run, config)
    refuse_changed_files(run, config, said)
    return said.said


@pytest.mark.parametrize(
    "text", ["photos/", "./photos", "photos/../photos", "link", "{here}/photos", "~/photos"]
)
def test_a_path_may_be_written_in_any_way(
    place: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("HOME", str(place))
    (place / "link").symlink_to("photos")
    begin(config_of())
    assert go_on(config_of(text.format(here=place))) == []
    assert go_on(config_of(net="./net/")) == []


def test_changed_images_are_counted(place: Path) -> None:
    begin(config_of())
    (place / "photos" / "cat" / "9.jpg").write_text("new")
    (place / "photos" / "cat" / "10.jpg").write_text("new")
    (place / "photos" / "dog" / "0.jpg").unlink()
    (place / "photos" / "dog" / "1.jpg").write_text("another size, another picture")
    with pytest.raises(OtherStudyError) as caught:
        go_on(config_of("photos/"))
    assert str(caught.value) == (
        f"{place}/run: the images in {place}/photos have changed since this study began (2 added, "
        "1 removed, 1 changed; the first: cat/10.jpg); choose another place with --out, or start "
        "over with --fresh, which deletes it"
    )


def test_a_picture_of_equal_size_and_other_content_has_changed(place: Path) -> None:
    begin(config_of())
    path = place / "photos" / "dog" / "1.jpg"
    path.write_text(path.read_text()[::-1])
    os.utime(path, ns=(1, 1))
    with pytest.raises(OtherStudyError, match=r"\(1 changed; the first: dog/1\.jpg\)"):
        go_on(config_of())


def test_a_picture_that_was_touched_has_not(place: Path) -> None:
    begin(config_of())
    for path in (place / "photos").rglob("*.jpg"):
        os.utime(path, ns=(1, 1))
    assert go_on(config_of()) == []
    os.utime(place / "net" / "model.safetensors", ns=(1, 1))
    assert go_on(config_of()) == []


def test_a_class_that_is_called_otherwise_has(place: Path) -> None:
    begin(config_of())
    (place / "photos" / "dog").rename(place / "photos" / "wolf")
    with pytest.raises(OtherStudyError, match=r"\(3 added, 3 removed; the first: dog/0\.jpg\)"):
        go_on(config_of())


def test_images_that_moved_are_the_same_images(place: Path) -> None:
    run = begin(config_of())
    (place / "elsewhere").mkdir()
    (place / "photos").rename(place / "elsewhere" / "photos")
    assert go_on(config_of("elsewhere/photos")) == []
    assert run.config.read().data.source == "elsewhere/photos"
    begun = run.fingerprint.read()
    assert begun is not None
    assert begun.named["data.source"] == str(place / "elsewhere" / "photos")
    # Another folder with as many images of the same size and age is another one.
    shutil.copytree(place / "elsewhere", place / "other")
    for path in (place / "other").rglob("*.jpg"):
        status = path.stat()
        path.write_text(path.read_text()[::-1])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(OtherStudyError, match=r"another configuration \(data\.source: '.*photos'"):
        go_on(config_of("other/photos"))


def test_the_same_words_in_another_folder_name_other_images(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(config_of())
    root = place / "run"
    (place / "below").mkdir()
    monkeypatch.chdir(place / "below")
    said = Said()
    with pytest.raises(DataError, match=r"photos: there is no such file or folder"):
        refuse_changed_files(RunDirectory(root), config_of(), said)
    shutil.copytree(place / "photos" / "cat", place / "below" / "photos" / "cat")
    shutil.copytree(place / "net", place / "below" / "net")
    there = rf"data\.source: '{place}/photos' there, '{place}/below/photos' now"
    with pytest.raises(OtherStudyError, match=there):
        refuse_changed_files(RunDirectory(root), config_of(), said)
    # And the weights of the study are found from here.
    found = with_places(RunDirectory(root), RunDirectory(root).config.read())
    assert found.backbone[0].name == f"local-dir:{place}/net"


def test_images_that_are_gone_have_not_changed(place: Path) -> None:
    begin(config_of())
    shutil.rmtree(place / "photos")
    shutil.rmtree(place / "net")
    gone = "is not there any more, so it cannot be compared with what the study was made of"
    assert go_on(config_of()) == [f"{place}/photos: {gone}", f"{place}/net: {gone}"]


def test_test_images_are_compared_too(place: Path) -> None:
    begin(config_of(test="tests"))
    assert go_on(config_of(test="tests/")) == []
    with pytest.raises(OtherStudyError, match=r"data\.test: 'tests' there, None now"):
        go_on(config_of())
    (place / "tests" / "cat" / "1.jpg").write_text("new")
    named = rf"the images in {place}/photos and {place}/tests have changed .*\(1 added"
    with pytest.raises(OtherStudyError, match=named):
        go_on(config_of(test="tests"))


def test_arrays_are_compared_without_being_read(place: Path) -> None:
    arrays = {"images": np.zeros((4, 8, 8, 3), np.uint8), "labels": np.arange(4) % 2}
    np.savez("train.npz", **arrays)
    np.savez("test.npz", **arrays)
    (place / "link.npz").symlink_to("train.npz")
    begin(config_of("train.npz", test="test.npz"))
    assert go_on(config_of("./train.npz", test="test.npz")) == []
    assert go_on(config_of("link.npz", test="test.npz")) == []
    np.savez("test.npz", images=arrays["images"] + 1, labels=arrays["labels"])
    with pytest.raises(OtherStudyError, match=r"\(1 changed; the first: test\.npz\)"):
        go_on(config_of("train.npz", test="test.npz"))


def test_changed_weights_are_named(place: Path) -> None:
    begin(config_of())
    (place / "net" / "model.safetensors").write_bytes(b"WEIGHTS")
    named = (
        rf"the weights in {place}/net have changed .*\(1 changed; the first: model\.safetensors\)"
    )
    with pytest.raises(OtherStudyError, match=named):
        go_on(config_of())
    # As the weights of a backbone that timm names.
    shutil.rmtree(place / "run")
    settings = ["backbone.weights=local-dir:net"]
    resnet = load_config("photos", backbones=["resnet18"], settings=settings)
    begin(resnet)
    assert go_on(load_config("photos", backbones=["resnet18"],
                             settings=["backbone.weights=local-dir:./net"])) == []  # fmt: skip
    (place / "net" / "config.json").write_text("{ }")
    with pytest.raises(OtherStudyError, match=r"the weights in .*first: config\.json"):
        go_on(resnet)


def test_other_values_are_named_and_those_of_the_machine_may_differ(place: Path) -> None:
    begin(config_of())
    settings = ["finetuning.memory_gib=0", "finetuning.keep=disk", "finetuning.disk_gib=1"]
    assert go_on(config_of(settings=settings)) == []
    with pytest.raises(OtherStudyError) as caught:
        go_on(config_of("photos/", settings=["head.dropout=0.5", *settings]))
    assert "with another configuration (head.dropout: 0.3 there, 0.5 now)" in str(caught.value)
    with pytest.raises(OtherStudyError, match=r"data\.source: 'photos' there, 'demo' now"):
        go_on(config_of("demo", settings=["name=photos"]))


def test_before_the_first_backbone_is_begun_images_may_change(place: Path) -> None:
    run = begin(config_of())
    run.fingerprint.path.unlink()
    (place / "photos" / "cat" / "9.jpg").write_text("new")
    assert go_on(config_of("photos/")) == []


def test_a_study_of_an_older_version_is_compared_by_its_paths(place: Path) -> None:
    run = begin(config_of())
    run.fingerprint.sources_path.unlink()
    assert go_on(config_of("photos/")) == []
    shutil.copytree(place / "photos", place / "copy" / "photos")
    with pytest.raises(OtherStudyError, match=r"data\.source: 'photos' there, 'copy/photos' now"):
        go_on(config_of("copy/photos"))


def test_a_link_to_nothing_is_listed_and_no_traceback(place: Path) -> None:
    (place / "photos" / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    run = begin(config_of())
    assert go_on(config_of()) == []
    read = run.fingerprint.read_sources()
    assert read is not None
    one = next(one for one in read if one.name == "cat/gone.jpg")
    assert (one.size, one.sha256) == (-1, "")
    (place / "photos" / "cat" / "nowhere.jpg").write_text("there now")
    with pytest.raises(OtherStudyError, match=r"\(1 added, 1 changed"):
        go_on(config_of())
