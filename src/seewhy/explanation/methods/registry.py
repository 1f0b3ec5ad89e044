"""Every method by its name, with what it asks of the engine.

The formulas are in this package's other files; here each is joined to the engine's `MethodContext`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError, SeewhyError, near_names
from seewhy.explanation.engine import Graph, MethodContext
from seewhy.explanation.layer_choice import choose_layer
from seewhy.explanation.layers import name_layer
from seewhy.explanation.methods import (
    attention,
    attribution,
    decomposition,
    gradient,
    guided,
    perturbation,
)
from seewhy.explanation.targets import Target

Needs = Literal[
    "activations",
    "pooled head",
    "gradients",
    "curvatures",
    "scores",
    "image gradients",
    "attention",
    "input",
]
Run = Callable[[MethodContext], dict[str, Tensor]]
LayerChoice = str | nn.Module | Sequence[str | nn.Module]
"""What `explain` takes as layer: a name, a module, or several."""


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
        What it asks of the engine; tells its price. ``activations`` and ``pooled head``: nothing
        but the forward. ``gradients``: one backward pass per class through what follows the layer,
        none where that is pooling and a linear layer. ``curvatures``: two. ``image gradients``: a
        backward pass per class through the whole network. ``attention``: a second forward and a
        backward a class and block. ``scores``: a forward pass per channel. ``input``: many forwards
        or backwards, of the image alone.
    run : callable
        From a `MethodContext` to maps (N, K, h, w) of every layer, by name.
    references : int, default 0
        Hold each class against this many classes of the nearest logits.
    strength : float, default 1
        How much those, or the classes the caller names, count.
    """

    name: str
    title: str
    needs: Needs
    run: Run
    references: int = 0
    strength: float = 1.0

    @property
    def graph(self) -> Graph:
        """How often what follows the layer must be differentiable."""
        graphs: dict[Needs, Graph] = {"curvatures": "twice", "attention": "none"}
        return graphs.get(self.needs, "once")

    def layer_names(
        self, model: nn.Module, images: Tensor, layer: LayerChoice, target: Target | None = None
    ) -> tuple[str, ...]:
        """Return the names of the layers to record; every one exists.

        ``auto`` stands for the layer that suits the method. Raises ConfigError for an unknown name,
        and for any name where the method looks at the input alone.
        """
        wanted: Sequence[str | nn.Module]
        if isinstance(layer, str | nn.Module) or not isinstance(layer, Sequence) or not layer:
            # `name_layer` says what is wrong with anything but a name or a module.
            wanted = (cast(str, layer),)
        else:
            wanted = layer
        if self.needs == "input":
            if tuple(wanted) != ("auto",):
                raise ConfigError(f"layer: {self.name} explains the input and takes no layer")
            return ()
        names: list[str] = []
        for one in wanted:
            if one != "auto":
                names.append(name_layer(model, one))
            elif self.needs == "attention":
                names.extend(attention.attention_blocks(model))
            else:
                names.append(_chosen(model, images, target))
        return tuple(dict.fromkeys(names))


def _chosen(model: nn.Module, images: Tensor, target: Target | None) -> str:
    try:
        return choose_layer(model, images[:1], target)
    except SeewhyError:
        raise
    # A network made for batches of one size alone says so with whatever its layers raise.
    except Exception:
        if len(images) == 1:
            raise
        return choose_layer(model, images, target)


def find_method(name: str) -> Method:
    """Return the method called `name`.

    Raises ConfigError where there is none; names those that are near.
    """
    known = {**METHODS, **ATTRIBUTIONS}
    if not isinstance(name, str) or name not in known:
        raise ConfigError(
            f"explanation method {name!r} is unknown{near_names(str(name), known)}; "
            f"there are: {', '.join(known)}"
        )
    return known[name]


