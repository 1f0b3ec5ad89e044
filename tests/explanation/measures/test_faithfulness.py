"""Faithfulness as a whole: maps that are right, wrong, empty; what the record says of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.explain import explain
from seewhy.explanation.measures.faithfulness import GOOD, FaithfulnessReport, measure_faithfulness
from seewhy.explanation.measures.reference_maps import (
    centred_gaussian,
    random_maps,
    rearranged,
    reference_patterns,
)

COUNT, SIDE = 16, 32
Photographs = Callable[[int, int], tuple[nn.Module, Tensor]]


class Spots(nn.Module):
    """Sees red spots: class 1 where some place is red, less surely in a restless picture."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.9)
        self.pool = nn.AvgPool2d(8, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        red = self.pool(images[:, :1] - images[:, 1:2]).flatten(1).amax(dim=1)
        restless = images.diff(dim=3).abs().mean(dim=(1, 2, 3))
        return self.drop(torch.stack([torch.zeros_like(red), 4 * red - 10 * restless - 2], dim=1))


def _scene() -> tuple[Tensor, Tensor, Tensor]:
    """Images (16, 3, 32, 32) with a red square each, the squares' masks, and maps (16, 8, 8)."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(0, 0.2, (COUNT, 3, SIDE, SIDE))).float()
    masks = torch.zeros(COUNT, SIDE, SIDE, dtype=torch.bool)
    for image, mask in zip(images, masks, strict=True):
        top, left = (int(4 * place) for place in rng.integers(0, 7, 2))
        mask[top : top + 8, left : left + 8] = True
        image[0][mask] += 1.5
    maps = masks.float().view(COUNT, 8, 4, 8, 4).mean(dim=(2, 4))
    return images, masks, maps


IMAGES, MASKS, MAPS = _scene()
ONES = torch.ones(COUNT, dtype=torch.long)
NAMES = {
    "deletion_mean",
    "deletion_blur",
    "insertion_mean",
    "insertion_blur",
    *(set(GOOD) - {"deletion", "insertion"}),
}


def _measure(maps: Tensor = MAPS, masks: Tensor | None = MASKS, **options: Any) -> Any:
    return measure_faithfulness(Spots(), IMAGES, maps, ONES, masks, **options)


@pytest.fixture(scope="module")
def right() -> FaithfulnessReport:
    return _measure()


def test_maps_of_the_very_object_beat_random_and_gaussian_maps(right: FaithfulnessReport) -> None:
    assert set(right.measures) == NAMES
    for name, measure in right.measures.items():
        assert measure.images == COUNT
        if name == "sparseness":
            assert measure.verdict == "no good direction"
        else:
            assert measure.verdict == "better than random", name
            assert measure.gaussian_verdict == "better than a centred Gaussian", name
    assert right.measures["pointing_game"].maps.value == 1
    assert right.measures["energy_inside"].maps.value > 0.75
    assert right.verdict == (
        "better than random on 12 of 12 measures and than a centred Gaussian on 12"
    )


def test_maps_of_everything_but_the_object_are_no_better_than_random(
    right: FaithfulnessReport,
) -> None:
    found = _measure(1 - MAPS)
    judged = [m for m in found.measures.values() if m.good != "neither"]
    assert {m.verdict for m in judged} == {"no better than random"}
    assert found.verdict == "no better than random on any of 12 measures"
    assert found.measures["road"].maps.value < 0 < right.measures["road"].maps.value


def test_a_map_without_structure_is_as_good_as_a_random_one() -> None:
    found = _measure(torch.ones_like(MAPS), random_maps=3).measures
    # Its pixels have the order of a random map; its values in other places are the same values.
    for name in ("deletion_mean", "insertion_blur", "road"):
        assert found[name].versus_random.low < 0 < found[name].versus_random.high
        assert found[name].verdict == "no better than random"
    for name in ("average_drop", "energy_inside", "iou", "pointing_game"):
        assert found[name].versus_random.value == pytest.approx(0, abs=1e-6)


def test_a_map_with_the_same_order_of_pixels_gives_the_same_curves() -> None:
    # The order alone counts for what takes pixels away.
    soft = F.avg_pool2d(MAPS, 3, stride=1, padding=1, count_include_pad=False)
    # At the images' resolution nothing is interpolated, so cubing keeps the order.
    soft = soft.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    options = {"steps": 4, "road_shares": (0.3,), "random_maps": 1}
    once, cubed = (_measure(maps, **options).measures for maps in (soft, soft**3))
    for name in ("deletion_blur", "insertion_mean", "road_morf", "road_lerf"):
        assert cubed[name] == once[name]
    assert cubed["average_drop"].maps.value != once["average_drop"].maps.value


def test_curves_run_from_the_image_to_the_baseline(right: FaithfulnessReport) -> None:
    before = Spots().eval()(IMAGES).softmax(dim=1)[:, 1].mean()
    assert set(right.curves) == {name for name in NAMES if "tion_" in name}
    deletion, insertion = right.curves["deletion_mean"], right.curves["insertion_mean"]
    assert deletion.shares == tuple(k / 8 for k in range(9))
    for curve in (deletion.maps, deletion.random, deletion.gaussian):
        assert curve[0] == pytest.approx(float(before), abs=1e-5)
        assert curve[-1] == pytest.approx(insertion.maps[0], abs=1e-5)
    # The area under the mean curve is the mean of the areas.
    area = np.trapezoid(deletion.maps, dx=1 / 8)
    assert right.measures["deletion_mean"].maps.value == pytest.approx(area, abs=1e-5)


def test_what_maps_are_compared_with_is_what_it_is_called() -> None:
    options = {"steps": 4, "road_shares": (0.4,), "random_maps": 1}
    found = _measure(**options)
    centred = centred_gaussian((8, 8)).expand_as(MAPS)
    random = torch.stack([random_maps(image, 2, (8, 8), seed=0)[1] for image in range(COUNT)])
    for known, maps in (("gaussian", centred), ("random", random)):
        given = _measure(maps, **options)
        for name in ("deletion_mean", "insertion_blur", "road", "sparseness"):
            expected = given.measures[name].maps
            assert getattr(found.measures[name], known) == expected, name
        curve = getattr(found.curves["deletion_blur"], known)
        assert curve == given.curves["deletion_blur"].maps
        # The map's own values, in the places of this one's.
        placed = _measure(rearranged(MAPS, maps), **options).measures["energy_inside"].maps
        assert getattr(found.measures["energy_inside"], known) == placed


def test_what_maps_are_compared_with_leaves_padding_out() -> None:
    options = {"steps": 2, "road_shares": (), "random_maps": 1}
    filled = [[0, 0.25, 1, 0.75]] * COUNT
    whole, found = _measure(**options), _measure(filled=filled, **options)
    patterns, _ = reference_patterns(torch.arange(COUNT), (8, 8), 0, 1, torch.tensor(filled))
    for known, maps in zip(("random", "gaussian"), patterns, strict=True):
        given = _measure(maps, **options)
        for name in ("deletion_mean", "insertion_blur", "sparseness"):
            expected = given.measures[name].maps
            assert getattr(found.measures[name], known) == expected, name
            assert getattr(whole.measures[name], known) != expected, name
    for name, measure in found.measures.items():
        assert measure.maps == whole.measures[name].maps


def test_the_record_is_json_and_says_what_it_was_measured_with(right: FaithfulnessReport) -> None:
    stored = json.loads(json.dumps(dataclasses.asdict(right), allow_nan=False))
    assert (
        stored["measures"]["iou"]["versus_random"]["low"] == right.measures["iou"].versus_random.low
    )
    assert (stored["images"], stored["empty"], stored["masked"]) == (COUNT, 0, COUNT)
    assert (stored["seed"], stored["steps"], stored["random_maps"]) == (0, 8, 2)
    assert stored["baselines"] == ["mean", "blur"]


def test_the_price_is_what_the_docstring_says(right: FaithfulnessReport) -> None:
    assert right.forward_passes == 151 * COUNT
    small = _measure(steps=4, baselines=("blur",), road_shares=(), random_maps=1)
    assert small.forward_passes == ((2 + 1) * (2 * 3 + 1) + 2) * COUNT
    assert "road" not in small.measures and "deletion_mean" not in small.measures


def test_batches_change_nothing() -> None:
    sizes: list[int] = []
    model = Spots()
    model.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    options = {"steps": 3, "road_shares": (0.4,), "random_maps": 1}
    parts = measure_faithfulness(
        model, iter(IMAGES.split(5)), MAPS, ONES, MASKS, batch_size=3, **options
    )
    assert max(sizes) == 3
    whole = _measure(**options)
    assert parts.verdict == whole.verdict
    for name, measure in whole.measures.items():
        assert parts.measures[name].maps.value == pytest.approx(measure.maps.value, abs=1e-6)
        assert parts.measures[name].random.low == pytest.approx(measure.random.low, abs=1e-6)


def test_the_same_seed_gives_the_same_record_and_another_one_another(
    right: FaithfulnessReport,
) -> None:
    torch.manual_seed(5)
    assert _measure() == right
    other = _measure(seed=1).measures["deletion_mean"]
    assert other.random != right.measures["deletion_mean"].random
    assert other.maps.value == pytest.approx(right.measures["deletion_mean"].maps.value, abs=0.02)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_and_the_random_state_are_as_before(fails: bool) -> None:
    model = nn.Sequential(Spots(), nn.Identity()).train()
    model[1].eval()
    if fails:
        model[1].register_forward_hook(lambda module, given, output: output[:, :1] / 0 * 0)
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    options = {"steps": 2, "random_maps": 1, "road_shares": ()}
    if fails:
        with pytest.raises(ConfigError, match="not finite"):
            measure_faithfulness(model, IMAGES, MAPS, ONES, **options)
    else:
        found = measure_faithfulness(model, IMAGES, MAPS, ONES, **options)
        # With its dropout of 0.9 at work, nothing could be told.
        assert found.measures["deletion_mean"].verdict == "better than random"
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()


def test_empty_maps_are_counted_and_left_out(right: FaithfulnessReport) -> None:
    maps = torch.cat([torch.zeros(1, 8, 8), MAPS[1:]])
    maps[3] = -1
    found = _measure(maps)
    assert (found.images, found.empty, found.masked) == (COUNT, 2, COUNT - 2)
    kept = [k for k in range(COUNT) if k not in (0, 3)]
    assert found.measures["deletion_mean"].images == COUNT - 2
    alone = measure_faithfulness(Spots(), IMAGES[kept], MAPS[kept], ONES[kept])
    value = found.measures["deletion_mean"].maps.value
    assert value == pytest.approx(alone.measures["deletion_mean"].maps.value, abs=0.02)


def test_nothing_is_said_where_every_map_is_empty() -> None:
    found = _measure(torch.zeros(COUNT, 8, 8))
    assert found.empty == COUNT
    assert (found.measures, found.curves, found.forward_passes) == ({}, {}, 0)
    assert found.verdict == "no image with a map that is not empty"


def test_few_images_get_no_verdict() -> None:
    found = measure_faithfulness(Spots(), IMAGES[:9], MAPS[:9], ONES[:9], steps=2, road_shares=())
    assert {m.verdict for m in found.measures.values()} == {"too few images", "no good direction"}
    assert found.verdict == "too few images for a verdict, which needs at least 10"


def test_images_without_a_mask_are_left_out_of_the_localisation_alone() -> None:
    masks = MASKS.clone()
    masks[4:] = False
    found = _measure(masks=masks, steps=2, road_shares=())
    assert found.masked == 4
    assert found.measures["iou"].images == 4
    assert found.measures["iou"].verdict == "too few images"
    assert found.measures["deletion_mean"].images == COUNT
    without = _measure(masks=None, steps=2, road_shares=())
    assert without.masked == 0
    assert set(without.measures).isdisjoint({"iou", "pointing_game", "energy_inside"})


def test_masks_of_another_size_are_resized() -> None:
    double = MASKS.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    options = {"steps": 2, "road_shares": ()}
    assert _measure(masks=double, **options) == _measure(**options)


def test_arrays_are_taken_as_tensors_are() -> None:
    options = {"steps": 2, "road_shares": (), "random_maps": 1}
    arrays = measure_faithfulness(
        Spots(), IMAGES, MAPS.numpy().astype(np.float16), ONES.numpy(), MASKS.numpy(), **options
    )
    assert arrays == _measure(**options)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"maps": MAPS[:, 0]}, r"expected finite maps \(N, h, w\)"),
        ({"maps": MAPS / 0}, r"expected finite maps \(N, h, w\)"),
        ({"maps": MAPS[:3]}, "expected classes to be one index for each of 3 maps"),
        ({"classes": ONES.float()}, "expected classes to be one index for each of 16 maps"),
        ({"classes": ONES + 1}, "expected classes in 0 … 1, but got 2 … 2"),
        ({"masks": MASKS[:2]}, "expected one mask"),
        ({"images": IMAGES[:2]}, "expected one image for each of 16 maps, but got 2"),
        ({"images": [IMAGES, IMAGES]}, "expected 16 images"),
        ({"images": IMAGES[:, 0]}, "expected 16 images"),
        ({"baselines": ["mena"]}, "did you mean mean"),
        ({"steps": 0}, "expected steps to be at least 1, but got 0"),
        ({"batch_size": 0}, "expected batch_size to be at least 1"),
        ({"road_shares": [0.2, 1.0]}, "expected road_shares between 0 and 1"),
        ({"iou_threshold": 50}, "expected iou_threshold between 0 and 1"),
        ({"filled": [[0, 0, 1, 1]]}, r"one box \(4,\) for each of 16 maps, but got \(1, 4\)"),
        ({"filled": [[0, 0.5, 1, 0.5]] * COUNT}, "each left below its right"),
    ],
)
def test_what_cannot_be_measured_is_named(arguments: dict[str, Any], sentence: str) -> None:
    given = {"images": IMAGES, "maps": MAPS, "classes": ONES, "masks": MASKS, "steps": 2}
    with pytest.raises(ConfigError, match=sentence):
        measure_faithfulness(Spots(), **{**given, **arguments})


def test_grad_cam_on_photographs_is_better_than_random(photographs: Photographs) -> None:
    model, images = photographs(128, 12)
    shown = explain(model, images)
    found = measure_faithfulness(
        model,
        images,
        shown.maps[:, 0],
        shown.classes[:, 0],
        steps=3,
        baselines=("blur",),
        road_shares=(0.3,),
        random_maps=1,
    )
    for name in ("deletion_blur", "insertion_blur", "road", "road_morf"):
        assert found.measures[name].verdict == "better than random", name
    # Photographers put the object in the middle: a Gaussian there is no weak opponent.
    gaussian = found.measures["deletion_blur"]
    assert gaussian.gaussian.value < gaussian.random.value
