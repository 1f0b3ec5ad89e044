"""The core: one forward pass, recorded only after the target layers, and what methods ask of it.

Methods ask a `MethodContext` for activations, gradients, curvature or the scores of variants;
nothing of the model is different afterwards. Knows no formula and no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal

import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.endings import ask
from seewhy.explanation.gradients.backward import differentiate, gradients_of
from seewhy.explanation.gradients.pooled_heads import pooled_weight
from seewhy.explanation.layers import find_layer, output_layout, run_of
from seewhy.explanation.module_calls import frozen
from seewhy.explanation.repeated_layers import LayerRuns
from seewhy.explanation.spatial_layout import SpatialLayout
from seewhy.explanation.targets import ModelOutput, ScoreSelection, Target
from seewhy.explanation.thread_turns import evaluating, foreign_hooks, hooked, math_attention

Graph = Literal["once", "twice", "none"]


@contextmanager
def undisturbed(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Evaluate a model without a trace: modes, requires_grad and random state come back.

    Inside, every submodule is in evaluation mode and no parameter asks for a gradient, so that
    the graph after a layer keeps nothing for gradients of weights; gradients are off until a
    layer's hook switches them on. The random states of the CPU and of the images' device come
    back. Threads take turns, see `evaluating`; a plain forward pass of another thread meanwhile
    runs in evaluation mode.

    Raises ConfigError where another thread switched the model to training mode meanwhile.
    """
    cuda = [images.device] if images.device.type == "cuda" else []
    with (
        evaluating(model),
        torch.random.fork_rng(devices=cuda),
        # A model called under inference_mode would hand out tensors that can carry no graph.
        torch.inference_mode(False),
        torch.no_grad(),
        frozen(model),
    ):
        yield


@dataclass(frozen=True)
class RecordedLayer:
    """One layer's output: where the graph begins, and its layout."""

    name: str
    output: Tensor  # as the layer put it out; with the graph behind it
    layout: SpatialLayout
    run: int  # of which of the layer's runs the output is, from 1
    # Whether hooks may have been put on tensors or nodes of the graph in the pass. Only
    # autograd runs them.
    hooked: bool

    @cached_property
    def maps(self) -> Tensor:
        """The activations A, (N, C, h, w) float32, detached."""
        return self.layout.to_maps(self.output.detach()).float()


def record(
    model: nn.Module,
    images: Tensor,
    names: tuple[str, ...],
    target: Target | None,
    graph: Graph = "once",
) -> tuple[ModelOutput, dict[str, RecordedLayer]]:
    """Run the model once; keep the graph from the named layers on.

    Must run inside `undisturbed`.

    Parameters
    ----------
    model : nn.Module
    images : Tensor, (N, C, H, W)
    names : tuple of str
        The layers; none for a plain forward pass.
    target : callable, optional
        See `find_scores`.
    graph : {"once", "twice", "none"}, default "once"
        How often what follows the layers can be differentiated; twice keeps to kernels that
        allow it.

    Raises
    ------
    ConfigError
        For a layer that does not run, or whose output is no map; for an output without logits.
    """
    traced = graph != "none"
    runs = [LayerRuns(name, run_of(model, name), len(names) == 1, traced) for name in names]

    def run() -> object:
        for one in runs:
            one.clear()
        return model(images)

    with ExitStack() as stack:
        # Nothing before the layers asks for a gradient, so no graph is kept of it; and a model
        # that leaves a no_grad of its own finds gradients on again.
        stack.enter_context(torch.set_grad_enabled(traced and bool(names)))
        stack.enter_context(hooked([(find_layer(model, one.name), one.hook) for one in runs]))
        if graph == "twice":
            stack.enter_context(math_attention())
        before = foreign_hooks()
        answer = ask(model, run, target, len(images))
        changed = before is None or foreign_hooks() != before
    return answer, {one.name: _recorded(model, one, answer.logits, images, changed) for one in runs}


def _recorded(
    model: nn.Module, runs: LayerRuns, scores: Tensor, images: Tensor, graph_hooked: bool
) -> RecordedLayer:
    name, run = runs.name, runs.chosen(scores)
    output = runs.outputs[run]
    layout = output_layout(model, name, output, images)
    if layout is None and output.ndim == 4:
        # Named by somebody who knows: a single place, or a map that was cropped.
        layout = SpatialLayout("channels first", (int(output.shape[2]), int(output.shape[3])))
    if layout is None:
        raise ConfigError(
            f"layer {name!r}: expected a spatial map (N, C, h, w), (N, h, w, C) or a grid of "
            f"tokens, but it puts out {tuple(output.shape)}"
        )
    return RecordedLayer(name, output, layout, run, graph_hooked)


