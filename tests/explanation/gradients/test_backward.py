"""The way back for all scores at once gives autograd's gradients, and goes as far as it should."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy import explain
from seewhy.explanation.gradients import backward
from seewhy.explanation.gradients.backward import gradients_of

LEAF = "torch::autograd::AccumulateGrad"


def _weight(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).double()


def _asked(logits: Tensor, columns: int = 3) -> Tensor:
    return _weight(columns, *logits.shape)


def _check(logits: Tensor, leaf: Tensor, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Compare three scores' gradients with autograd's; return the nodes it was handed."""
    ends: set[str] = set()
    walk = backward._walk

    def watched(*arguments: object) -> list[backward._AutogradEdge]:
        edges = walk(*arguments)
        ends.update(edge.node.name() for edge in edges)
        return edges

    monkeypatch.setattr(backward, "_walk", watched)
    asked = _asked(logits)
    expected = [torch.autograd.grad(logits, leaf, one, retain_graph=True)[0] for one in asked]
    with torch.no_grad():
        found = list(gradients_of(logits, leaf, lambda k: asked[k], len(asked)))
    for gradient, right in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, right)
        assert right.abs().sum() > 0
    return ends


def _convolution(maps: Tensor, weight: Tensor, *more: Tensor, **options: int) -> Tensor:
    """A convolution whose weight is as the maps do."""
    last = not maps.is_contiguous()
    form = torch.channels_last if last else torch.contiguous_format
    return F.conv2d(maps, weight.to(memory_format=form), *more, **options)


