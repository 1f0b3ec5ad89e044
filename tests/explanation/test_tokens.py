"""Leaving out tokens without a gradient changes no gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy import explain
from seewhy.explanation import tokens
from seewhy.explanation.tokens import FewTokens


def _class_token(values: Tensor) -> Tensor:
    return values[:, 0]


def _mean(values: Tensor) -> Tensor:
    return values.mean(1)


def _nothing(values: Tensor) -> Tensor:
    return values.sum(1) * 0


@pytest.mark.parametrize("pool", [_class_token, _mean, _nothing])
@pytest.mark.parametrize(
    "layer",
    [
        lambda x, w, b: F.linear(x, w, b),
        lambda x, w, b: F.linear(x, w),
        lambda x, w, b: F.gelu(x),
        lambda x, w, b: F.gelu(x, approximate="tanh"),
        lambda x, w, b: F.scaled_dot_product_attention(
            x[:, None], x[:, None] @ w, x[:, None].exp()
        )[:, 0],
        lambda x, w, b: F.scaled_dot_product_attention(
            x[:, None], x[:, None] @ w, x[:, None].exp(), scale=0.3
        )[:, 0],
        lambda x, w, b: F.scaled_dot_product_attention(
            x[:, None], x[:, None] @ w, x[:, None].exp(), torch.ones(9, 9).tril().bool()
        )[:, 0],
        # A weight with a gradient of its own is autograd's affair.
        lambda x, w, b: F.linear(x, w * x.mean(), b),
    ],
)
def test_gradients_are_autograds(
    layer: Callable[[Tensor, Tensor, Tensor], Tensor], pool: Callable[[Tensor], Tensor]
) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(6, 6).double(), torch.randn(6).double()
    leaf = torch.randn(2, 9, 6).double().requires_grad_()
    factors = torch.randn(2, 6).double()
    (expected,) = torch.autograd.grad((pool(layer(leaf, weight, bias)) * factors).sum(), leaf)
    with FewTokens():
        score = (pool(layer(leaf, weight, bias)) * factors).sum()
    for _ in range(2):
        (found,) = torch.autograd.grad(score, leaf, retain_graph=True)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_transformers_maps_are_the_same(pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=4, img_size=64, depth=2, global_pool=pool
    ).eval()
    torch.nn.init.normal_(model.head.weight)
    images = torch.randn(2, 3, 64, 64)
    rows: list[int] = []
    original = torch.ops.aten.gelu_backward

    def counted(gradient: Tensor, values: Tensor, **options: str) -> Tensor:
        rows.append(len(gradient))
        return original(gradient, values, **options)

    with monkeypatch.context() as patched:
        patched.setattr(tokens.torch.ops.aten, "gelu_backward", counted)
        found = explain(model, images, classes="all").maps
    # Two class tokens of two images, or all their 17 tokens (the class token's alone is zero).
    assert rows == [2 if pool == "token" else 34] * 4
    monkeypatch.setattr("seewhy.explanation.tokens._FEW", -1)
    dense = explain(model, images, classes="all").maps
    torch.testing.assert_close(found, dense, rtol=1e-4, atol=1e-5 * float(dense.max()))
    assert dense.sum() > 0


def test_a_transformers_maps_under_autocast_are_near_those_in_float32() -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=64, depth=2).eval()
    torch.nn.init.normal_(model.head.weight)
    images = torch.randn(2, 3, 64, 64)
    expected = explain(model, images, classes="all").maps
    with torch.autocast("cpu", torch.bfloat16):
        found = explain(model, images, classes="all").maps
    assert (found - expected).abs().max() < 0.1 * expected.max()