@dataclass(frozen=True)
class MethodContext:
    """A forward pass and a question about it: all that a method uses."""

    model: nn.Module
    images: Tensor  # (N, C, H, W)
    answer: ModelOutput  # the logits, with the graph behind the layers
    layers: dict[str, RecordedLayer]  # in the order they were named
    question: ScoreSelection  # the K scores an image to explain
    target: Target | None
    batch_size: int  # how many variants of an image run at once
    graph: Graph = "once"  # how often what follows the layers can be differentiated

    @property
    def logits(self) -> Tensor:
        """The logits (N, M), with their graph."""
        return self.answer.logits

    @property
    def columns(self) -> int:
        """The number K of scores an image."""
        return self.question.classes.shape[1]

    @cached_property
    def pooled_weights(self) -> Tensor | None:
        """Each score's weights (N, K, C) where pooling and a linear layer are behind the layer.

        Then score k is ``Σ_c weights[k, c] · mean(A_c)`` and a constant, by construction.
        """
        if not self._may_walk or self.logits.grad_fn is None:
            return None
        (layer,) = self.layers.values()
        weight = pooled_weight(self.logits, layer.output, layer.layout)
        if weight is None:
            return None
        return self.question.select(weight.expand(len(self.images), -1, -1))

    def again(self, images: Tensor) -> MethodContext:
        """Ask the same question of other images, (N, C, H, W)."""
        answer, layers = record(self.model, images, tuple(self.layers), self.target, self.graph)
        return replace(self, images=images, answer=answer, layers=layers)

    def gradients(self) -> Iterator[dict[str, Tensor]]:
        """Yield, score by score, its gradient at every layer, (N, C, h, w) float32."""
        known = self.pooled_weights
        if known is not None:
            ((name, layer),) = self.layers.items()
            for k in range(self.columns):
                places = layer.maps.shape[2] * layer.maps.shape[3]
                yield {name: (known[:, k, :, None, None] / places).expand_as(layer.maps)}
            return
        last = self.columns - 1
        one_by_one = (self._backward(k, last=k == last) for k in range(self.columns))
        for found in self._walked() if self._may_walk else one_by_one:
            yield {
                layer.name: layer.layout.to_maps(gradient).float()
                for layer, gradient in zip(self.layers.values(), found, strict=True)
            }

    @property
    def _may_walk(self) -> bool:
        """Whether all that autograd would do behind a single layer is in the graph's nodes."""
        return len(self.layers) == 1 and not any(layer.hooked for layer in self.layers.values())

    def _walked(self) -> Iterator[tuple[Tensor, ...]]:
        ((name, layer),) = self.layers.items()
        if not self.logits.requires_grad:
            raise self._unconnected(name)
        asked = partial(self.question.coefficients, logits=self.logits)
        for gradient in gradients_of(self.logits, layer.output, asked, self.columns):
            if gradient is None:
                raise self._unconnected(name)
            yield (gradient,)

    def curvatures(self) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
        """Yield, score by score, at every layer gradient and H·A, both (N, C, h, w) float32.

        H is the second derivative of the score by that layer's activations A. Needs a forward
        that was recorded for ``"twice"``.
        """
        for k in range(self.columns):
            with torch.enable_grad():
                found = self._backward(k, last=False, twice=True)
                yield {
                    layer.name: (
                        layer.layout.to_maps(gradient.detach()).float(),
                        layer.layout.to_maps(_times_itself(gradient, layer.output)).float(),
                    )
                    for layer, gradient in zip(self.layers.values(), found, strict=True)
                }

    def _backward(self, column: int, last: bool, twice: bool = False) -> tuple[Tensor, ...]:
        coefficients = self.question.coefficients(column, self.logits)
        outputs = [layer.output for layer in self.layers.values()]
        if not self.logits.requires_grad:
            raise self._unconnected(next(iter(self.layers)))
        found = differentiate(
            [self.logits], outputs, [coefficients], retain_graph=not last, create_graph=twice
        )
        for name, gradient in zip(self.layers, found, strict=True):
            if gradient is None:
                raise self._unconnected(name)
        return tuple(gradient for gradient in found if gradient is not None)

    def _unconnected(self, name: str) -> ConfigError:
        return ConfigError(
            f"layer {name!r}: the scores do not depend on it through anything that has a "
            "gradient; choose a layer on the way to the logits"
        )


def _times_itself(gradient: Tensor, output: Tensor) -> Tensor:
    """Return H·A from a gradient that has a graph; zero where it depends on A no more."""
    if not gradient.requires_grad:
        return torch.zeros_like(output)
    (found,) = torch.autograd.grad(
        gradient, output, output.detach(), retain_graph=True, allow_unused=True
    )
    return torch.zeros_like(output) if found is None else found
