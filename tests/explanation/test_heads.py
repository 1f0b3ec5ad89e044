"""Random heads: all classes at once give what autograd gives one class at a time."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from torch import Tensor

from seewhy.errors import ConfigError
from seewhy.explanation.engine import MethodContext, record, undisturbed
from seewhy.explanation.targets import ScoreSelection, read_classes

from .heads import Network, Plan, plans

# Relative to a class's largest gradient. What is computed in half precision is rounded after
# other operations than autograd's, at 2⁻⁸ (bfloat16) and 2⁻¹¹ (float16) a time.
TOLERANCES = {
    "float64": 1e-6,  # Gradients are handed out as float32.
    "float32": 1e-4,
    "float16": 1e-2,
    "bfloat16": 3e-2,
    "autocast": 3e-2,
}
# Below these, a gradient may be what rounding left of a sum that is zero (the mean of an instance
# norm, say): errors are relative to these then.
NOTHING = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-1, "autocast": 1e-1}


@dataclass
class Tally:
    """What was compared.

    Attributes
    ----------
    heads : Counter
        By their numbers: those with gradients.
    worst : dict
        The largest error of each, relative to a class's largest gradient.
    flat : int
        Heads whose gradients are zero everywhere.
    refused : int
        Heads that autograd refuses too.
    hooked : int
        Heads that were left to autograd as a whole.
    """

    heads: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    flat: int = 0
    refused: int = 0
    hooked: int = 0


def _output(output: Tensor) -> Tensor:
    return output


def all_at_once(network: Network, images: Tensor, tally: Tally) -> list[Tensor]:
    """Return the gradients of all classes as methods get them."""
    with undisturbed(network, images), network.plan.context():
        # The output as it is, also where a network ends in log softmax.
        answer, layers = record(network, images, ("trunk",), _output)
        question = ScoreSelection(read_classes("all", answer.logits.detach()))
        case = MethodContext(network, images, answer, layers, question, _output, 8)
        tally.hooked += not case._may_walk
        return [found["trunk"] for found in case.gradients()]


def compare(plan: Plan, tally: Tally) -> None:
    network = Network(plan)
    images = network.images()
    try:
        expected = list(network.one_by_one(images))
    except RuntimeError:
        # What autograd cannot do, or this processor not in this type.
        tally.refused += 1
        with pytest.raises((RuntimeError, ConfigError)):
            all_at_once(network, images, tally)
        return
    if not any(right.any() for right in expected):
        tally.flat += 1
        return
    found = all_at_once(network, images, tally)
    tally.heads[plan.numbers] += 1
    for ours, right in zip(found, expected, strict=True):
        right = right.to(ours.dtype)
        most = max(float(right.abs().max()), NOTHING[plan.numbers])
        error = float((ours - right).abs().max()) / most
        tally.worst[plan.numbers] = max(tally.worst.get(plan.numbers, 0.0), error)
        assert error <= TOLERANCES[plan.numbers], (error, most)


QUIET = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


@settings(max_examples=75, **QUIET)
@given(plans())
def test_all_classes_at_once_are_each_class_alone(plan: Plan) -> None:
    compare(plan, Tally())


@pytest.mark.soak
def test_two_thousand_heads() -> None:
    tally = Tally()

    @settings(max_examples=2500, **QUIET)
    @given(plans())
    def run(plan: Plan) -> None:
        compare(plan, tally)

    run()
    sys.stdout.write(f"\n{sum(tally.heads.values())} random heads: {tally}\n")
    assert sum(tally.heads.values()) >= 2000
    assert tally.hooked < sum(tally.heads.values()) / 3