def _score_by_score(found: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stack what each score has at every layer, (N, h, w), to (N, K, h, w)."""
    columns = list(found)
    return {name: torch.stack([maps[name] for maps in columns], dim=1) for name in columns[0]}


def _by_gradients(formula: Callable[[Tensor, Tensor], Tensor]) -> Run:
    """Apply a formula of activations and gradients to every score and layer."""
    return lambda case: _score_by_score(
        {name: formula(layer.maps, gradients[name]) for name, layer in case.layers.items()}
        for gradients in case.gradients()
    )


def _by_pooled_weights(formula: Callable[[Tensor, Tensor], Tensor]) -> Run:
    """As `_by_gradients`; all classes in one product where the gradient is W / Z everywhere.

    For formulas that then weigh every channel by its gradient: Grad-CAM and HiResCAM.
    """
    general = _by_gradients(formula)

    def run(case: MethodContext) -> dict[str, Tensor]:
        weights = case.pooled_weights
        if weights is None:
            return general(case)
        ((name, layer),) = case.layers.items()
        places = layer.maps.shape[2] * layer.maps.shape[3]
        return {name: gradient.weighted_maps(weights, layer.maps) / places}

    return run


def _by_curvatures(formula: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Run:
    """Apply a formula of activations, gradients and H·A to every score and layer."""
    return lambda case: _score_by_score(
        {name: formula(layer.maps, *found[name]) for name, layer in case.layers.items()}
        for found in case.curvatures()
    )


def _by_activations(formula: Callable[[Tensor], Tensor]) -> Run:
    """Apply a formula of activations alone; every class has the same map."""
    return lambda case: {
        name: formula(layer.maps)[:, None].repeat(1, case.columns, 1, 1)
        for name, layer in case.layers.items()
    }


def _cam(case: MethodContext) -> dict[str, Tensor]:
    weights = case.pooled_weights
    if weights is None:
        raise ConfigError(
            "cam: expected nothing but average pooling and one linear layer behind "
            f"{', '.join(case.layers)!r}; choose the last map before them, or gradcam, which works "
            "anywhere"
        )
    ((name, layer),) = case.layers.items()
    return {name: gradient.cam(layer.maps, weights)}


def _scorecam(case: MethodContext) -> dict[str, Tensor]:
    return {
        name: perturbation.scorecam(layer.maps, perturbation.scorecam_scores(case, layer))
        for name, layer in case.layers.items()
    }


def _ablationcam(case: MethodContext) -> dict[str, Tensor]:
    scores = case.question.select(case.logits.detach().float())
    return {
        name: perturbation.ablationcam(
            layer.maps, scores, perturbation.ablation_scores(case, layer)
        )
        for name, layer in case.layers.items()
    }


def _guided_gradcam(case: MethodContext) -> dict[str, Tensor]:
    coarse = _by_pooled_weights(gradient.gradcam)(case)
    return _score_by_score(
        {name: guided.guided_gradcam(maps[:, k], fine) for name, maps in coarse.items()}
        for k, fine in enumerate(guided.guided_gradients(case))
    )


def _legrad(case: MethodContext) -> dict[str, Tensor]:
    names = list(case.layers)
    label = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
    return {label: attention.legrad_maps(case)}


def _by_captum(name: str) -> Run:
    return lambda case: {"input": attribution.attribute(case, name)}


def _register(*methods: Method) -> dict[str, Method]:
    return {method.name: method for method in methods}


METHODS: dict[str, Method] = _register(
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
    Method("finercam", "Finer-CAM", "gradients", _by_pooled_weights(gradient.finercam), 3, 0.6),
    Method("shapleycam", "ShapleyCAM", "curvatures", _by_curvatures(gradient.shapleycam)),
    Method("cam", "CAM", "pooled head", _cam),
    Method("eigencam", "Eigen-CAM", "activations", _by_activations(decomposition.eigencam)),
    Method("eigengradcam", "EigenGrad-CAM", "gradients", _by_gradients(decomposition.eigengradcam)),
    Method("scorecam", "Score-CAM", "scores", _scorecam),
    Method("ablationcam", "Ablation-CAM", "scores", _ablationcam),
    Method("guidedgradcam", "Guided Grad-CAM", "image gradients", _guided_gradcam),
    Method("legrad", "LeGrad", "attention", _legrad),
)

# From Captum, where it is installed.
ATTRIBUTIONS: dict[str, Method] = _register(
    *(Method(name, title, "input", _by_captum(name)) for name, title in attribution.titles())
)
