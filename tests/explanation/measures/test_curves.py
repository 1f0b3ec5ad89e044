"""Deletion, insertion, confidence and ROAD: by hand, by identities, and by pytorch-grad-cam."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.measures.curves import (
    area,
    class_probability,
    confidence_change,
    exchange_curve,
    road,
)
from seewhy.explanation.measures.pixel_removal import blurred, mean_colour, ranks
from seewhy.explanation.measures.reference_maps import random_maps

# Brightest first: 0.8, 0.6, 0.4, 0.2.
IMAGE = torch.tensor([[0.8, 0.4], [0.2, 0.6]])[None, None]
RANKED = torch.tensor([[[0, 2], [3, 1]]])


class Brightness(nn.Module):
    """Says class 0 with the probability that is the image's mean, exactly."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([mean, 1 - mean], dim=1).log()


def _brightness(images: Tensor) -> Tensor:
    return class_probability(Brightness(), torch.zeros(len(images), dtype=torch.long))(images)


def test_a_deletion_curve_worked_out_by_hand() -> None:
    curve = exchange_curve(_brightness, IMAGE, torch.zeros_like(IMAGE), RANKED, steps=4)
    torch.testing.assert_close(curve, torch.tensor([[0.5, 0.3, 0.15, 0.05, 0.0]]))
    # Half of 0.5 and of 0, and 0.3, 0.15 and 0.05 between: 0.75 by four steps.
    torch.testing.assert_close(area(curve), torch.tensor([0.1875]))


def test_an_insertion_curve_worked_out_by_hand() -> None:
    curve = exchange_curve(_brightness, torch.zeros_like(IMAGE), IMAGE, RANKED, steps=4)
    torch.testing.assert_close(curve, torch.tensor([[0.0, 0.2, 0.35, 0.45, 0.5]]))
    torch.testing.assert_close(area(curve), torch.tensor([0.3125]))


def test_deletion_towards_the_mean_colour_worked_out_by_hand() -> None:
    curve = exchange_curve(_brightness, IMAGE, mean_colour(IMAGE), RANKED, steps=2)
    # 0.8 and 0.6 become 0.5 each: 1.6 / 4
    torch.testing.assert_close(curve, torch.tensor([[0.5, 0.4, 0.5]]))


def test_known_ends_are_not_asked_for_again() -> None:
    asked: list[Tensor] = []

    def predict(images: Tensor) -> Tensor:
        asked.append(images)
        return _brightness(images)

    ends = (torch.tensor([0.5]), torch.tensor([0.0]))
    curve = exchange_curve(predict, IMAGE, torch.zeros_like(IMAGE), RANKED, 4, ends)
    assert len(asked) == 3
    torch.testing.assert_close(curve[0, [0, 4]], torch.tensor([0.5, 0.0]))


def test_inserting_into_a_baseline_is_deleting_the_least_relevant_backwards() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, 16, 16, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, 5)).eval()
    maps = torch.rand(3, 4, 4, generator=generator)
    predict = class_probability(model, torch.tensor([0, 2, 4]))
    ranked = ranks(maps, maps, (16, 16))
    baseline = blurred(images)
    with torch.no_grad():
        inserted = exchange_curve(predict, baseline, images, ranked, 8)
        deleted = exchange_curve(predict, images, baseline, 255 - ranked, 8)
    torch.testing.assert_close(inserted, deleted.flip(1), rtol=1e-5, atol=1e-7)


def test_confidence_by_hand() -> None:
    maps = torch.tensor([[[4.0, 0.0], [-1.0, 0.0]], [[0.0, -0.5], [0.5, 0.0]]])
    images = IMAGE.expand(2, 1, 2, 2)
    drop, increase = confidence_change(_brightness, images, maps, torch.tensor([0.5, 0.5]))
    # The rest fades to the mean colour 0.5: (0.8 + 1.5) / 4 = 0.575, and (0.2 + 1.5) / 4 = 0.425.
    torch.testing.assert_close(drop, torch.tensor([0.0, 0.15]))
    assert increase.tolist() == [1.0, 0.0]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(128, 5),
        ).eval()


IMAGES = torch.randn(3, 3, 20, 20, generator=torch.Generator().manual_seed(1)) * 3
MAPS = torch.cat([random_maps(image, 1, (20, 20), seed=0) for image in range(3)])
CLASSES = torch.tensor([1, 0, 4])


