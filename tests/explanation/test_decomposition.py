"""Eigen-CAM and EigenGrad-CAM against NumPy's singular value decomposition and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seewhy.explanation.methods.decomposition import eigencam, eigengradcam, first_component


def test_eigencam_by_hand() -> None:
    # Places × channels: [[3, 0], [0, 1]]: v1 = (1, 0), so the map is (3, 0).
    activations = torch.tensor([[[[3.0, 0.0]], [[0.0, 1.0]]]])
    torch.testing.assert_close(eigencam(activations), torch.tensor([[[3.0, 0.0]]]))
    # A rank-one matrix, places (2, 1) times channels (3, 4): map (2, 1) · |(3, 4)|.
    activations = torch.tensor([[[[6.0, 3.0]], [[8.0, 4.0]]]])
    torch.testing.assert_close(eigencam(activations), torch.tensor([[[10.0, 5.0]]]))


def test_eigengradcam_by_hand() -> None:
    # Products: places (6, 2, 1) in a single channel; less their mean 3: (3, -1, -2).
    activations, gradients = torch.ones(1, 1, 1, 3), torch.tensor([[[[6.0, 2.0, 1.0]]]])
    expected = torch.tensor([[[3.0, 0.0, 0.0]]])
    torch.testing.assert_close(eigengradcam(activations, gradients), expected)


@pytest.mark.parametrize("shape", [(2, 40, 3, 4), (2, 5, 6, 6), (1, 7, 1, 7)])
def test_the_first_component_is_that_of_a_decomposition(shape: tuple[int, ...]) -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=shape)).float()
    found = first_component(values).numpy()
    for image, one in zip(values.numpy(), found, strict=True):
        matrix = image.reshape(shape[1], -1).T.astype(np.float64)
        _, _, right = np.linalg.svd(matrix)
        expected = (matrix @ right[0]).reshape(shape[2:])
        expected *= np.sign((expected * one).sum())
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


def test_signs_do_not_hang_on_the_decomposition() -> None:
    torch.manual_seed(0)
    activations = torch.rand(3, 6, 3, 3)
    gradients = torch.randn(3, 6, 3, 3)
    # Activations of one sign have a first direction of one sign: the map is positive everywhere.
    assert (eigencam(activations) > 0).all()
    torch.testing.assert_close(eigencam(-activations), eigencam(activations))
    products = activations * gradients
    found = eigengradcam(activations, gradients)
    centred = products - products.mean((2, 3), keepdim=True)
    assert ((found * centred.sum(1)).sum((1, 2)) > 0).all()
