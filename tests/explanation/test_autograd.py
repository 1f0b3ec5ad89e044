"""What a network does in its forward that only autograd knows: hooks, packing, mixed precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.vgg import VGG
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.engine import MethodContext, record, undisturbed
from seewhy.explanation.gradients import graph
from seewhy.explanation.targets import ScoreSelection, read_classes


class Behind(nn.Module):
    """A 1×1 convolution, and what `behind` makes of its output."""

    def __init__(self, behind: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.behind = nn.Conv2d(3, 4, 1), behind

    def forward(self, images: Tensor) -> Tensor:
        return self.behind(self.conv(images))


def _number(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def _images() -> Tensor:
    return _number(2, 3, 4, 4)


def gradients(model: nn.Module, images: Tensor, layers: tuple[str, ...]) -> list[Tensor]:
    """Return each class's gradient at the first layer, as methods get it."""
    with undisturbed(model, images):
        answer, recorded = record(model, images, layers, None)
        question = ScoreSelection(read_classes("all", answer.logits.detach()))
        case = MethodContext(model, images, answer, recorded, question, None, 8)
        return [found[layers[0]] for found in case.gradients()]


def alone(behind: Callable[[Tensor], Tensor], leaf: Tensor) -> list[Tensor]:
    """Return what autograd says of each class alone."""
    leaf = leaf.detach().requires_grad_()
    logits = behind(leaf.clone())
    return [
        torch.autograd.grad(logits[:, k].sum(), leaf, retain_graph=True)[0]
        for k in range(logits.shape[1])
    ]


def check(behind: Callable[[Tensor], Tensor]) -> None:
    model, images = Behind(behind), _images()
    expected = alone(behind, model.conv(images))
    assert any(right.abs().sum() > 0 for right in expected)
    torch.testing.assert_close(gradients(model, images, ("conv",)), expected)


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam", "xgradcam"])
def test_a_buffer_over_a_squared_distance(method: str) -> None:
    scale, prototypes = _number(3).abs() + 0.5, _number(3, 4)

    def behind(x: Tensor) -> Tensor:
        d = ((x.mean((2, 3))[:, None] - prototypes[None]) ** 2).sum(-1) + 0.1
        return scale / d

    check(behind)
    model, images = Behind(behind), _images()
    found = explain(model, images, classes="all", method=method, layer="conv").maps
    # Hooks send every gradient through autograd.
    model.behind = lambda x: behind(_watched(x))
    torch.testing.assert_close(
        found, explain(model, images, classes="all", method=method, layer="conv").maps
    )
    assert found.sum() > 0


def _watched(x: Tensor) -> Tensor:
    if x.requires_grad:
        x.register_hook(lambda gradient: None)
    return x


def _by_tensor(x: Tensor) -> None:
    x.register_hook(lambda gradient: 3 * gradient)


def _by_clipping(x: Tensor) -> None:
    x.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))


def _in_its_place(x: Tensor) -> None:
    x.register_hook(lambda gradient: gradient.mul_(0.5))


def _by_node(x: Tensor) -> None:
    assert x.grad_fn is not None
    x.grad_fn.register_hook(lambda inputs, outputs: tuple(-g for g in inputs if g is not None))


def _by_node_before(x: Tensor) -> None:
    assert x.grad_fn is not None
    x.grad_fn.register_prehook(lambda outputs: (2 * outputs[0],))


def _by_several(x: Tensor) -> None:
    def change(gradients: object) -> None:
        x.grad_fn.register_hook(lambda *given: None)  # type: ignore[union-attr]

    torch.autograd.graph.register_multi_grad_hook([x], change)
    x.register_hook(lambda gradient: gradient + 1)