MAPS: list[tuple[Callable[[Tensor], Tensor], str]] = [
    (lambda x: F.linear(x.mean((2, 3)), _weight(4, 5), _weight(4)), LEAF),
    (lambda x: F.linear(x.mean((-1, 2)).relu() / 3, _weight(4, 5)), LEAF),
    (lambda x: F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), _weight(4, 5)), "pool"),
    (lambda x: F.linear(F.gelu(x.mean((2, 3)) * _weight(5)), _weight(4, 5)), LEAF),
    (lambda x: F.linear(x.flatten(1), _weight(4, 60)), LEAF),
    (lambda x: _convolution(x, _weight(4, 5, 3, 4), _weight(4)).flatten(1), LEAF),
    (lambda x: _convolution(x.relu(), _weight(4, 5, 3, 4), stride=2).relu().mean((2, 3)), LEAF),
    # Where a rule would be wrong, autograd takes over.
    (lambda x: _convolution(x, _weight(4, 5, 2, 4)).mean((2, 3)), "ConvolutionBackward0"),
    (lambda x: _convolution(x, _weight(5, 1, 3, 4), groups=5).flatten(1), "ConvolutionBackward0"),
    (
        lambda x: _convolution(x, _weight(4, 5, 3, 4), padding=1).amax((2, 3)),
        "AmaxBackward0",
    ),
    (
        lambda x: _convolution(x[:, :, :1, :1], _weight(4, 5, 3, 3), padding=1).flatten(1),
        "ConvolutionBackward0",
    ),
    (
        lambda x: _convolution(x, _weight(4, 5, 3, 4), padding=1, stride=3).flatten(1),
        "ConvolutionBackward0",
    ),
    (lambda x: _convolution(x, _weight(4, 5, 2, 2), stride=4).flatten(1), "ConvolutionBackward0"),
    (
        lambda x: F.conv_transpose2d(x.mean((2, 3), True), _weight(5, 5, 1, 1)).flatten(1),
        "ConvolutionBackward0",
    ),
    (lambda x: F.linear(x.mean((2, 3)), _weight(4, 5) * x.mean()), "AddmmBackward0"),
    (lambda x: x.mean((2, 3)) * x.amax((2, 3)), "MulBackward0"),
    (lambda x: torch.add(x.mean((2, 3)), x.amax((2, 3)), alpha=2), "AddBackward0"),
    (lambda x: x.mean((2, 3)) + x.mean((1, 2, 3))[:, None], "AddBackward0"),
    (lambda x: x.mean((2, 3)).tanh(), "TanhBackward0"),
    (lambda x: _weight(5) / x.mean((2, 3)).exp(), "DivBackward0"),
    (lambda x: torch.tensor(2.0).double() / x.mean((2, 3)).exp(), "DivBackward0"),
    (lambda x: x.mean((2, 3)) / _weight(2, 1), "DivBackward0"),
    (lambda x: x.mean((2, 3)) / x.exp().mean(), "DivBackward0"),
    (lambda x: torch.sub(x.mean((2, 3)), 1, alpha=3), "SubBackward0"),
    (lambda x: torch.rsub(x.mean((2, 3)), 1, alpha=3), "RsubBackward1"),
    (lambda x: x.mean(()).view(1, 1), "MeanBackward1"),
    (lambda x: x.mean((2, 3)).chunk(2, dim=1)[1], "SplitBackward0"),
    (lambda x: x.mean((2, 3)).unbind(1)[2][:, None], "UnbindBackward0"),
    (lambda x: torch.stack([x.mean((2, 3))] * 2)[1], "SelectBackward0"),
    (lambda x: F.linear(x.flatten(1), _weight(4, 60)).relu_() * 2, LEAF),
]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("head", "end"), MAPS)
def test_heads_on_maps(
    head: Callable[[Tensor], Tensor],
    end: str,
    channels_last: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = torch.channels_last if channels_last else torch.contiguous_format
    leaf = _weight(2, 5, 3, 4).to(memory_format=form).requires_grad_()
    if end == "pool":
        # PyTorch restrides the mean of channels-last maps; only the closed form looks at that.
        end = "AsStridedBackward1" if channels_last else LEAF
    ends = _check(head(leaf), leaf, monkeypatch)
    assert end in ends or (end == "AddmmBackward0" and "MmBackward0" in ends)


def _attention(x: Tensor, **options: object) -> Tensor:
    """Two heads of three channels from one projection, as timm writes it; then joined."""
    count, places, width = x.shape
    made = F.linear(x, _weight(3 * width, width), _weight(3 * width))
    query, key, value = made.reshape(count, places, 3, 2, 3).permute(2, 0, 3, 1, 4).unbind(0)
    found = F.scaled_dot_product_attention(query, key, value, **options)
    return found.transpose(1, 2).reshape(count, places, width)


def _thrice(x: Tensor) -> Tensor:
    """The same from three projections, the queries' halved."""
    count, places, width = x.shape
    query, key, value = (
        F.linear(x, _weight(width, width) + n).view(count, places, 2, 3).transpose(1, 2)
        for n in range(3)
    )
    found = F.scaled_dot_product_attention(query / 2, key, value)
    return found.transpose(1, 2).reshape(count, places, width)


def _used_twice(x: Tensor) -> Tensor:
    """Attention whose output, and whose projection's, somebody else uses too."""
    made = F.linear(x, _weight(18, 6), _weight(18))
    query, key, value = made.reshape(2, 7, 3, 2, 3).permute(2, 0, 3, 1, 4).unbind(0)
    found = F.scaled_dot_product_attention(query, key, value)
    token = found.transpose(1, 2).reshape(2, 7, 6)[:, 0]
    return token + found.tanh().sum(2).flatten(1) + made.sum(1)[:, 6:12] * key.sum((1, 2, 3))[0]


def _block(x: Tensor) -> Tensor:
    """What follows the last attention of a vision transformer."""
    x = x + F.linear(_attention(x), _weight(6, 6), _weight(6)) * _weight(6)
    hidden = F.gelu(F.linear(F.layer_norm(x, (6,), _weight(6), _weight(6)), _weight(9, 6)))
    return F.layer_norm(x + F.linear(hidden, _weight(6, 9)), (6,))


TOKENS: list[tuple[Callable[[Tensor], Tensor], str]] = [
    # Through the attention and its projection, whose input is a view of the leaf.
    (lambda x: _block(x)[:, 0], "ViewBackward0"),
    (lambda x: F.linear(_block(x)[:, -1], _weight(4, 6)), "ViewBackward0"),
    (lambda x: (lambda y: y[:, 0] + y[:, 1])(_block(x)) / 2, "ViewBackward0"),
    (lambda x: _attention(x)[:, 0] + _attention(x)[:, 0], "ViewBackward0"),
    (lambda x: _attention(x, scale=0.3)[:, 2], "ViewBackward0"),
    (lambda x: _used_twice(x), "ViewBackward0"),
    (lambda x: _thrice(x)[:, 0], "DivBackward0"),
    (lambda x: _block(x).mean(1), "MmBackward0"),
    (lambda x: _block(x)[:, :, 0], "SelectBackward0"),
    (lambda x: _attention(x)[:, 0] + _attention(x)[:, 0].tanh(), "TanhBackward0"),
    (lambda x: _attention(x, is_causal=True)[:, 4], "TransposeBackward0"),
    (
        lambda x: _attention(x, attn_mask=torch.ones(7, 7).tril().bool())[:, 4],
        "TransposeBackward0",
    ),
    (lambda x: (lambda y: y[:, 0] + y[:, 0])(x.exp()), "ExpBackward0"),
    (lambda x: (lambda y: y[:, 0] + y[:, 1])(x.exp()), "ExpBackward0"),
    (lambda x: (lambda y: y[:, 0] * 2 + y[:, 1] * 3 + y[:, 0] + y[:, 1])(x.exp()), "ExpBackward0"),
    (lambda x: (lambda y: y[:, 0] + y.mean(1))(x.exp()), "ExpBackward0"),
    (lambda x: F.layer_norm(x, (7, 6))[:, 0], "NativeLayerNormBackward0"),
    (lambda x: (x * _weight(7, 6))[:, 0], "MulBackward0"),
    (lambda x: (_weight(6) / x.exp())[:, 0], "DivBackward0"),
    # Tokens of one channel: what is along the last axis are the tokens.
    (lambda x: F.layer_norm(x.mean(2), (7,))[:, :, None][:, 0], "NativeLayerNormBackward0"),
    (lambda x: F.linear(x.mean(2), _weight(7, 7))[:, :, None][:, 1], "MmBackward0"),
    (lambda x: (x.mean(2) * _weight(7))[:, :, None][:, 1], "MulBackward0"),
    # Views that tear tokens apart.
    (
        lambda x: x.reshape(2, 7, 2, 3).transpose(1, 2).reshape(2, 7, 6)[:, 0],
        "UnsafeViewBackward0",
    ),
    (lambda x: x.reshape(2, 6, 7)[:, 0], "ViewBackward0"),
]


@pytest.mark.parametrize(("head", "end"), TOKENS)
def test_heads_on_tokens(
    head: Callable[[Tensor], Tensor], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = _weight(2, 7, 6).requires_grad_()
    assert end in _check(head(leaf), leaf, monkeypatch)


def test_more_scores_than_fit_in_memory_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = _weight(2, 5, 3, 4).requires_grad_()
    together: list[int] = []
    walk = backward._walk

    def watched(root: object, place: int, asked: Tensor, most: int) -> list[backward._AutogradEdge]:
        together.append(len(asked))
        return walk(root, place, asked, most)

    monkeypatch.setattr(backward, "_walk", watched)
    monkeypatch.setattr(backward, "_BUDGET", 2 * leaf.numel())
    logits = F.linear(leaf.tanh().mean((2, 3)), _weight(4, 5))
    asked = _asked(logits, columns=5)
    expected = [torch.autograd.grad(logits, leaf, one, retain_graph=True)[0] for one in asked]
    found = list(gradients_of(logits, leaf, lambda k: asked[k], 5))
    torch.testing.assert_close(found, expected)
    assert together == [2, 2, 1]


def test_a_score_that_does_not_hang_on_the_leaf_is_told() -> None:
    other, leaf = _weight(2, 3).requires_grad_(), _weight(2, 3).requires_grad_()
    found = list(gradients_of(other * 2, leaf, lambda k: torch.ones(2, 3).double(), 2))
    assert found == [None, None]


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_transformers_maps_under_autocast_are_near_those_in_float32(pool: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=4, img_size=64, depth=2, global_pool=pool
    ).eval()
    nn.init.normal_(model.head.weight)
    images = torch.randn(2, 3, 64, 64)
    expected = explain(model, images, classes="all").maps
    with torch.autocast("cpu", torch.bfloat16):
        found = explain(model, images, classes="all").maps
    assert (found - expected).abs().max() < 0.1 * expected.max()


@pytest.mark.parametrize(
    ("name", "options", "side", "layer", "ends"),
    [
        # Pooling and a linear layer: no backward pass at all.
        ("resnet50", {}, 64, "layer4", None),
        ("tf_efficientnet_lite0", {}, 64, "bn2", None),
        # Its classifier's kernels are whole; autograd has max pooling left.
        ("vgg16", {"mlp_ratio": 0.01}, 224, "features.29", {"MaxPool2DWithIndicesBackward0"}),
        # Through the last block, to what its first norm put out.
        ("vit_small_patch16_224", {"img_size": 64, "depth": 2}, 64, "blocks.1.norm1",
         {"ViewBackward0"}),
    ],
)  # fmt: skip
def test_usual_networks_are_left_to_the_rules(
    name: str,
    options: dict[str, object],
    side: int,
    layer: str,
    ends: set[str] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = timm.create_model(name, num_classes=3, **options).eval()
    handed: list[set[str]] = []
    walk, grad = backward._walk, torch.autograd.grad

    def watched(*arguments: object) -> list[backward._AutogradEdge]:
        edges = walk(*arguments)
        handed.append({edge.node.name() for edge in edges})
        return edges

    passes: list[int] = []

    def counted(*given: object, **options: object) -> tuple[Tensor, ...]:
        passes.append(1)
        found: tuple[Tensor, ...] = grad(*given, **options)
        return found

    monkeypatch.setattr(backward, "_walk", watched)
    monkeypatch.setattr(torch.autograd, "grad", counted)
    explain(model, torch.randn(1, 3, side, side), "all", layer)
    assert handed == ([] if ends is None else [ends])
    assert len(passes) == (0 if ends is None else 3)


def test_a_hook_that_leaves_no_node_still_changes_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    images = torch.randn(2, 3, 4, 4)
    plain = explain(model, images, classes="all", layer="0").maps
    model[1].register_backward_hook(lambda module, inputs, outputs: (3 * inputs[0],))
    tripled = explain(model, images, classes="all", layer="0").maps
    torch.testing.assert_close(tripled, 3 * plain)


@pytest.mark.parametrize("method", ["gradcam", "shapleycam"])
def test_fifty_calls_leave_no_tensor_behind(method: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=32, depth=2)
    images = torch.randn(2, 3, 32, 32)

    def alive() -> int:
        explain(model, images, classes="all", method=method)
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    alive()
    gc.collect()
    gc.disable()
    try:
        before = alive()
        for _ in range(49):
            explain(model, images, classes="all", method=method)
        # Not one waits for the garbage collector either.
        assert alive() == before
    finally:
        gc.enable()