def _peer() -> tuple[object, list[object]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam import metrics
        from pytorch_grad_cam.metrics import cam_mult_image, perturbation_confidence, road
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
    assert cam_mult_image and perturbation_confidence and road
    return metrics, [ClassifierOutputSoftmaxTarget(int(k)) for k in CLASSES]


def test_the_drop_in_confidence_equals_pytorch_grad_cams(network: nn.Module) -> None:
    peer, targets = _peer()
    # The peer fades to zero, which is the mean colour of these images.
    images = IMAGES - IMAGES.mean(dim=(2, 3), keepdim=True)
    predict = class_probability(network, CLASSES)
    with torch.no_grad():
        before = predict(images)
        drop, increase = confidence_change(predict, images, MAPS, before)
    theirs = peer.cam_mult_image.DropInConfidence()(images, MAPS.numpy(), targets, network)
    rises = peer.cam_mult_image.IncreaseInConfidence()(images, MAPS.numpy(), targets, network)
    # The peer's drop is not divided by the confidence before, as the paper's is.
    np.testing.assert_allclose(drop, theirs / before.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(increase, rises)
    assert float(drop.max()) > 0


# The peer hands tensors to NumPy in a way that NumPy 2 deprecates.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_road_equals_pytorch_grad_cams(network: nn.Module) -> None:
    peer, targets = _peer()
    removal, imputation = peer.perturbation_confidence, peer.road.NoisyLinearImputer(noise=0)
    shares = (0.2, 0.6, 0.8)
    ranked = ranks(MAPS, MAPS, (20, 20))
    predict = class_probability(network, CLASSES)
    with torch.no_grad():
        found = road(predict, IMAGES, ranked, shares, torch.zeros_like(IMAGES))
    kinds = (removal.RemoveMostRelevantFirst, removal.RemoveLeastRelevantFirst)
    for ours, kind in zip(found, kinds, strict=True):
        for column, share in enumerate(shares):
            remove = kind(100 * (1 - share), imputation)
            theirs = removal.PerturbationConfidenceMetric(remove)(
                IMAGES, MAPS.numpy(), targets, network, return_diff=False
            )
            np.testing.assert_allclose(ours[:, column], theirs, atol=1e-3)
    assert float((found[0] - found[1]).abs().max()) > 0.01


def test_roads_noise_lies_where_pixels_were_imputed_and_only_there() -> None:
    seen: list[Tensor] = []

    def predict(images: Tensor) -> Tensor:
        seen.append(images)
        return images.mean(dim=(1, 2, 3))

    ranked = ranks(MAPS, MAPS, (20, 20))
    noise = torch.ones_like(IMAGES)
    road(predict, IMAGES, ranked, [0.25], noise)
    road(predict, IMAGES, ranked, [0.25], 2 * noise)
    added = seen[2] - seen[0]
    gone = (ranked < 100)[:, None].expand_as(added)
    expected = 0.01 * IMAGES.flatten(1).std(dim=1)[:, None, None, None].expand_as(added)
    torch.testing.assert_close(added[gone], expected[gone], rtol=1e-3, atol=1e-6)
    assert not added[~gone].any()
    assert torch.equal(
        seen[1][(ranked < 300)[:, None].expand_as(added)],
        IMAGES[(ranked < 300)[:, None].expand_as(added)],
    )


class Single(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.sum(dim=(1, 2, 3))[:, None]


def test_a_single_logit_stands_for_two_classes() -> None:
    images = torch.tensor([1.0, 1.0])[:, None, None, None]
    found = class_probability(Single(), torch.tensor([0, 1]))(images)
    sigmoid = 1 / (1 + np.exp(-1))
    torch.testing.assert_close(found, torch.tensor([1 - sigmoid, sigmoid]).float())


def test_a_multi_label_classifier_is_asked_by_sigmoids() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0]])
    model = nn.Sequential(nn.Flatten(), nn.Identity())
    predict = class_probability(model, torch.tensor([1]), activation="sigmoid")
    torch.testing.assert_close(predict(logits[:, :, None, None])[0], torch.tensor(3.0).sigmoid())


def test_a_class_that_the_model_does_not_have_is_named() -> None:
    with pytest.raises(ConfigError, match=r"expected classes in 0 … 1, but got 0 … 2"):
        class_probability(Brightness(), torch.tensor([0, 2]))(IMAGE.expand(2, 1, 2, 2))
