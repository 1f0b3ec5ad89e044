"""From a model's output to scores, and from `classes` to indices."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.targets import (
    ScoreSelection,
    contrast,
    nearest_contrast,
    read_classes,
    residual_softmax,
)

LOGITS = torch.tensor([[1.0, 4.0, 2.0], [0.0, -1.0, 3.0]])


class Network(nn.Module):
    """Two channels, x and -x, their means and what `answer` makes of those."""

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.answer = nn.Conv2d(1, 2, 1, bias=False), answer
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))

    def forward(self, images: Tensor) -> Any:
        return self.answer(self.conv(images).mean((2, 3)))


IMAGE = torch.tensor([[1.0, -2.0], [0.5, 4.0]]).view(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (None, [[1], [2]]),
        ("top1", [[1], [2]]),
        ("top3", [[1, 2, 0], [2, 0, 1]]),
        ("all", [[0, 1, 2], [0, 1, 2]]),
        (1, [[1], [1]]),
        (np.int64(2), [[2], [2]]),
        (torch.tensor(0), [[0], [0]]),
        ([2, 0], [[2], [0]]),
        ([[2, 1], [0, 0]], [[2, 1], [0, 0]]),
        (torch.tensor([2, 0], dtype=torch.int32), [[2], [0]]),
        (torch.tensor([[2], [0]]), [[2], [0]]),
    ],
)
def test_classes(classes: Any, expected: list[list[int]]) -> None:
    found = read_classes(classes, LOGITS)
    assert found.tolist() == expected
    assert found.dtype == torch.int64


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (3, r"expected classes in 0 … 2, but got 3"),
        (True, "one index, one for each of 2 images"),
        (1.0, "one index, one for each of 2 images"),
        ("some", "None, 'all' or indices, or 'top3'"),
        ("top0", "None, 'all' or indices, or 'top3'"),
        ("top4", "'top4' asks for more than the 3 classes there are"),
        ([0, 1, 2], "one index, one for each of 2 images"),
        ([[0, 1], [2]], "as many lists of equal length"),
        ([[[0]], [[1]]], "as many lists of equal length"),
        ([[], []], "as many lists of equal length"),
        ([0.0, 1.0], "one index, one for each of 2 images"),
        ([True, False], "one index, one for each of 2 images"),
        (["0", "1"], "one index, one for each of 2 images"),
        ([0, 3], "classes in 0 … 2"),
        ([-1, 0], "classes in 0 … 2"),
    ],
)
def test_classes_that_make_no_sense_are_named(classes: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_classes(classes, LOGITS)


def test_scores_and_their_derivatives_are_two_sides_of_one_question() -> None:
    references = torch.tensor([[[1, 2]], [[0, 0]]])
    question = ScoreSelection(torch.tensor([[0], [2]]), references, strength=0.5)
    # Half the mean of 4 and 2 from 1; half of 0 from 3.
    assert question.select(LOGITS).tolist() == [[-0.5], [3.0]]
    expected = [[1.0, -0.25, -0.25], [-0.5, 0.0, 1.0]]
    assert question.coefficients(0, LOGITS).tolist() == expected
    torch.testing.assert_close(
        (question.coefficients(0, LOGITS) * LOGITS).sum(1), question.select(LOGITS)[:, 0]
    )
    # About the second image alone, for three variants of it.
    assert question.repeated(1, 3).select(LOGITS[[1, 1, 0]]).tolist() == [[3.0], [3.0], [1.5]]


def test_nearest_contrast() -> None:
    # From 4 the nearest is 2, then 1; from 3 it is 0, then -1.
    found = nearest_contrast(torch.tensor([[1], [2]]), LOGITS, 1, 0.6)
    assert found.references is not None
    assert found.references.tolist() == [[[2]], [[0]]]
    found = nearest_contrast(torch.tensor([[1], [2]]), LOGITS, 5, 0.6)
    assert found.references is not None
    assert found.references.tolist() == [[[2, 0]], [[0, 1]]]
    with pytest.raises(ConfigError, match="at least two classes"):
        nearest_contrast(torch.tensor([[0]]), LOGITS[:1, :1], 3, 0.6)


def test_a_class_is_not_held_against_itself() -> None:
    with pytest.raises(ConfigError, match="a class cannot be held against itself"):
        contrast(torch.tensor([[1], [2]]), [0, 2], LOGITS, 1.0)
    with pytest.raises(ConfigError, match="expected against in 0 … 2"):
        contrast(torch.tensor([[1], [2]]), [0, 7], LOGITS, 1.0)


def test_residual_softmax() -> None:
    # Logits 0 and log 3: probabilities 1/4 and 3/4.
    found = residual_softmax(torch.tensor([[1.0, 3.0]]).log())
    torch.testing.assert_close(found, torch.tensor([[0.25, 3 * 0.75]]).log())


Named = namedtuple("Named", ["logits", "aux_logits"])


@pytest.mark.parametrize(
    "answer",
    [
        lambda y: y,
        lambda y: (y,),
        lambda y: [y, "a loss"],
        lambda y: (y, y[:, :, None]),
        lambda y: {"logits": y, "hidden": y},
        lambda y: {"out": y, "aux": y},
        lambda y: {"prediction": y, "loss": y.sum()},
        lambda y: SimpleNamespace(logits=y, loss=None),
        lambda y: Named(y, y),
    ],
)
def test_logits_are_found_in_outputs_of_many_kinds(answer: Callable[[Tensor], Any]) -> None:
    found = explain(Network(answer), IMAGE)
    torch.testing.assert_close(found.logits, torch.tensor([[0.875, -0.875]]))
    torch.testing.assert_close(found.maps[0, 0], IMAGE[0, 0].relu() / 4)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda y: "cat", "puts out str with 0 tensors of that kind; choose with target="),
        (lambda y: (y, y), "puts out tuple with 2 tensors of that kind; choose with target="),
        (lambda y: {"a": y, "b": y}, "puts out dict with 2 tensors of that kind"),
        (lambda y: y[:, :, None, None], r"puts out \(1, 2, 1, 1\); say with target="),
        (lambda y: y[0, 0], r"puts out \(\); say with target="),
        (lambda y: y.argmax(1), r"puts out \(1,\); say with target="),
    ],
)
def test_outputs_without_logits_are_named(answer: Callable[[Tensor], Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        explain(Network(answer), IMAGE, layer="conv")


@pytest.mark.parametrize("answer", [lambda y: 3 * y[:, 0], lambda y: 3 * y[:, :1]])
def test_a_single_logit_tells_class_one_from_class_zero(answer: Callable[[Tensor], Any]) -> None:
    # z = 3 mean(x) = 2.625: class 1's map is relu(3/4 x), class 0's relu(-3/4 x).
    found = explain(Network(answer), IMAGE, classes="all", layer="conv")
    torch.testing.assert_close(found.logits, torch.tensor([[-2.625, 2.625]]))
    probability = 1 / (1 + torch.tensor(-2.625).exp())
    torch.testing.assert_close(found.probabilities[0], torch.stack([1 - probability, probability]))
    assert found.predicted.tolist() == [1]
    torch.testing.assert_close(found.maps[0, 1], 0.75 * IMAGE[0, 0].relu())
    torch.testing.assert_close(found.maps[0, 0], 0.75 * (-IMAGE[0, 0]).relu())


def test_several_labels_take_the_sigmoid() -> None:
    found = explain(Network(lambda y: y), IMAGE, activation="sigmoid")
    torch.testing.assert_close(found.probabilities, torch.tensor([[0.875, -0.875]]).sigmoid())
    with pytest.raises(ConfigError, match="expected 'softmax' or 'sigmoid', but got 'relu'"):
        explain(Network(lambda y: y), IMAGE, activation="relu")


def test_a_target_chooses_among_several_outputs() -> None:
    model = Network(lambda y: (y, 5 * y))
    found = explain(model, IMAGE, target=lambda output: output[1])
    torch.testing.assert_close(found.logits, 5 * torch.tensor([[0.875, -0.875]]))
    torch.testing.assert_close(found.maps[0, 0], 1.25 * IMAGE[0, 0].relu())
    # One score an image: there is nothing to choose among.
    found = explain(model, IMAGE, target=lambda output: output[0][:, 1])
    assert found.classes.tolist() == [[0]]
    torch.testing.assert_close(found.maps[0, 0], 0.25 * (-IMAGE[0, 0]).relu())
    with pytest.raises(ConfigError, match=r"return scores \(1, M\) or \(1,\), but got \(\)"):
        explain(model, IMAGE, target=lambda output: output[0].sum())


def test_scores_are_those_of_residual_softmax() -> None:
    # y + log softmax(y) of two logits: dy0 = 1 + p1, dy1 = -p1, with p1 = 1 / (1 + e^1.75).
    found = explain(Network(lambda y: y), IMAGE, [0], "conv", target=residual_softmax)
    p1 = 1 / (1 + torch.tensor(1.75).exp())
    torch.testing.assert_close(found.maps[0, 0], (1 + 2 * p1) / 4 * IMAGE[0, 0].relu())
