"""Models and images that cannot be explained: one true sentence each, and nothing changed."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()


def _scripted() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(_network())


def _traced() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(_network(), IMAGES)


def _exported() -> torch.export.ExportedProgram:
    return torch.export.export(_network(), (IMAGES,))


def _lazy() -> nn.Module:
    model = _network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model[4] = nn.LazyLinear(3)
    return model


@pytest.mark.parametrize("layer", ["auto", "0"])
@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (_scripted, "was made by torch.jit .*; explain the nn.Module it was made from"),
        (_traced, "was made by torch.jit .*; explain the nn.Module it was made from"),
        (_exported, "an exported program runs as one graph.* it was exported from"),
        (lambda: _exported().module(), "comes from torch.export .* it was exported from"),
        (_lazy, "its weight '4.weight' has no shape yet.* send a batch through the model once"),
        (lambda: "resnet18", "expected an nn.Module, but got str"),
    ],
)
def test_models_that_run_no_layers_are_named(
    build: Callable[[], object], sentence: str, layer: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        explain(build(), IMAGES, layer=layer)  # type: ignore[arg-type]


def test_a_part_made_by_torch_jit_is_passed_over() -> None:
    model = _network()
    expected = explain(model, IMAGES).maps
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model[3] = torch.jit.script(model[3])
    torch.testing.assert_close(explain(model, IMAGES).maps, expected)


def test_an_exported_program_unflattened_has_layers_again() -> None:
    expected = explain(_network(), IMAGES, layer="0")
    found = explain(torch.export.unflatten(_exported()), IMAGES, layer="0")
    torch.testing.assert_close(found.maps, expected.maps)
    # It takes no other number of images than it was exported with.
    assert explain(torch.export.unflatten(_exported()), IMAGES).maps.shape == (2, 1, 6, 6)


def _quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantise = torch.ao.quantization.quantize_dynamic
        return quantise(_network(), {nn.Linear}, dtype=torch.qint8)


@pytest.mark.skipif(not torch.backends.quantized.supported_engines, reason="no int8 kernels")
def test_gradients_stop_at_integers_and_other_methods_do_not() -> None:
    model = _quantised()
    with pytest.raises(ConfigError, match=r"its '4' computes in integers .*eigencam or abl"):
        explain(model, IMAGES)
    expected = explain(_network(), IMAGES, method="eigencam").maps
    torch.testing.assert_close(explain(model, IMAGES, method="eigencam").maps, expected)
    found = explain(model, IMAGES, method="ablationcam").maps
    near = explain(_network(), IMAGES, method="ablationcam").maps
    torch.testing.assert_close(found, near, rtol=0.2, atol=0.05 * float(near.max()))


@pytest.mark.parametrize("layer", ["auto", "0"])
@pytest.mark.parametrize(
    ("model", "images", "sentence"),
    [
        (torch.float32, torch.float64, r"images: are torch.float64, .* images.to\(torch.float32\)"),
        (torch.float64, torch.float32, r"images: are torch.float32, .* images.to\(torch.float64\)"),
        (torch.float16, torch.float32, r"images: are torch.float32, .* images.to\(torch.float16\)"),
        (torch.float32, torch.float16, r"images: are torch.float16, .* images.to\(torch.float32\)"),
        (torch.float32, torch.bfloat16, r"images: are torch.bfloat16, .*images.to\(torch.float32"),
        (torch.float32, torch.uint8, "expected preprocessed float images, but got torch.uint8"),
        (torch.float32, torch.complex64, "expected preprocessed float images, but got torch.comp"),
    ],
)
def test_images_of_another_type_than_the_weights_are_named(
    model: torch.dtype, images: torch.dtype, sentence: str, layer: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        explain(_network().to(model), IMAGES.to(images), layer=layer)


def test_a_model_that_casts_its_images_takes_any_type() -> None:
    class Casting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = _network()

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images.float())

    found = explain(Casting(), IMAGES.double()).maps
    torch.testing.assert_close(found, explain(_network(), IMAGES).maps)
    # An error that has nothing to do with types stays the model's own.
    broken = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 2))
    with pytest.raises(RuntimeError, match="shapes"):
        explain(broken, IMAGES, layer="0")


def _spoiled(value: float, name: str) -> nn.Module:
    model = _network()
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = value
    return model


@pytest.mark.parametrize(
    ("model", "images", "sentence"),
    [
        (_spoiled(torch.nan, "4.weight"), IMAGES, "are not a number .* the model's '4.weight' ho"),
        (_spoiled(torch.nan, "0.bias"), IMAGES, "are not a number .* the model's '0.bias' holds"),
        (_spoiled(torch.inf, "4.bias"), IMAGES, "are infinite: the model's '4.bias' holds"),
        (
            _network(),
            torch.cat([IMAGES, IMAGES[:1] * torch.nan]),
            "scores for image 2 .*: the image itself holds values that are not finite",
        ),
        (
            nn.Sequential(_network(), nn.Threshold(100.0, torch.nan)),
            IMAGES,
            "they arise in its forward pass, computed in torch.float32",
        ),
    ],
)
def test_scores_that_are_no_numbers_are_named(
    model: nn.Module, images: Tensor, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        explain(model, images)


def test_a_class_that_a_model_rules_out_is_no_error() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = _network()

        def forward(self, images: Tensor) -> Tensor:
            mask = torch.tensor([True, False, False])
            return self.inner(images).masked_fill(mask, -torch.inf)

    found = explain(Masked(), IMAGES)
    assert (found.probabilities[:, 0] == 0).all()
    assert (found.predicted != 0).all()


def test_a_refused_model_is_as_it_was() -> None:
    model = timm.create_model("resnet10t", num_classes=3).train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigError, match=r"images: are torch.float64"):
        explain(model, torch.randn(1, 3, 32, 32, dtype=torch.float64))
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
