"""The engine leaves everything as it was, and what is around a layer cannot change its map."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.engine import record, undisturbed
from seewhy.explanation.methods.registry import ATTRIBUTIONS, METHODS

EVERY_METHOD = [*METHODS, *ATTRIBUTIONS]


class Failing(nn.Module):
    """Hands on what it gets, and raises at its `at`-th call."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def forward(self, values: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.at:
            raise ArithmeticError("on purpose")
        return values


def _network(at: int = 0) -> nn.Module:
    """A network with everything a careless tool could disturb."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(5, 4),
        Failing(at),
    ).train()
    model[1].eval()
    model[0].requires_grad_(False)
    model[8].weight.grad = torch.ones_like(model[8].weight)
    model[2].register_forward_hook(lambda module, inputs, output: None)
    model[3].register_forward_pre_hook(lambda module, inputs: None)
    return model


def _transformer(at: int = 0) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"img_size": 32, "depth": 2, "embed_dim": 16, "num_heads": 2, "num_classes": 4}
    model = timm.create_model("vit_tiny_patch16_224", drop_rate=0.3, **sizes).train()
    nn.init.normal_(model.head.weight)
    model.blocks[0].eval()
    model.patch_embed.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    model.head.register_forward_hook(lambda module, inputs, output: None)
    return nn.Sequential(model, Failing(at))


def _case(method: str, at: int = 0) -> tuple[nn.Module, str]:
    if method == "legrad":
        return _transformer(at), "auto"
    model = _network(at)
    if method != "cam":
        # It stands between the layer and the logits, and might change gradients.
        model[8].register_full_backward_hook(lambda module, inputs, outputs: None)
    return model, "auto" if method in ATTRIBUTIONS else "4"


def _state(model: nn.Module) -> list[object]:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        [module.training for module in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [len(getattr(module, kind)) for module in model.modules() for kind in hooks],
        [id(module) for module in model.modules()],
        torch.get_rng_state(),
        torch.is_grad_enabled(),
        torch._C._len_torch_function_stack(),
    ]


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_everything_is_as_before(method: str) -> None:
    model, layer = _case(method)
    images = torch.randn(2, 3, 32, 32)
    copied = images.clone()
    before = _state(model)
    found = explain(model, images, classes="all", layer=layer, method=method)
    torch.testing.assert_close(_state(model), before, rtol=0, atol=0)
    torch.testing.assert_close(images, copied, rtol=0, atol=0)
    assert not images.requires_grad
    assert not found.maps.requires_grad
    assert (found.maps >= 0).all()
    assert found.maps.sum() > 0


@pytest.mark.parametrize("method", EVERY_METHOD)
@pytest.mark.parametrize("call", [1, 2])
def test_everything_is_as_before_when_the_model_raises(method: str, call: int) -> None:
    model, layer = _case(method, at=call)
    images = torch.randn(2, 3, 32, 32)
    before = _state(model)
    try:
        explain(model, images, layer=layer, method=method)
    except ArithmeticError:
        raised = True
    else:
        raised = False
    torch.testing.assert_close(_state(model), before, rtol=0, atol=0)
    # Methods that need a single forward pass never come to the second call.
    assert raised == (model[-1].calls == call)
    assert raised or call == 2


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("method", EVERY_METHOD)
def test_the_map_is_the_same_in_any_mode(
    method: str, context: Callable[[], AbstractContextManager[None]]
) -> None:
    model, layer = _case(method)
    images = torch.randn(2, 3, 32, 32)
    expected = explain(copy.deepcopy(model).eval(), images, layer=layer, method=method).maps
    with context():
        enabled = torch.is_grad_enabled()
        found = explain(model, images * 1, layer=layer, method=method).maps
        assert torch.is_grad_enabled() == enabled
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    frozen = explain(model.requires_grad_(False), images, layer=layer, method=method).maps
    torch.testing.assert_close(frozen, expected, rtol=0, atol=0)


def test_images_made_in_inference_mode_may_be_used_behind_the_layer() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, images: Tensor) -> Tensor:
            return (self.conv(images) * images).mean((2, 3))

    torch.manual_seed(0)
    model, images = Gated(), torch.randn(2, 3, 4, 4)
    with torch.inference_mode():
        found = explain(model, images.clone(), layer="conv").maps
    torch.testing.assert_close(found, explain(model, images, layer="conv").maps)


def test_random_layers_do_not_move_the_random_state() -> None:
    class Noisy(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values + torch.rand_like(values)

    model = nn.Sequential(nn.Conv2d(3, 4, 3), Noisy(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.randn(1, 3, 8, 8)
    before = torch.get_rng_state()
    explain(model, images, layer="0")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_trunk_runs_once_and_without_a_graph() -> None:
    model = _network().eval()
    runs: list[bool] = []
    model[0].register_forward_hook(lambda module, i, output: runs.append(output.requires_grad))
    explain(model, torch.randn(3, 3, 32, 32), classes="all", layer="4")
    assert runs == [False]


def test_an_automatic_layer_is_looked_for_once() -> None:
    model = _network().eval()
    runs: list[int] = []
    model[0].register_forward_hook(lambda module, i, output: runs.append(len(output)))
    images = torch.randn(3, 3, 32, 32)
    explain(model, images)
    explain(model, images)
    assert runs == [1, 3, 3]
    # Another structure is another question.
    model[4] = nn.GELU()
    assert explain(model, images).layer == "4"
    assert runs[3:] == [1, 3]


def test_hooks_of_the_model_may_change_the_output_that_is_explained() -> None:
    model = _network().eval()
    images = torch.randn(2, 3, 32, 32)
    plain = explain(model, images, classes="all", layer="4").maps
    model[4].register_forward_hook(lambda module, inputs, output: 2 * output)
    doubled = explain(model, images, classes="all", layer="4").maps
    torch.testing.assert_close(doubled, 2 * plain)


def test_an_in_place_layer_behind_the_target_does_not_change_the_map() -> None:
    torch.manual_seed(0)

    def network(inplace: bool) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=inplace),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )

    first, second = network(True), network(False)
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 3, 8, 8)
    for method in ("gradcam", "layercam", "ablationcam", "shapleycam"):
        in_place = explain(first, images, layer="1", method=method).maps
        apart = explain(second, images, layer="1", method=method).maps
        torch.testing.assert_close(in_place, apart, rtol=0, atol=0)
        assert (apart > 0).any()


def test_an_earlier_tensor_overwritten_later_does_not_change_the_map() -> None:
    class Shared(nn.Module):
        """The target hands on its input, which the network then overwrites."""

        def __init__(self, overwrite: bool) -> None:
            super().__init__()
            self.conv, self.target = nn.Conv2d(3, 4, 1), nn.Identity()
            self.fc, self.overwrite = nn.Linear(4, 2), overwrite

        def forward(self, images: Tensor) -> Tensor:
            values = self.conv(images)
            seen = self.target(values)
            side = F.relu_(values) if self.overwrite else F.relu(values)
            return self.fc((seen.tanh() + side.detach()).mean((2, 3)))

    torch.manual_seed(0)
    first = Shared(True)
    second = Shared(False)
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(
        explain(first, images, classes="all", layer="target").maps,
        explain(second, images, classes="all", layer="target").maps,
    )


def test_densenet_with_shared_storage_gives_what_it_gives_without() -> None:
    torch.manual_seed(0)
    model = timm.create_model("densenet121", num_classes=3).eval()
    apart = copy.deepcopy(model)
    for module in apart.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    images = torch.randn(2, 3, 64, 64)
    for layer in ("features.denseblock4", "features.denseblock3", "features.norm5"):
        for method in ("gradcam", "layercam"):
            found = explain(model, images, layer=layer, method=method).maps
            expected = explain(apart, images, layer=layer, method=method).maps
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
            assert expected.sum() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["densenet121", "vit_tiny_patch16_224"])
def test_a_cuda_device_gives_the_processors_maps(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3).eval()
    images = torch.randn(2, 3, 224, 224)
    expected = explain(model, images, classes="all")
    found = explain(model.cuda(), images.cuda(), classes="all")
    for ours, theirs in zip(
        found.maps.cpu().flatten(0, 1), expected.maps.flatten(0, 1), strict=True
    ):
        assert torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1] > 0.999


def test_a_layer_that_runs_twice_is_explained_by_its_last_run() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()
            self.fc = nn.Linear(3, 2, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            return self.fc(self.act(self.act(images) - 1).mean((2, 3)))

    torch.manual_seed(0)
    model = Twice()
    images = torch.randn(2, 3, 4, 4) * 2
    last = (images.relu() - 1).relu()
    weight = model.fc.weight.detach()
    expected = torch.einsum("kc,nchw->nkhw", weight / 16, last).relu()
    for layer, method in (("act", "gradcam"), ("act", "hirescam")):
        found = explain(model, images, classes="all", layer=layer, method=method).maps
        torch.testing.assert_close(found, expected)
    # Without channel k its part of the score is gone: weight times mean.
    scores = torch.einsum("kc,nc->nk", weight, last.mean((2, 3)))
    parts = weight * last.mean((2, 3))[:, None] / scores.abs()[:, :, None]
    found = explain(model, images, classes="all", layer="act", method="ablationcam").maps
    torch.testing.assert_close(found, torch.einsum("nkc,nchw->nkhw", parts, last).relu())


@pytest.mark.parametrize(
    ("name", "options", "layer"),
    [
        ("resnet18", {}, "layer4"),
        ("densenet121", {}, "features.norm5"),
        ("tf_efficientnet_lite0", {}, "bn2"),
        ("mixer_s16_224", {"img_size": 64}, "norm"),
        (
            "swin_tiny_patch4_window7_224",
            {"img_size": 64, "window_size": 2, "depths": (1, 1, 1, 1)},
            "norm",
        ),
    ],
)
def test_the_closed_form_is_what_backward_gives(
    name: str, options: dict[str, Any], layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=6, **options).eval()
    nn.init.normal_(model.get_classifier().weight)
    images = torch.randn(2, 3, 64, 64)
    with monkeypatch.context() as patched:
        patched.setattr(torch.autograd, "grad", _forbidden)
        closed = {m: explain(model, images, "all", layer, m).maps for m in GRADIENT_METHODS}
        against = explain(model, images, [[4], [2]], layer, against=[[1, 5], [0, 3]]).maps
    monkeypatch.setattr("seewhy.explanation.engine.pooled_weight", lambda *given: None)
    for method, maps in closed.items():
        walked = explain(model, images, "all", layer, method).maps
        torch.testing.assert_close(maps, walked, rtol=1e-4, atol=1e-5 * float(walked.max()))
        assert (walked > 0).any()
    walked = explain(model, images, [[4], [2]], layer, against=[[1, 5], [0, 3]]).maps
    torch.testing.assert_close(against, walked, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_channels_last_has_the_closed_form_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=6).eval()
    images = torch.randn(2, 3, 64, 64)
    expected = explain(model, images, classes="all").maps
    monkeypatch.setattr(torch.autograd, "grad", _forbidden)
    last = torch.channels_last
    found = explain(model.to(memory_format=last), images.to(memory_format=last), "all").maps
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * float(expected.max()))


GRADIENT_METHODS = ("gradcam", "hirescam", "layercam", "xgradcam", "gradcam++")


def _forbidden(*arguments: object, **options: object) -> None:
    raise AssertionError("no backward is needed here")


class _Behind(nn.Module):
    """What `behind` makes of a 1×1 convolution's output."""

    def __init__(self, behind: Callable[[nn.Linear, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.behind = nn.Conv2d(3, 4, 1), nn.Linear(4, 3), behind

    def forward(self, images: Tensor) -> Tensor:
        return self.behind(self.fc, self.conv(images))


@pytest.mark.parametrize(
    "behind",
    [
        lambda fc, x: fc(x.relu().mean((2, 3))),
        lambda fc, x: fc(x.abs().relu().mean((2, 3))),
        lambda fc, x: fc(2 * x.mean((2, 3))),
        lambda fc, x: fc(x.mean((2, 3))) * 3,
        lambda fc, x: fc(x.mean((2, 3)) * x.amax((2, 3))),
        lambda fc, x: fc(x[:, :, :2].mean((2, 3))),
        lambda fc, x: fc(x.mean(3).mean(2)),
        lambda fc, x: fc(x.mean((1, 2))),
        lambda fc, x: fc(x.amax((2, 3))),
        lambda fc, x: fc(x.flip(1).mean((2, 3))),
        lambda fc, x: fc(F.normalize(x.mean((2, 3)))),
        lambda fc, x: fc(x.mean((2, 3))) + x.sum((1, 2, 3))[:, None],
        lambda fc, x: torch.addmm(x.sum((0, 2, 3))[:3], x.mean((2, 3)), fc.weight.t()),
        lambda fc, x: torch.addmm(fc.bias, x.mean((2, 3)), fc.weight.t(), alpha=2),
        lambda fc, x: x.mean((2, 3)) @ x.mean((2, 3)).mean(0).expand(3, -1).t(),
    ],
)
def test_anything_else_behind_the_layer_is_not_taken_for_pooling_and_a_linear_layer(
    behind: Callable[[nn.Linear, Tensor], Tensor],
) -> None:
    model, images = _Behind(behind), torch.randn(2, 3, 4, 4)
    leaf = model.conv(images).detach().requires_grad_()
    expected = []
    for k in range(3):
        (gradient,) = torch.autograd.grad(behind(model.fc, leaf)[:, k].sum(), leaf)
        expected.append((gradient.mean((2, 3), keepdim=True) * leaf.detach()).sum(1).relu())
    found = explain(model, images, classes="all", layer="conv").maps
    torch.testing.assert_close(found, torch.stack(expected, dim=1))


def test_maps_under_autocast_are_near_those_in_float32() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=4).eval()
    images = torch.randn(2, 3, 64, 64)
    expected = explain(model, images, classes="all").maps
    with torch.autocast("cpu", torch.bfloat16):
        found = explain(model, images, classes="all")
    assert found.maps.dtype == found.logits.dtype == torch.float32
    assert (found.maps - expected).abs().max() < 0.05 * expected.max()
    # No low-precision copy of a weight stays behind that a later training step would use.
    with torch.autocast("cpu", torch.bfloat16):
        explain(model, images)
        model(images).float().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_layer_without_influence_is_named() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.aside, self.conv = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

        def forward(self, images: Tensor) -> Tensor:
            self.aside(images)
            return self.conv(images).mean((2, 3))

    with pytest.raises(ConfigError, match="layer 'aside': the scores do not depend on it"):
        explain(Aside(), torch.randn(1, 3, 4, 4), layer="aside")


def test_only_what_lies_behind_the_layer_keeps_a_graph() -> None:
    model = _network().eval()
    images = torch.randn(2, 3, 32, 32)
    with undisturbed(model, images):
        answer, layers = record(model, images, ("4",), None)
        assert not any(p.requires_grad for p in model.parameters())
        assert not torch.is_grad_enabled()
        names = set()
        node = answer.logits.grad_fn
        while node is not None:
            names.add(node.name())
            node = (
                node.next_functions[-2 if "Addmm" in node.name() else 0][0]
                if (node.next_functions)
                else None
            )
    assert "ConvolutionBackward0" not in names
    assert layers["4"].output.is_leaf
