r"""LeGrad, for vision transformers: how sensitive the score is to each block's attention.

Attention is read by taking the place of PyTorch's scaled dot-product attention while the model
runs; modules stay as they are. Knows blocks and tokens, and what follows the last block only
through the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seewhy.errors import ConfigError
from seewhy.explanation.engine import MethodContext, RecordedLayer
from seewhy.explanation.layer_choice import attends
from seewhy.explanation.layers import find_layer
from seewhy.explanation.spatial_layout import SpatialLayout
from seewhy.explanation.thread_turns import hooked
from seewhy.explanation.variants import agree, logits_behind
from seewhy.explanation.wrappers import layer_names


def legrad(gradients: Tensor, layout: SpatialLayout) -> Tensor:
    r"""LeGrad of one block: positive gradients by attention, averaged over heads and queries.

    .. math:: L^{c,l}_j = \frac{1}{H\,T} \sum_{h=1}^{H} \sum_{i=1}^{T}
              \mathrm{ReLU}\Big(\frac{\partial s^l}{\partial A^l_{h,i,j}}\Big)

    with :math:`A^l` block l's attention probabilities (H heads, T queries i, T keys j) and
    :math:`s^l` the score of class c as the classifier would give it for the mean of the tokens
    that block puts out. The map is the mean over blocks, at the patches' places: from gradients
    (N, H, T, T) and the layout of the tokens to (N, h, w).

    References
    ----------
    Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers via Feature
    Formation Sensitivity", ICCV 2025, arXiv 2404.03214, equations 4 to 7.
    """
    keys = gradients.relu().mean(dim=(1, 2))
    return layout.to_maps(keys[:, :, None])[:, 0]


def attention_blocks(model: nn.Module) -> tuple[str, ...]:
    """Name the blocks of a transformer: the modules that hold an attention layer.

    Raises ConfigError where there are none.
    """
    names = [name for name, module in layer_names(model).items() if attends(name, module)]
    outermost = [n for n in names if not any(n.startswith(other + ".") for other in names)]
    blocks = tuple(dict.fromkeys(block for n in outermost if (block := n.rpartition(".")[0])))
    if not blocks:
        raise ConfigError(
            f"legrad: expected a vision transformer, but {type(model).__name__} has no block with "
            "an attention layer; choose gradcam or layercam"
        )
    return blocks


def legrad_maps(case: MethodContext) -> Tensor:
    """Return LeGrad's maps over all blocks of a case, (N, K, h, w).

    The image runs once more, block by block; the graph of a block is dropped when its maps are
    found.
    """
    _check_last(case)
    directions = _directions(case)
    sums: list[Tensor] = []
    attention = _ReadAttention(len(case.images))

    def hook(index: int, layer: RecordedLayer) -> Callable[[nn.Module, object, Tensor], Tensor]:
        def found(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            leaf = attention.take(layer)
            maps = []
            for k in range(case.columns):
                direction = directions[k, index][:, None] / output.shape[1]
                (gradient,) = torch.autograd.grad(
                    output, leaf, direction.expand_as(output).to(output.dtype), retain_graph=True
                )
                maps.append(legrad(gradient.float(), layer.layout))
            sums.append(torch.stack(maps, dim=1))
            torch.set_grad_enabled(False)
            return output.detach()

        return found

    layers = case.layers.values()
    hooks = {layer.name: hook(index, layer) for index, layer in enumerate(layers)}
    with _hooked(case.model, hooks, attention), attention:
        case.model(case.images)
    return torch.stack(sums).mean(dim=0)


def _check_last(case: MethodContext) -> None:
    """Insist on the last block: what follows it is the classifier."""
    last = attention_blocks(case.model)[-1]
    if list(case.layers)[-1] != last:
        raise ConfigError(
            f"legrad: expected the last of the named blocks to be the network's last, {last!r}, "
            f"but got {', '.join(case.layers)}; name the last few, or none for all"
        )


def _directions(case: MethodContext) -> Tensor:
    """Return each block's score's gradient by the mean of its tokens, (K, blocks, N, C).

    A block's mean token, in every token's place, goes through what follows the last block:
    whatever the classifier pools there, it pools that. Beside them go the last block's own
    tokens, which must give the image's logits again.
    """
    layers = list(case.layers.values())
    own, count = layers[-1].output.detach(), len(case.images)
    for layer in layers:
        if layer.layout.kind != "tokens" or layer.output.shape != own.shape:
            raise ConfigError(
                "legrad: expected blocks that all put out the same tokens (N, T, C), but "
                f"{layer.name!r} puts out {tuple(layer.output.shape)}, {layers[-1].name!r} "
                f"{tuple(own.shape)}; name the last blocks with layer=, or choose gradcam"
            )
    found = []
    for layer in layers:
        leaf = layer.output.detach().mean(dim=1).requires_grad_()
        with torch.enable_grad():
            tokens = torch.cat([own, leaf[:, None].expand_as(own)])
            logits = logits_behind(case, case.images[:1], layers[-1], tokens)
        if not agree(logits[:count], case.logits):
            raise ConfigError(
                f"legrad: the logits depend on more than what block {layers[-1].name!r} puts out; "
                "name the last blocks with layer=, or choose gradcam"
            )
        asked = [case.question.coefficients(k, logits[count:]) for k in range(case.columns)]
        rows = [F.pad(coefficients, (0, 0, count, 0)) for coefficients in asked]
        gradients = [torch.autograd.grad(logits, leaf, row, retain_graph=True)[0] for row in rows]
        found.append(torch.stack(gradients))
    return torch.stack(found, dim=1)


@contextmanager
def _hooked(
    model: nn.Module, hooks: dict[str, Callable[..., Tensor]], attention: _ReadAttention
) -> Iterator[None]:
    blocks = {name: find_layer(model, name) for name in hooks}
    try:
        with hooked(
            after=[(blocks[name], hook) for name, hook in hooks.items()],
            before=[(block, attention.begin) for block in blocks.values()],
        ):
            yield
    finally:
        torch.set_grad_enabled(False)


class _ReadAttention(TorchFunctionMode):
    """Computes attention probabilities openly in some blocks; the graph begins at them."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self._read: list[Tensor] = []
        self._reads = False

    def begin(self, module: nn.Module, inputs: object) -> None:
        """Read from here on; a hook in front of a block."""
        self._reads = True

    def take(self, layer: RecordedLayer) -> Tensor:
        """Return a block's attention (N, H, T, T), read since `begin`; read no more."""
        tokens = layer.output.shape[1]
        fitting = [leaf for leaf in self._read if leaf.shape[-2:] == (tokens, tokens)]
        self._read.clear()
        self._reads = False
        if len(fitting) != 1:
            raise ConfigError(
                f"legrad: expected block {layer.name!r} to attend once from all {tokens} tokens "
                f"to all, through scaled_dot_product_attention, but it does so {len(fitting)} "
                "times; choose gradcam"
            )
        return fitting[0]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self._reads:
            return func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func is F.multi_head_attention_forward and _is_plain(args, kwargs):
            return self._attend_packed(*args, **kwargs)
        return func(*args, **kwargs)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if is_causal or enable_gqa or len(query) != self._count:
            options: Any = {"scale": scale, "enable_gqa": enable_gqa}
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask, dropout_p, is_causal, **options
            )
        scores = query @ key.transpose(-2, -1) * (scale or query.shape[-1] ** -0.5)
        if attn_mask is not None:
            hidden = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -torch.inf) if hidden else scores + attn_mask
        leaf = scores.softmax(dim=-1).detach().to(value.dtype).requires_grad_()
        self._read.append(leaf)
        torch.set_grad_enabled(True)
        return leaf @ value

    def _attend_packed(
        self,
        tokens: Tensor,
        key: Tensor,
        value: Tensor,
        width: int,
        heads: int,
        weight: Tensor,
        bias: Tensor | None,
        *rest: Any,
        **options: Any,
    ) -> tuple[Tensor, None]:
        """Do what ``nn.MultiheadAttention`` does to tokens (T, N, C), openly."""
        out_weight, out_bias = rest[4:6]
        count, batch, _ = tokens.shape
        packed = F.linear(tokens, weight, bias).view(count, batch, 3, heads, width // heads)
        query, key, value = packed.permute(2, 1, 3, 0, 4)  # each (N, heads, T, C / heads)
        mixed = self._attend(query, key, value).permute(2, 0, 1, 3).reshape(count, batch, width)
        return F.linear(mixed, out_weight, out_bias), None


def _is_plain(args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Say whether multi-head attention is self-attention with nothing added and no mask."""
    if len(args) < 13 or args[2] is not args[0] or args[1] is not args[0] or args[0].ndim != 3:
        return False
    _, _, _, _, _, weight, _, bias_k, bias_v, zero, *_ = args
    masks = options.get("key_padding_mask"), options.get("attn_mask")
    added = (bias_k, bias_v, *masks)
    return weight is not None and not zero and all(value is None for value in added)
