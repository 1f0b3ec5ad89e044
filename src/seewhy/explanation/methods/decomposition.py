r"""Methods that take the main component of the activations.

Each is a pure function of the target layer's activations (and gradients), both (N, C, h, w);
maps come out (N, h, w), never negative, not normalised. None knows networks, layers or images.
"""

from __future__ import annotations

import torch
from torch import Tensor


def eigencam(activations: Tensor) -> Tensor:
    r"""Eigen-CAM: the places on the activations' first principal direction; no class, no gradient.

    .. math:: O = U \Sigma V^\top, \qquad L = \mathrm{ReLU}\big(O\, v_1\big)

    with O the activations as a (h·w) × C matrix and :math:`v_1` its first right singular vector.
    Its sign is arbitrary; here the map's sum is positive. As in the paper O is not centred
    (pytorch-grad-cam subtracts every channel's mean first).

    References
    ----------
    Muhammad and Yeasin, "Eigen-CAM: Class Activation Map using Principal Components",
    IJCNN 2020, equations 2 and 3.
    """
    component = first_component(activations)
    return (component * _sign(component.sum(dim=(1, 2)))).relu()


def eigengradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    r"""EigenGrad-CAM: the first principal component of activations times gradients.

    .. math:: O = A \odot g - \text{mean over places}, \qquad
              L^c = \mathrm{ReLU}\big(O\, v_1\big)

    with :math:`v_1` the first right singular vector of O. Its sign is arbitrary; here the map
    agrees with the sum over channels of :math:`A \odot g`, whose main part it is.

    References
    ----------
    Gildenblat, pytorch-grad-cam, class EigenGradCAM; there is no paper. After Eigen-CAM.
    """
    products = activations * gradients
    products = products - products.mean(dim=(2, 3), keepdim=True)
    component = first_component(products)
    return (component * _sign((component * products.sum(dim=1)).sum(dim=(1, 2)))).relu()


def first_component(values: Tensor) -> Tensor:
    """Project every place on the first right singular vector of the (places × channels) matrix.

    Computed as the first eigenvector of the smaller of the two Gram matrices, in float64: the
    singular value decomposition itself would compute all the others too. From (N, C, h, w) to
    (N, h, w) float32, of arbitrary sign.
    """
    count, channels, height, width = values.shape
    matrix = values.flatten(2).transpose(1, 2).double()  # (N, places, C)
    if height * width <= channels:
        # O v1 = s1 u1, with u1 and s1² from O Oᵀ.
        squares, vectors = torch.linalg.eigh(matrix @ matrix.transpose(1, 2))
        component = vectors[:, :, -1] * squares[:, -1:].clamp(min=0).sqrt()
    else:
        _, vectors = torch.linalg.eigh(matrix.transpose(1, 2) @ matrix)
        component = (matrix @ vectors[:, :, -1:])[:, :, 0]
    maps: Tensor = component.float().view(count, height, width)
    return maps


def _sign(sums: Tensor) -> Tensor:
    """Return −1 where a map's sum (N,) is negative, 1 elsewhere, to multiply maps (N, h, w)."""
    return torch.where(sums < 0, -1.0, 1.0)[:, None, None]
