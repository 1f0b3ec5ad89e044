"""Compiled and distributed models: their layers are found by their plain names."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from seewhy import explain, list_layers
from seewhy.errors import ConfigError
from seewhy.explanation.layer_choice import choose_layer
from seewhy.explanation.layers import find_layer, name_layer
from seewhy.explanation.wrappers import layer_names, uncompiled, unwrapped

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer1 = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
        self.fc = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.layer2(self.layer1(images)).mean((2, 3)))


def _compiled(module: nn.Module) -> nn.Module:
    return torch.compile(module, backend="eager")  # type: ignore[return-value]


def _inner() -> nn.Module:
    model = Network()
    model.layer2 = _compiled(model.layer2)
    return model


def _in_place() -> nn.Module:
    model = Network()
    model.compile(backend="eager")
    return model


WRAPPED: dict[str, Callable[[], nn.Module]] = {
    "compiled": lambda: _compiled(Network()),
    "a part compiled": _inner,
    "compiled in place": _in_place,
    "data parallel": lambda: nn.DataParallel(Network()),
    "averaged": lambda: AveragedModel(Network()),
    "both": lambda: nn.DataParallel(_compiled(Network())),
    "compiled twice": lambda: _compiled(_inner()),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_layers_have_their_plain_names(kind: str) -> None:
    plain, model = Network().eval(), WRAPPED[kind]().eval()
    with torch.no_grad():
        # Compiled before it is explained, as in use.
        model(IMAGES)
    assert set(layer_names(model)) == set(dict(plain.named_modules()))
    assert choose_layer(model, IMAGES[:1]) == "layer2"
    listed = [(one.name, one.kind, one.shape) for one in list_layers(model, IMAGES)]
    assert listed == [(one.name, one.kind, one.shape) for one in list_layers(plain, IMAGES)]
    for layer in ("auto", "layer1", "layer2", "layer2.0", ["layer1.0", "layer2"]):
        for _ in range(2):
            found = explain(model, IMAGES, "all", layer)
            expected = explain(plain, IMAGES, "all", layer)
            torch.testing.assert_close(found.maps, expected.maps)
            assert found.layer == expected.layer
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES), plain(IMAGES))


def test_names_with_the_wrapper_are_understood_too() -> None:
    for kind, names in {
        "compiled": ("_orig_mod.layer1", "layer1"),
        "a part compiled": ("layer2._orig_mod.0",),
        "data parallel": ("module.layer1",),
        "both": ("module._orig_mod.layer1", "module.layer1"),
    }.items():
        model = WRAPPED[kind]()
        for name in names:
            plain = name.replace("module.", "").replace("_orig_mod.", "")
            assert explain(model, IMAGES, layer=name).layer == plain
    with pytest.raises(ConfigError, match=r"layer 'layr2' is unknown; did you mean layer2"):
        explain(_inner(), IMAGES, layer="layr2")


def test_modules_inside_and_around_a_wrapper_are_one_layer() -> None:
    model = _inner()
    inside = unwrapped(model.layer2)
    assert inside is not model.layer2
    assert find_layer(model, "layer2") is inside
    assert name_layer(model, model.layer2) == name_layer(model, inside) == "layer2"


def test_a_module_that_is_called_module_is_no_wrapper() -> None:
    model = nn.Sequential()
    model.add_module("module", nn.Conv2d(3, 4, 3))
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    assert explain(model, IMAGES).layer == "module"
    assert explain(model, IMAGES, layer="module").layer == "module"


def test_compiled_code_runs_again_after_the_last_explanation() -> None:
    def stance() -> str:
        return str(torch._dynamo.eval_frame._stance.stance)

    _compiled(Network())(IMAGES)
    before = stance()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: explain(_compiled(Network()), IMAGES), range(8)))
    assert stance() == before
    with uncompiled(), uncompiled():
        assert stance() == "force_eager"
    assert stance() == before
