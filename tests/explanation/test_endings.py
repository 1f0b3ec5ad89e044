"""Networks that end in softmax or sigmoid: predictions, probabilities and maps are the logits'."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.measures.curves import class_probability

METHODS = ["gradcam", "layercam", "ablationcam", "captum:saliency", "shapleycam"]


class Ending(nn.Module):
    """A small network; `end` makes its output of M logits."""

    def __init__(self, classes: int, end: Callable[[Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.end = nn.Conv2d(3, 4, 1), nn.Linear(4, classes), end
        nn.init.normal_(self.fc.weight, std=4)
        nn.init.constant_(self.fc.bias, -2)
        self.runs = 0

    def forward(self, images: Tensor) -> Any:
        self.runs += 1
        return self.end(self.fc(self.conv(images).relu().mean((2, 3))))


IMAGES = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(2))

SOFTMAXES: dict[str, Callable[[Tensor], Any]] = {
    "module": nn.Softmax(dim=1),
    "function": lambda y: F.softmax(y, dim=-1),
    "method": lambda y: y.softmax(1),
    "log": lambda y: F.log_softmax(y, dim=1),
    "log of": lambda y: y.softmax(1).log(),
    "clamped": lambda y: y.softmax(1).clamp(0.01, 0.9),
    "four axes": lambda y: y[:, :, None, None].softmax(1).flatten(1),
    "turned": lambda y: y.t().softmax(0).t(),
    "cast": lambda y: y.softmax(1).double().float(),
    "dropout": lambda y: F.dropout(y.softmax(1), 0.5, training=False),
    "mapping": lambda y: {"probs": y.softmax(1), "loss": y.sum()},
    "object": lambda y: SimpleNamespace(logits=y.softmax(1)),
    "tuple": lambda y: (torch.softmax(y, 1), y[:, :, None]),
}


@pytest.mark.parametrize("end", SOFTMAXES)
def test_a_softmax_at_the_end_is_left_out(end: str) -> None:
    plain = explain(Ending(3, lambda y: y), IMAGES, "all")
    found = explain(Ending(3, SOFTMAXES[end]).train(), IMAGES, "all")
    torch.testing.assert_close(found.logits, plain.logits)
    torch.testing.assert_close(found.probabilities, plain.probabilities)
    torch.testing.assert_close(found.maps, plain.maps)
    assert plain.maps.sum() > 0


SIGMOIDS: dict[str, Callable[[Tensor], Any]] = {
    "module": nn.Sigmoid(),
    "function": torch.sigmoid,
    "method": lambda y: y.sigmoid(),
    "special": torch.special.expit,
    "in place": lambda y: y.sigmoid_(),
    "log": F.logsigmoid,
    "squeezed": lambda y: y.sigmoid().squeeze(-1),
    "clamped": lambda y: y.sigmoid().clamp_(1e-6, 1 - 1e-6),
}


@pytest.mark.parametrize("end", SIGMOIDS)
@pytest.mark.parametrize("classes", [1, 3])
def test_a_sigmoid_at_the_end_is_left_out(classes: int, end: str) -> None:
    plain = explain(Ending(classes, lambda y: y), IMAGES, "all", activation="sigmoid")
    found = explain(Ending(classes, SIGMOIDS[end]), IMAGES, "all")
    torch.testing.assert_close(found.logits, plain.logits)
    # Of several labels each has its own probability, whatever `activation` is.
    torch.testing.assert_close(found.probabilities, plain.probabilities)
    torch.testing.assert_close(found.maps, plain.maps)


def test_a_small_probability_is_not_shown_as_a_half() -> None:
    model = Ending(1, nn.Sigmoid())
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.bias.fill_(-4)
    found = explain(model, IMAGES, layer="conv")
    # sigmoid(-4) = 0.018
    torch.testing.assert_close(
        found.probabilities[0], torch.tensor([0.9820, 0.0180]), atol=1e-4, rtol=0
    )
    assert found.predicted.tolist() == [0, 0, 0]


def test_two_columns_of_one_sigmoid_are_one_logit() -> None:
    model = Ending(1, lambda y: torch.cat([1 - y.sigmoid(), y.sigmoid()], dim=1))
    plain = explain(Ending(1, lambda y: y), IMAGES, "all")
    found = explain(model, IMAGES, "all")
    torch.testing.assert_close(found.logits, plain.logits)
    torch.testing.assert_close(found.probabilities, plain.probabilities)
    torch.testing.assert_close(found.maps, plain.maps)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [1, 3])
def test_every_method_asks_for_the_logits(classes: int, method: str) -> None:
    if method.startswith("captum"):
        pytest.importorskip("captum")
    layer = "auto" if method.startswith("captum") else "conv"
    plain = explain(Ending(classes, lambda y: y), IMAGES, "all", layer, method)
    end = nn.Sigmoid() if classes == 1 else nn.Softmax(1)
    found = explain(Ending(classes, end), IMAGES, "all", layer, method)
    torch.testing.assert_close(found.maps, plain.maps)
    assert found.maps.sum() > 0


def test_a_network_that_is_known_to_end_so_runs_once() -> None:
    model = Ending(3, nn.Softmax(1)).eval()
    explain(model, IMAGES, layer="conv")
    before = model.runs
    explain(model, IMAGES, layer="conv")
    assert model.runs == before + 1
    other = Ending(3, lambda y: y)
    explain(other, IMAGES, layer="conv")
    assert other.runs == 1


def test_faithfulness_reads_the_networks_own_probabilities() -> None:
    for classes, end in ((3, nn.Softmax(1)), (1, nn.Sigmoid())):
        chosen = torch.tensor([0, 1, 0])
        with torch.no_grad():
            found = class_probability(Ending(classes, end).eval(), chosen)(IMAGES)
            plain = class_probability(Ending(classes, lambda y: y).eval(), chosen)(IMAGES)
        torch.testing.assert_close(found, plain)


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        (lambda y: y.softmax(0), "ends in softmax, but what it puts out is not the softmax"),
        (lambda y: F.softmin(y, 1), "ends in softmin, but what it puts out is not"),
        (F.hardsigmoid, "ends in hardsigmoid, but what it puts out is not"),
        (lambda y: y.exp() / y.exp().sum(1, True), "puts out probabilities .* let it return its"),
        (lambda y: (y.softmax(1) + (2 * y).softmax(1)) / 2, "puts out probabilities"),
    ],
)
def test_probabilities_of_another_kind_are_named(
    end: Callable[[Tensor], Tensor], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        explain(Ending(3, end), IMAGES, layer="conv")


def test_the_way_out_that_is_named_works() -> None:
    model = Ending(3, lambda y: y.exp() / y.exp().sum(1, keepdim=True))
    found = explain(model, IMAGES, target=lambda output: output.clamp_min(1e-12).log())
    plain = explain(Ending(3, lambda y: y), IMAGES)
    torch.testing.assert_close(found.probabilities, plain.probabilities)
    assert found.predicted.tolist() == plain.predicted.tolist()


@pytest.mark.parametrize("end", [lambda y: (y.softmax(1), y), lambda y: (y.sigmoid(), y)])
def test_a_targets_probabilities_are_explained_as_they_are(end: Callable[[Tensor], Any]) -> None:
    model = Ending(3, end)
    found = explain(model, IMAGES, "all", "conv", target=lambda output: output[0])
    with torch.no_grad():
        expected = model.eval()(IMAGES)[0]
    torch.testing.assert_close(found.logits, expected)
    torch.testing.assert_close(found.probabilities, expected)


def test_logits_that_happen_to_lie_between_zero_and_one_stay_logits() -> None:
    model = Ending(1, lambda y: y)
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.bias.fill_(0.25)
    found = explain(model, IMAGES, layer="conv")
    torch.testing.assert_close(found.logits[0], torch.tensor([-0.25, 0.25]))