@pytest.mark.parametrize("place", ["map", "pooled", "logits"])
@pytest.mark.parametrize(
    "hook", [_by_tensor, _by_clipping, _in_its_place, _by_node, _by_node_before, _by_several]
)
def test_hooks_that_a_network_registers_change_its_gradients(
    hook: Callable[[Tensor], None], place: str
) -> None:
    weight = _number(3, 4)

    def behind(x: Tensor, hooked: bool = True) -> Tensor:
        # Clones, so that a node's hook meets a node with a single input.
        values = {"map": x.clone()}
        values["pooled"] = values["map"].mean((2, 3)).clone()
        values["logits"] = F.linear(values["pooled"], weight).clone()
        if hooked and x.requires_grad:
            hook(values[place])
        return values["logits"]

    check(behind)
    leaf = _number(2, 4, 4, 4)
    pairs = zip(alone(behind, leaf), alone(lambda x: behind(x, False), leaf), strict=True)
    assert all((one - other).abs().max() > 0.01 * other.abs().max() for one, other in pairs)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize(
    "register",
    [
        nn.modules.module.register_module_full_backward_hook,
        nn.modules.module.register_module_full_backward_pre_hook,
    ],
)
def test_hooks_on_the_modules_of_every_network_change_its_gradients(
    register: Callable[..., torch.utils.hooks.RemovableHandle],
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = _images()
    plain = gradients(model, images, ("0",))

    def double(module: nn.Module, *given: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        return (2 * given[0][0],) if isinstance(module, nn.Flatten) else None

    handle = register(double)
    try:
        doubled = gradients(model, images, ("0",))
    finally:
        handle.remove()
    torch.testing.assert_close(doubled, [2 * gradient for gradient in plain])


def test_logits_that_are_one_of_an_operations_outputs() -> None:
    weight = _number(6, 4)
    check(lambda x: F.linear(x.mean((2, 3)), weight).chunk(2, dim=1)[1])
    check(lambda x: F.linear(x.amax((2, 3)), weight).split(3, dim=1)[1])


def test_what_is_checkpointed_is_computed_as_often_as_autograd_would() -> None:
    first, second = _number(5, 4), _number(3, 5)
    calls: list[int] = []

    def head(x: Tensor) -> Tensor:
        calls.append(1)
        return F.linear(F.gelu(F.linear(x.mean((2, 3)) / 2, first)), second)

    def behind(x: Tensor) -> Tensor:
        found: Tensor = checkpoint(head, x, use_reentrant=False)
        return found

    check(behind)
    # Once forward and once back for each of three classes; by ours and by autograd.
    assert len(calls) == 8


def test_checkpoints_without_gradients_are_refused_in_a_sentence() -> None:
    weight = _number(3, 4)

    def behind(x: Tensor) -> Tensor:
        found: Tensor = checkpoint(lambda y: y.mean((2, 3)).tanh(), x, use_reentrant=True)
        return F.linear(found, weight)

    with pytest.raises(ConfigError, match=r"^model: it calls torch\.utils\.checkpoint with use_re"):
        explain(Behind(behind), _images(), layer="conv")


def test_a_value_that_is_overwritten_is_refused_in_a_sentence() -> None:
    weight = _number(3, 4)

    def behind(x: Tensor) -> Tensor:
        gate = x.mean((2, 3)).sigmoid()
        found = F.linear(gate * 2, weight)
        gate.zero_()
        return found

    with pytest.raises(ConfigError, match=r"^model: it overwrites in place a value"):
        explain(Behind(behind), _images(), layer="conv")


@pytest.mark.parametrize("layers", [("conv",), ("conv", "also")])
def test_the_callers_autocast_does_not_reach_back(layers: tuple[str, ...]) -> None:
    """A head that keeps to float32 has float32's gradients."""
    first, second = _number(4, 4), _number(3, 4)

    def behind(x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return F.linear(F.linear(x.float().amax((2, 3)), first).sin(), second)

    model, images = Behind(behind), _images()
    model.also = nn.Identity()
    model.behind = lambda x: behind(model.also(x))
    with torch.autocast("cpu", torch.bfloat16):
        leaf = model.conv(images)
        found = gradients(model, images, layers)
    expected = alone(behind, leaf)
    torch.testing.assert_close(found, [right.float() for right in expected])


def _vision_transformer() -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=32, depth=2)


def _vgg() -> nn.Module:
    return VGG([4, "M", 8, "M"], num_classes=3, mlp_ratio=0.01)


def _resnet() -> nn.Module:
    return timm.create_model("resnet18", num_classes=3)


def _last_resnet() -> nn.Module:
    return _resnet().to(memory_format=torch.channels_last)


def _prototypes() -> nn.Module:
    return Behind(
        lambda x: F.linear(F.layer_norm(x.mean((2, 3)) * _number(4) / 2, (4,)), _number(3, 4))
    )


NETWORKS: list[tuple[Callable[[], nn.Module], str, int]] = [
    (_vision_transformer, "blocks.1.norm1", 32),
    (_vgg, "features.5", 28),
    (_resnet, "layer4", 32),
    (_last_resnet, "layer4", 32),
    (_prototypes, "conv", 8),
]


@pytest.mark.parametrize(("make", "layer", "side"), NETWORKS)
def test_what_another_pytorch_lacks_leads_to_autograd(
    make: Callable[[], nn.Module], layer: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model, images = make().eval(), torch.randn(2, 3, side, side)
    read: set[str] = set()
    attribute = graph.attribute

    def watched(node: object, name: str) -> object:
        read.add(name)
        return attribute(node, name)

    monkeypatch.setattr(graph, "attribute", watched)
    monkeypatch.setattr("seewhy.explanation.gradients.pooled_heads.attribute", watched)
    expected = gradients(model, images, (layer,))
    assert {"id", "unpack_hook"} < read

    for hidden in sorted(read):

        def lacking(node: object, name: str, hidden: str = hidden) -> object:
            if name == hidden:
                raise AttributeError(name)
            return attribute(node, name)

        monkeypatch.setattr(graph, "attribute", lacking)
        monkeypatch.setattr("seewhy.explanation.gradients.pooled_heads.attribute", lacking)
        torch.testing.assert_close(gradients(model, images, (layer,)), expected)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_no_less_exact_than_autograd(kind: torch.dtype) -> None:
    """Attention's weights and layer norm's sums are float32, as they are inside PyTorch."""
    width, places = 16, 16
    weights = [_number(48, width) / 2, _number(width, width) / 4, _number(3, width) / 4]

    def behind(x: Tensor) -> Tensor:
        projection, joining, last = (weight.to(x.dtype) for weight in weights)
        tokens = x.flatten(2).transpose(1, 2)
        made = F.linear(tokens, projection).reshape(2, places, 3, 2, 8).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(*made.unbind(0)).transpose(1, 2)
        tokens = tokens + F.linear(found.reshape(2, places, width), joining)
        return F.linear(F.layer_norm(tokens, (width,))[:, 0], last)

    model = Behind(behind).to(kind)
    model.conv = nn.Conv2d(3, width, 1).to(kind)
    images = _images().to(kind)
    leaf = model.conv(images)
    exact = alone(behind, leaf.double())
    for found, theirs, right in zip(
        gradients(model, images, ("conv",)), alone(behind, leaf), exact, strict=True
    ):
        error = (theirs.double() - right).norm() / right.norm()
        assert (found.double() - right).norm() / right.norm() < 1.5 * error
