"""The runs of one layer in a forward pass: where the graph begins, and which run is explained.

A layer may run several times. Where each run works on what the one before it made, the last is
explained. Where runs stand side by side (one trunk on two views of an image), each has places of
its own, and the caller chooses: ``"layer4@1"`` is the first run of ``layer4``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError


class LayerRuns:
    """The forward hook of the layer called `name`, and what it saw.

    `wanted` is the number of the run to explain, from 1; None where it is to be determined. With
    `alone` this is the only recorded layer: then the graph starts at it again. `traced` says
    whether a graph is kept at all.
    """

    def __init__(self, name: str, wanted: int | None, alone: bool, traced: bool) -> None:
        self.name, self.wanted, self.alone, self.traced = name, wanted, alone, traced
        self.clear()

    def clear(self) -> None:
        """Forget a pass."""
        self.count = 0
        # By the run's number: its output, and whether it works on what the run before made.
        self.outputs: dict[int, Tensor] = {}
        self.follows: dict[int, bool] = {}
        self.strange = ""

    def hook(self, module: nn.Module, inputs: object, output: object) -> Tensor | None:
        """Record an output and begin the graph at it; to be registered as a forward hook."""
        self.count += 1
        if self.wanted not in (None, self.count):
            return None
        if not isinstance(output, Tensor) or output.is_quantized or not output.is_floating_point():
            self.strange = _kind(output)
            return None
        if not self.traced:
            self.outputs[self.count] = output.clone()
            return None
        before = self.outputs.get(self.count - 1)
        self.follows[self.count] = before is not None and reaches([output], before)
        # A tensor made under inference_mode can carry no graph, but a copy made outside can.
        with torch.inference_mode(False):
            if self.alone or not output.requires_grad:
                # A copy of its own: what shares the output's storage may be overwritten later.
                output = output.detach().clone().requires_grad_()
            self.outputs[self.count] = output
            # The clone takes what an in-place layer behind the target would do to the map.
            output = output.clone()
        # Also in a no_grad of the model's own, up to its end.
        torch.set_grad_enabled(True)
        return output

    def chosen(self, scores: Tensor) -> int:
        """Return the number of the run that is explained.

        Raises ConfigError where the layer did not run, put out no tensor of numbers, or several of
        its runs lead to the scores side by side.
        """
        if not self.outputs:
            raise ConfigError(f"layer {self.name!r}: {self._missing()}")
        last = max(self.outputs)
        # The last run of every chain of runs that work on each other's output.
        ends = [run for run in self.outputs if run == last or not self.follows.get(run + 1, False)]
        if len(ends) > 1 and self.traced:
            reached = [run for run in ends if reaches([scores], self.outputs[run])]
            if len(reached) > 1:
                names = " or ".join(f"{self.name}@{run}" for run in reached[:4])
                raise ConfigError(
                    f"layer {self.name!r}: runs {self.count} times side by side in one "
                    f"forward pass, and each run has a map of its own; choose {names}"
                )
            last = reached[0] if reached else last
        return last

    def _missing(self) -> str:
        if self.strange:
            return f"puts out {self.strange}, not a tensor of floats; choose a layer inside it"
        if self.wanted and self.count:
            return f"runs only {self.count} times in the model's forward pass"
        return "the model's forward pass does not reach it"


def _kind(output: object) -> str:
    if isinstance(output, Tensor):
        return f"integers ({str(output.dtype).removeprefix('torch.')})"
    return f"a {type(output).__name__}"


def reaches(later: Iterable[Tensor], earlier: Tensor) -> bool:
    """Say whether the graph of some of `later` leads back to `earlier`."""
    seen: set[Any] = set()
    waiting = [tensor.grad_fn for tensor in later]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node is earlier.grad_fn or getattr(node, "variable", None) is earlier:
            return True
        seen.add(node)
        waiting.extend(parent for parent, _ in node.next_functions)
    return False
