"""Linear imputation by hand and against pytorch-grad-cam's direct solver."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from seewhy.errors import ConfigError
from seewhy.explanation.measures.imputation import impute
from seewhy.explanation.measures.pixel_removal import ranks, removed
from seewhy.explanation.measures.reference_maps import random_maps


def test_a_missing_pixel_is_the_weighted_mean_of_its_neighbours() -> None:
    image = torch.tensor([[6.0, 0.0, 0.0], [12.0, 99.0, 3.0], [0.0, 0.0, 24.0]])[None, None]
    missing = torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    missing[..., 1, 1] = True
    found = impute(image, missing, tolerance=1e-7)
    # The edges' sum 15 by 6, and the corners' 30 by 12.
    torch.testing.assert_close(found[0, 0, 1, 1], torch.tensor(5.0))
    assert torch.equal(found[~missing], image[~missing])


def test_at_the_border_only_neighbours_inside_count() -> None:
    image = torch.tensor([[99.0, 3.0], [6.0, 1.0]])[None, None]
    missing = torch.tensor([[True, False], [False, False]])[None, None]
    # (3/6 + 6/6 + 1/12) / (1/6 + 1/6 + 1/12) = 19/5
    found = impute(image, missing, tolerance=1e-7)
    torch.testing.assert_close(found[0, 0, 0, 0], torch.tensor(3.8))


# The peer hands tensors to NumPy in a way that NumPy 2 deprecates.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("size", [(32, 32), (37, 50), (3, 61)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_imputation_equals_pytorch_grad_cams(size: tuple[int, int], share: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam.metrics.road import NoisyLinearImputer
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    maps = torch.cat([random_maps(image, 1, (6, 6), seed=0) for image in range(2)])
    missing = removed(ranks(maps, maps, size), share)
    ours = impute(images, missing, tolerance=1e-5)
    for image, hole, found in zip(images, missing, ours, strict=True):
        expected = NoisyLinearImputer(noise=0)(image, (~hole[0]).float())
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
    # At the default tolerance the error stays below the noise that is added, 0.01.
    rough = impute(images, missing) - ours
    assert rough.square().mean().sqrt() < 8e-3


def test_the_steps_do_not_grow_with_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    from seewhy.explanation.measures import imputation as module

    cycles: list[torch.Size] = []
    run = module._cycle

    def counted(levels: list[module._Level], residual: torch.Tensor) -> torch.Tensor:
        cycles.append(residual.shape[2:])
        return run(levels, residual)

    monkeypatch.setattr(module, "_cycle", counted)
    for side in (32, 224):
        images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        maps = random_maps(0, 1, (7, 7), seed=0)
        impute(images, removed(ranks(maps, maps, (side, side)), 0.6))
        assert sum(size == (side, side) for size in cycles) <= 8


def test_images_are_solved_each_for_itself() -> None:
    images = torch.randn(3, 2, 20, 20, generator=torch.Generator().manual_seed(0))
    images[1] *= 1000
    maps = torch.cat([random_maps(image, 1, (5, 5), seed=0) for image in range(3)])
    missing = removed(ranks(maps, maps, (20, 20)), 0.5)
    missing[2] = False
    together = impute(images, missing, tolerance=1e-5)
    assert torch.equal(together[2], images[2])
    for index in range(2):
        alone = impute(images[index : index + 1], missing[index : index + 1], tolerance=1e-5)
        scale = float(images[index].std())
        np.testing.assert_allclose(together[index], alone[0], atol=1e-3 * scale)


def test_an_image_without_a_pixel_left_is_named() -> None:
    missing = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    missing[1] = True
    with pytest.raises(ConfigError, match="at least one pixel of each image"):
        impute(torch.zeros(2, 3, 4, 4), missing)
