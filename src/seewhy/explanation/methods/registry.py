"""Every method by its name, with what it asks of the engine.

The formulas are in this package's other files; here each is joined to the engine's `Case`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from seewhy.errors import ConfigError, near_names
from seewhy.explanation.engine import Case
from seewhy.explanation.methods import gradient

Needs = Literal["gradients", "curvatures"]
Run = Callable[[Case], dict[str, Tensor]]


@dataclass(frozen=True)
class Method:
    """A way to make maps.

    Attributes
    ----------
    name : str
        As `explain` takes it.
    title : str
        As people write it.
    needs : str
        What it asks of the engine; tells its price. ``gradients``: one backward a class through
        what lies behind the layer, none where that is pooling and a linear layer.
        ``curvatures``: two.
    run : callable
        From a `Case` to maps (N, K, h, w) of every layer, by name.
    """

    name: str
    title: str
    needs: Needs
    run: Run


def find_method(name: str) -> Method:
    """Return the method called `name`.

    Raises
    ------
    ConfigError
        Where there is none; names those that are near.
    """
    known = METHODS.get(name) if isinstance(name, str) else None
    if known is None:
        near = near_names(name, METHODS) if isinstance(name, str) else ""
        raise ConfigError(
            f"explanation method {name!r} is unknown{near}; there are: {', '.join(METHODS)}"
        )
    return known


def _by_gradients(formula: Callable[[Tensor, Tensor], Tensor]) -> Run:
    """Apply a formula of activations and gradients to every score and layer."""

    def run(case: Case) -> dict[str, Tensor]:
        maps: dict[str, list[Tensor]] = {name: [] for name in case.layers}
        for gradients in case.gradients():
            for name, layer in case.layers.items():
                maps[name].append(formula(layer.maps, gradients[name]))
        return {name: torch.stack(found, dim=1) for name, found in maps.items()}

    return run


def _by_pooled_weights(formula: Callable[[Tensor, Tensor], Tensor]) -> Run:
    """As `_by_gradients`; all classes in one product where the gradient is W / Z everywhere.

    For formulas that then weigh every channel by its gradient: Grad-CAM and HiResCAM.
    """
    general = _by_gradients(formula)

    def run(case: Case) -> dict[str, Tensor]:
        weights = case.pooled_weights
        if weights is None:
            return general(case)
        ((name, layer),) = case.layers.items()
        places = layer.maps.shape[2] * layer.maps.shape[3]
        return {name: gradient.weighted_maps(weights, layer.maps) / places}

    return run


def _by_curvatures(formula: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Run:
    """Apply a formula of activations, gradients and H·A to every score and layer."""

    def run(case: Case) -> dict[str, Tensor]:
        maps: dict[str, list[Tensor]] = {name: [] for name in case.layers}
        for found in case.curvatures():
            for name, layer in case.layers.items():
                maps[name].append(formula(layer.maps, *found[name]))
        return {name: torch.stack(columns, dim=1) for name, columns in maps.items()}

    return run


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("gradcam", "Grad-CAM", "gradients", _by_pooled_weights(gradient.gradcam)),
        Method("gradcam++", "Grad-CAM++", "gradients", _by_gradients(gradient.gradcam_plus_plus)),
        Method("hirescam", "HiResCAM", "gradients", _by_pooled_weights(gradient.hirescam)),
        Method(
            "gradcam-elementwise",
            "Grad-CAM elementwise",
            "gradients",
            _by_gradients(gradient.gradcam_elementwise),
        ),
        Method("xgradcam", "XGrad-CAM", "gradients", _by_gradients(gradient.xgradcam)),
        Method("layercam", "LayerCAM", "gradients", _by_gradients(gradient.layercam)),
        Method("shapleycam", "ShapleyCAM", "curvatures", _by_curvatures(gradient.shapleycam)),
    )
}
