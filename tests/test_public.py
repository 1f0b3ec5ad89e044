"""What users hand to the public functions: it works, or one sentence says what was expected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import seewhy
from seewhy import (
    SeewhyError,
    StudyConfig,
    explain,
    list_layers,
    load_classifier,
    load_config,
    mitigate_run,
    open_classifier,
    read_images,
    redraw_report,
    run_study,
)
from seewhy.inference.classifiers import NamedClassifier
from seewhy.storage.schemas.dataset import Preprocess
from seewhy.storage.schemas.levels import Levels, ValueLevel


@pytest.fixture
def network() -> NamedClassifier:
    """A network that hands on what it is shown, at 4 pixels a side, in 0 … 1."""
    module = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    plain = Preprocess(4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")
    return NamedClassifier("n", "w", module, ("a", "b"), ("a", "b"), plain, 4, "0", 1.0)


RED = np.full((6, 8, 3), (255, 0, 51), np.uint8)


def test_a_study_is_configured_by_whatever_names_it(tmp_path: Path) -> None:
    by_text = load_config(str(tmp_path / "pets"))
    assert load_config(tmp_path / "pets") == by_text
    assert load_config({"data": {"source": tmp_path / "pets"}}) == by_text
    assert load_config(by_text) == by_text
    assert load_config(by_text, seed=np.int64(3)).seed == 3
    # A path is a place, a word may be a preset.
    assert load_config(Path("demo")).data.source == str(Path("demo").absolute())
    assert load_config("demo").name == "demo"
    config = load_config(
        "demo", backbones="resnet18", settings={"search": {"trials": 3}, "seed": 5}
    )
    assert [one.name for one in config.backbone] == ["resnet18"]
    # What a section does not name stays as the preset has it.
    assert config.search == load_config("demo", settings="search.trials=3").search
    assert config.seed == 5
    assert (
        load_config({"backbone": ["vgg16"]}).backbone
        == load_config("x", backbones=["vgg16"]).backbone
    )
    assert load_config("x", device=torch.device("cpu"), test=Path("y")).data.test == "y"


@pytest.mark.parametrize("name", ["2024", "true", "2024-01-01", "007", "1e3"])
def test_text_may_look_like_a_number(name: str) -> None:
    config = load_config("x", settings=[f"name={name}", f"data.source={name}"])
    assert (config.name, config.data.source) == (name, name)


def test_a_line_of_two_values_loses_none() -> None:
    with pytest.raises(SeewhyError, match=r"seed: .*valid integer"):
        load_config("demo", settings=["seed=1\nname='other'"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("seed=true", "seed: expected no truth value, but got true"),
        ("head.units=[true]", "head.units: expected no truth value"),
        ("data.max_megapixels=inf", "data.max_megapixels: input should be a finite number"),
        ("data.white=-1", r"data: expected white above black \(0\), but got -1"),
        ("head.units=[" + "9" * 200 + "]", "head.units.0: .*but got 9{100,120}…"),
    ],
)
def test_values_that_would_be_taken_for_others(settings: str, sentence: str) -> None:
    with pytest.raises(SeewhyError, match=sentence):
        load_config("demo", settings=settings)


@pytest.mark.parametrize("content", ["\ufeffseed = 3", "seed = 3\nbackbone = 'resnet18'"])
def test_files_as_people_write_them(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.toml").write_text(content, "utf-8")
    assert load_config(tmp_path / "a.toml").seed == 3


def test_deep_nesting_and_long_numbers_are_one_sentence(tmp_path: Path) -> None:
    for content in ("a = " + "[" * 5000 + "]" * 5000, f"seed = {'9' * 5000}"):
        (tmp_path / "a.toml").write_text(content, "utf-8")
        with pytest.raises(SeewhyError, match="not a TOML file"):
            load_config(tmp_path / "a.toml")


Refused = Callable[[NamedClassifier], Any]
REFUSED: dict[str, tuple[Refused, str]] = {
    "config": (lambda n: load_config(3), "source: expected a path, but got int"),
    "key": (lambda n: load_config({"sed": 1}), "unknown key 'sed'; did you mean seed"),
    "class": (lambda n: StudyConfig(seed=-1), "seed: input should be greater than or equal to 0"),
    "settings": (lambda n: load_config("demo", settings=3), "settings: expected one or several"),
    "study": (lambda n: run_study(3), "source: expected a path, but got int"),
    "place": (lambda n: run_study("x", 3), "out: expected a path, but got int"),
    "progress": (lambda n: run_study("x", "y", True), "progress: expected an object with task"),
    "report": (lambda n: redraw_report(3), "run directory: expected a path, but got int"),
    "mitigate": (lambda n: mitigate_run(None), "run directory: expected a path, but got NoneType"),
    "load": (lambda n: load_classifier(None), "run directory: expected a path, but got NoneType"),
    "word": (lambda n: open_classifier(3), "classifier: expected a path, but got int"),
    "module": (lambda n: open_classifier(n.module), "seewhy.explain takes it as it is"),
    "run": (lambda n: open_classifier(Path("nowhere")), "there is no such run directory"),
    "size": (lambda n: open_classifier("timm:resnet18", size="64"), "size: expected 1 … 4096"),
    "weights": (lambda n: open_classifier("timm:resnet18", weights="x"), "weights: expected pretr"),
    "device": (lambda n: open_classifier("timm:resnet18", device="tpu"), "device: expected auto"),
    "named": (lambda n: explain(n, torch.zeros(1, 3, 4, 4)), "take its .module"),
    "file": (lambda n: explain(n.module, "a.jpg"), "seewhy.read_images makes one of files"),
    "method": (lambda n: explain(n.module, torch.zeros(1, 3, 4, 4), method=["x"]), "is unknown"),
    "layers": (lambda n: list_layers("timm:resnet18", 3), "model: expected an nn.Module"),
    "no picture": (lambda n: read_images([], n), "expected at least one picture file"),
    "a number": (lambda n: read_images([3], n), "pictures: expected files, images of Pillow's"),
    "a tensor": (lambda n: read_images(torch.zeros(1, 3, 4, 4), n), "the classifier's input as it"),
    "channels": (
        lambda n: read_images(np.zeros((3, 8, 9)), n),
        r"\.transpose\(1, 2, 0\) makes one",
    ),
    "truth": (lambda n: read_images(np.zeros((8, 9), bool), n), "expected numbers, but got bool"),
    "bare module": (lambda n: read_images(RED, n.module), "classifier: expected what load_class"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_one_sentence(case: str, network: NamedClassifier) -> None:
    call, sentence = REFUSED[case]
    with pytest.raises(SeewhyError, match=sentence) as caught:
        call(network)
    assert "\n" not in str(caught.value)


def test_run_study_takes_a_folder_by_its_name(tmp_path: Path) -> None:
    for source in (str(tmp_path / "none"), tmp_path / "none", {"data": {"source": "none"}}):
        with pytest.raises(SeewhyError, match="there is no such file or folder"):
            run_study(source, tmp_path / "out")


def test_pictures_of_every_kind_are_the_same_input(
    network: NamedClassifier, tmp_path: Path
) -> None:
    Image.fromarray(RED).save(tmp_path / "a.png")
    expected = torch.tensor([1, 0, 0.2]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    alpha = np.dstack([RED, np.full((6, 8), 255, np.uint8)])
    for one in (
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        Image.fromarray(RED),
        RED,
        alpha,
        RED[None],
        RED.astype(np.float64) / 255,
        RED.astype(np.int64),
        RED.astype(np.float32),
        (RED.astype(np.uint16) * 257),
    ):
        for given in (
            (one, [one], (one,)) if not (hasattr(one, "ndim") and one.ndim == 4) else (one,)
        ):
            torch.testing.assert_close(read_images(given, network), expected, rtol=0, atol=1e-6)
    assert read_images([RED, tmp_path / "a.png", Image.fromarray(RED)], network).shape[0] == 3
    assert read_images(RED[..., 0], network)[0, 1].unique().tolist() == [1.0]


def test_one_white_for_all_that_are_given(network: NamedClassifier, tmp_path: Path) -> None:
    dark, bright = (np.full((6, 8), value, np.uint16) for value in (819, 4095))
    Image.fromarray(dark).save(tmp_path / "dark.png")
    Image.fromarray(bright).save(tmp_path / "bright.tif")

    def shown(*names: str, own: NamedClassifier = network, **options: float) -> list[float]:
        images = read_images([tmp_path / name for name in names], own, **options)
        return [round(float(image.mean()), 3) for image in images]

    assert shown("dark.png", "bright.tif") == [0.2, 1.0]
    assert shown("dark.png", white=1638) == [0.502]  # 128 of 255
    # As in the classifier's study, whatever else is given.
    studied = seewhy.NamedClassifier(
        **{**vars(network), "levels": Levels((ValueLevel("16-bit", 0, 65535),))}
    )
    assert shown("bright.tif", own=studied) == [0.063]  # 16 of 255
