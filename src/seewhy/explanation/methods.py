"""Class activation mapping methods: activations and gradients in, maps out.

Each is a pure function over one core (``cam.py``); none knows networks, layers or images.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from seewhy.errors import ConfigError, near_names

Method = Callable[[Tensor, Tensor], Tensor]


def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    r"""Grad-CAM.

    .. math:: L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big), \qquad
              \alpha_k^c = \frac{1}{Z} \sum_{i,j} \frac{\partial y^c}{\partial A^k_{ij}}

    with :math:`A^k` the k-th channel of the target layer, :math:`y^c` the logit of class c and
    Z = h·w the number of places.

    Parameters
    ----------
    activations : Tensor, (N, C, h, w)
    gradients : Tensor, (N, C, h, w)
        Of each image's explained logit.

    Returns
    -------
    Tensor, (N, h, w)
        Never negative, not normalised.

    References
    ----------
    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization", ICCV 2017, equations 1 and 2.
    """
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1).relu()


METHODS: dict[str, Method] = {"gradcam": gradcam}


def find_method(name: str) -> Method:
    """Return the method called `name`.

    Raises
    ------
    ConfigError
        Where there is none; names those that are near.
    """
    try:
        return METHODS[name]
    except KeyError:
        raise ConfigError(
            f"explanation method {name!r} is unknown{near_names(name, METHODS)}; "
            f"there are: {', '.join(METHODS)}"
        ) from None
