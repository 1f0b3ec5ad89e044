"""Which pair of method and layer makes the maps: candidates, the choice, and what it costs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy.config import ExplanationConfig, StudyConfig, load_config
from seewhy.errors import ConfigError
from seewhy.models.classifier import MapPair, named_layers, shown_layers
from seewhy.models.cut import cut_trunk
from seewhy.pipeline.context import StudyContext
from seewhy.pipeline.map_choice import (
    _affordable,
    candidate_pairs,
    choose_pair,
    chosen_from,
    finer_layer,
    operations,
)
from seewhy.pipeline.mitigation import _config
from seewhy.runtime.device import choose_compute
from seewhy.runtime.progress import Silent
from seewhy.statistics.bootstrap import Interval
from seewhy.storage.optional_steps import Failures
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.map_choice import MapCandidate, MapChoice

SIDE = 32
LAST, FINE = MapPair("gradcam", ("tail.mirror",)), MapPair("gradcam", ("tail.fine",))


class Fine(nn.Module):
    """How strong a checked pattern is, at half of the resolution."""

    def forward(self, images: Tensor) -> Tensor:
        kernel = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])[None, None] / 4
        return F.conv2d(images[:, :1], kernel, stride=2).abs()


class Mirror(nn.Module):
    """Four places, and each of them in the opposite corner."""

    def forward(self, fine: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(fine, 2).flip(2, 3)


class TailAndHead(nn.Module):
    """The evidence is at the right place before the last map, and at a wrong one in it."""

    def __init__(self, sees: bool) -> None:
        super().__init__()
        self.tail = nn.Sequential()
        self.tail.fine, self.tail.mirror = Fine(), Mirror()
        self.sees = sees

    def forward(self, images: Tensor) -> Tensor:
        found = self.tail(images).mean(dim=(1, 2, 3)) * 400 * self.sees
        return torch.stack([torch.zeros_like(found), found - 10], dim=1)


class TinyClassifier(nn.Module):
    """A network without a prefix."""

    def __init__(self, sees: bool = True) -> None:
        super().__init__()
        self.tail_and_head = TailAndHead(sees)

    def forward(self, images: Tensor) -> Tensor:
        return self.tail_and_head(images)


class Images:
    """Grey images with a checked square in one of four corners, as activations and as pixels."""

    def __init__(self, count: int) -> None:
        self.all = torch.zeros(count, 3, SIDE, SIDE)
        checks = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
        for number in range(count):
            top, left = 4 + 16 * (number % 2), 4 + 16 * (number // 2 % 2)
            self.all[number, :, top : top + 8, left : left + 8] = checks
        self.asked: list[np.ndarray] = []

    def images(self, indices: np.ndarray) -> Tensor:
        self.asked.append(indices)
        return self.all[indices]

    batch = images


class NoImages:
    """What must not be asked, or fails."""

    def batch(self, indices: np.ndarray) -> Tensor:
        raise RuntimeError("no activations")


def context(root: Path, count: int = 40, **explanation: object) -> StudyContext:
    """The context of a study whose every second image is for the test."""
    run = RunDirectory(root / "run")
    run.layout.backbone("net").mkdir(parents=True)
    splits = np.array(["test", "validation"] * (count // 2))
    data = SimpleNamespace(
        where=lambda split: np.flatnonzero(splits == split),
        labels=np.arange(count) // 2 % 2,
        ids=tuple(f"image-{k}" for k in range(count)),
        pixels=np.full((count, SIDE, SIDE, 3), 128, dtype=np.uint8),
    )
    config = StudyConfig(explanation=explanation)
    compute, silent = choose_compute("cpu", "float32"), Silent()
    return StudyContext(
        config, compute, run, data, data, "key", silent, Failures(run, silent)  # type: ignore[arg-type]
    )  # fmt: skip


def chosen(work: StudyContext, sees: bool = True, at_cut: object = None, pairs=(LAST, FINE)):
    predictions = SimpleNamespace(predicted=np.ones(20, dtype=np.int64))
    at_cut = at_cut or Images(40)
    return choose_pair(work, "net", TinyClassifier(sees), at_cut, pairs, predictions)  # type: ignore[arg-type]


def test_the_layer_that_has_the_evidence_is_chosen(tmp_path: Path) -> None:
    work, images = context(tmp_path), Images(40)
    assert chosen(work, at_cut=images) == FINE
    found = work.run.map_choice.read("net")
    assert found is not None
    last, fine = found.candidates
    assert (last.places, fine.places) == ((2, 2), (16, 16))
    assert fine.better and not last.better
    assert last.difference.value < 0 < fine.difference.value
    assert found.layer == "fine" and "gradcam at fine is the most faithful of 2" in found.sentence
    # Test images choose nothing: they have the even places.
    assert all((indices % 2 == 1).all() for indices in images.asked)
    assert len(found.ids) == 20 and set(found.ids) <= {f"image-{k}" for k in range(1, 40, 2)}


def test_the_last_map_stays_where_no_map_is_better_than_random(tmp_path: Path) -> None:
    work = context(tmp_path)
    assert chosen(work, sees=False) == LAST
    found = work.run.map_choice.read("net")
    assert found is not None and not any(one.better for one in found.candidates)
    assert found.sentence.startswith("On 20 validation images no map of 2 pairs")


def test_a_resumed_study_reads_what_was_chosen(tmp_path: Path) -> None:
    work = context(tmp_path)
    record = MapChoice(method="gradcam", layer="fine", sentence="so", ids=(), candidates=())
    work.run.map_choice.write("net", record)
    assert chosen(work, at_cut=NoImages()) == FINE
    assert not work.failures.found


def test_a_mitigated_study_has_the_maps_of_the_study_around_it(tmp_path: Path) -> None:
    work = context(tmp_path)
    assert _config(work.run, "net", work.config, 0).explanation == work.config.explanation
    layer = "trunk output, blocks.5.0.bn1"
    record = MapChoice(method="hirescam", layer=layer, sentence="so", ids=(), candidates=())
    work.run.map_choice.write("net", record)
    explanation = _config(work.run, "net", work.config, 0).explanation
    assert (explanation.method, explanation.layers) == ("hirescam", ("last", "blocks.5.0.bn1"))


def test_a_choice_that_fails_costs_nothing(tmp_path: Path) -> None:
    work = context(tmp_path)
    assert chosen(work, at_cut=NoImages()) == LAST
    (failed,) = work.failures.found
    assert (failed.step, failed.backbone) == ("map choice", "net")
    assert work.run.map_choice.read("net") is None


def test_too_few_validation_images_choose_nothing(tmp_path: Path) -> None:
    work = context(tmp_path, count=18)
    assert chosen(work, at_cut=NoImages()) == LAST
    found = work.run.map_choice.read("net")
    assert found is not None and found.candidates == ()
    assert found.sentence.startswith("9 validation images are too few")


def test_the_paper_and_named_pairs_measure_nothing(tmp_path: Path) -> None:
    cut = cut_trunk(timm.create_model("resnet10t", num_classes=0).eval(), 0.5, 64)
    paper = candidate_pairs(load_config("paper").explanation, cut)
    assert paper == (MapPair("gradcam", ("tail",)),)
    named = ExplanationConfig(method="layercam", layer=("layer3.0.act2", "last"))
    assert candidate_pairs(named, cut) == (MapPair("layercam", ("tail.layer3.0.act2", "tail")),)
    off = candidate_pairs(ExplanationConfig(choice_images=0), cut)
    assert off == paper
    work = context(tmp_path)
    assert chosen(work, at_cut=NoImages(), pairs=paper) == paper[0]
    assert not work.run.map_choice.path("net").is_file()


def test_what_is_given_is_not_chosen() -> None:
    cut = cut_trunk(timm.create_model("resnet10t", num_classes=0).eval(), 0.5, 64)
    layers = {("tail",), ("tail.layer3.0.act2",), ("tail", "tail.layer3.0.act2")}
    everything = candidate_pairs(ExplanationConfig(), cut)
    assert {pair.layers for pair in everything} == layers
    assert everything[0] == MapPair("gradcam", ("tail",)) and len(set(everything)) <= 6
    by_layer = candidate_pairs(ExplanationConfig(method="hirescam"), cut)
    assert {(pair.method, pair.layers) for pair in by_layer} == {("hirescam", x) for x in layers}
    by_method = candidate_pairs(ExplanationConfig(layer="layer3.0.conv1"), cut)
    assert {pair.layers for pair in by_method} == {("tail.layer3.0.conv1",)}
    assert by_method[0].method == "gradcam" and len(by_method) > 1
    assert candidate_pairs(ExplanationConfig(method="cam"), cut) == (MapPair("cam", ("tail",)),)
    with pytest.raises(ConfigError, match=r"'layer3.0.conv' is no layer after the cut; did you"):
        candidate_pairs(ExplanationConfig(layer="layer3.0.conv"), cut)


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        # 8×8 of 64 pixels before the last pooling but one; the last map has 4×4 there.
        ("vgg11", 64, "features.14"),
        ("vgg11", 112, None),  # 7×7 already
        # None has seven: the last with 6×6, which all passes through.
        ("tf_efficientnet_lite0", 96, "blocks.5.0.bn1"),
        ("tf_efficientnet_lite0", 160, "blocks.5.0.bn1"),
        ("tf_efficientnet_lite0", 224, None),
        # Blocks of four branches: no module has all of them, so the last of one branch.
        ("inception_v3", 96, "Mixed_7a.branch7x7x3_3.bn"),
        ("resnet18", 32, "layer3.1.act2"),
        # Its first block has as many places inside as before it, but not all passes there.
        ("resnet50", 96, "layer3.5.act3"),
    ],
)
def test_the_finer_layer_is_the_last_with_enough_places(
    name: str, size: int, layer: str | None
) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0).eval()
    assert finer_layer(cut_trunk(model, 0.5, size)) == layer


def candidate(method: str, value: float, better: bool = True) -> MapCandidate:
    interval = Interval(value, value, value)
    return MapCandidate(
        method=method, layer="fine", places=(2, 2), maps=interval, random=interval,
        difference=interval, better=better,
    )  # fmt: skip


def test_the_first_of_equal_candidates_is_chosen_and_only_one_that_is_better() -> None:
    three = [candidate("a", 0.1), candidate("b", 0.2), candidate("c", 0.2)]
    assert chosen_from(three, ("x",)).method == "b"
    # Great, but uncertain.
    uncertain = [*three, candidate("d", 0.9, better=False)]
    assert chosen_from(uncertain, ("x",)).method == "b"
    assert chosen_from([candidate("a", 0.1, False), candidate("b", 0.2, False)], ()).method == "a"


def test_what_a_pass_costs_is_counted() -> None:
    """A 3×3 convolution of 2 channels into 4 at 5×5 places, and its ReLU."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.ReLU())
    values = 2 * 4 * 5 * 5
    assert operations(model, torch.zeros(1, 2, 5, 5)) == 2 * 9 * 2 * 4 * 25 + 100 * values


def test_a_large_network_gets_fewer_images_and_never_fewer_than_ten() -> None:
    from seewhy.pipeline.map_choice import _BUDGET

    assert [_affordable(24, _BUDGET / n) for n in (100, 24, 15, 10, 1)] == [24, 24, 15, 10, 10]


def test_layers_have_one_name_in_records() -> None:
    layers = ("tail", "tail.blocks.6")
    assert shown_layers(layers) == "trunk output, blocks.6"
    assert named_layers(shown_layers(layers)) == layers
