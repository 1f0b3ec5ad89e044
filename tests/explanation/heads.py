"""Random heads: what real networks do between their last map and their logits, drawn by Hypothesis.

A head is a list of steps: maps (N, C, h, w), perhaps tokens (N, T, C), vectors (N, C), logits. A
step is a name in the tables below and a seed for its weights, so a failing head can be read and
made again from what Hypothesis prints. Some steps are checkpointed, have hooks, or pack what they
save.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Numbers:
    """Weights of one step: the same each time the step runs.

    Parameters
    ----------
    seed : int
    like : Tensor
        Whose type they have.
    """

    def __init__(self, seed: int, like: Tensor) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._dtype = like.dtype

    def normal(self, *shape: int) -> Tensor:
        """Return normal numbers."""
        return torch.randn(*shape, generator=self._generator).to(self._dtype)

    def positive(self, *shape: int) -> Tensor:
        """Return numbers between 0.5 and 1.5."""
        return (torch.rand(*shape, generator=self._generator) + 0.5).to(self._dtype)

    def weight(self, out: int, inputs: int, *kernel: int) -> Tensor:
        """Return a layer's weight, scaled to keep the size of values."""
        return self.normal(out, inputs, *kernel) / math.sqrt(inputs * math.prod(kernel))

    def mask(self, *shape: int) -> Tensor:
        """Return a mask that is True at about two thirds of its places."""
        return torch.rand(*shape, generator=self._generator) < 0.67

    def order(self, many: int) -> Tensor:
        """Return an order of that many things."""
        return torch.randperm(many, generator=self._generator)


Run = Callable[[Tensor, Numbers], Tensor]


class _Reversed(torch.autograd.Function):
    """Gradient reversal, as domain-adversarial heads have it."""

    @staticmethod
    def forward(context: object, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return -gradient


def _apart(x: Tensor, run: Callable[[Tensor], object]) -> Tensor:
    """Return a copy that was changed in place."""
    copy = x * 1
    run(copy)
    return copy


def _set(x: Tensor, index: object, value: object) -> Tensor:
    x = x.clone()
    x[index] = value
    return x


def _norm_of_maps(x: Tensor, n: Numbers) -> Tensor:
    c = x.shape[1]
    return F.batch_norm(x, n.normal(c), n.positive(c), n.positive(c), n.normal(c))


def _linear(x: Tensor, n: Numbers) -> Tensor:
    c = x.shape[-1]
    return F.linear(x, n.weight(c, c), n.normal(c))


def _gated(x: Tensor, n: Numbers) -> Tensor:
    """Squeeze and excite."""
    c = x.shape[1]
    return x * F.linear(x.mean((2, 3)), n.weight(c, c)).sigmoid()[:, :, None, None]


def _spectral(x: Tensor, n: Numbers) -> Tensor:
    """Filter frequencies, as GFNet does; complex numbers in between."""
    turned = torch.fft.rfft2(x.float(), norm="ortho")
    turned = turned * torch.complex(n.normal(1).float(), n.normal(1).float())
    return torch.fft.irfft2(turned, s=x.shape[2:], norm="ortho").to(x.dtype)


MAPS: dict[str, Run] = {
    "batch norm": _norm_of_maps,
    "clamp": lambda x, n: x.clamp(-1, 1.5),
    "channels last": lambda x, n: x.contiguous(memory_format=torch.channels_last),
    "convolution": lambda x, n: F.conv2d(x, n.weight(x.shape[1], x.shape[1], 1, 1)),
    "crop": lambda x, n: _set(x, (slice(None), slice(None), 0), 0.0),
    "depthwise": lambda x, n: F.conv2d(
        x, n.weight(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1]
    ),
    "divided": lambda x, n: x / n.positive(x.shape[1], 1, 1),
    "frequencies": _spectral,
    "gate": _gated,
    "gelu": lambda x, n: F.gelu(x),
    "group norm": lambda x, n: F.group_norm(x, 1, n.positive(x.shape[1]), n.normal(x.shape[1])),
    "in place": lambda x, n: _apart(x, torch.relu_),
    "instance norm": lambda x, n: F.instance_norm(x),
    "layer norm over channels": lambda x, n: F.layer_norm(
        x.permute(0, 2, 3, 1), (x.shape[1],)
    ).permute(0, 3, 1, 2),
    "normalised": lambda x, n: F.normalize(x, dim=1),
    "padded convolution": lambda x, n: F.conv2d(
        x, n.weight(x.shape[1], x.shape[1], 3, 3), padding=1
    ),
    "relu": lambda x, n: x.relu(),
    "residual": lambda x, n: x + F.conv2d(x.relu(), n.weight(x.shape[1], x.shape[1], 1, 1)),
    "scaled": lambda x, n: x * n.normal(x.shape[1], 1, 1),
    "silu": lambda x, n: F.silu(x),
    "subtracted": lambda x, n: torch.sub(x, x.tanh(), alpha=0.3),
}


def _whole_linear(x: Tensor, n: Numbers) -> Tensor:
    return F.linear(x.flatten(1), n.weight(x.shape[1], x[0].numel()), n.normal(x.shape[1]))


def _whole_kernel(x: Tensor, n: Numbers) -> Tensor:
    _, c, *kernel = x.shape
    return F.conv2d(x, n.weight(c, c, *kernel), n.normal(c)).flatten(1)


def _generalised_mean(x: Tensor, n: Numbers) -> Tensor:
    power = n.positive(1) + 1
    return F.softplus(x).pow(power).mean((2, 3)).pow(1 / power)


def _weighed(x: Tensor, n: Numbers) -> Tensor:
    places = torch.einsum("nchw,c->nhw", x, n.normal(x.shape[1])).flatten(1).softmax(1)
    return torch.einsum("nct,nt->nc", x.flatten(2), places)


POOLS: dict[str, Run] = {
    "adaptive": lambda x, n: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "bilinear": lambda x, n: torch.einsum("nchw,ndhw->ncd", x, x.tanh()).mean(2),
    "both": lambda x, n: 0.5 * (x.mean((2, 3)) + x.amax((2, 3))),
    "generalised mean": _generalised_mean,
    "kernel": _whole_kernel,
    "linear on all": _whole_linear,
    "logsumexp": lambda x, n: torch.logsumexp(x, (2, 3)),
    "max": lambda x, n: x.amax((2, 3)),
    "mean": lambda x, n: x.mean((2, 3)),
    "mean, axis by axis": lambda x, n: x.mean(3).mean(-1),
    "mean, kept": lambda x, n: x.mean((-1, -2), keepdim=True)[:, :, 0, 0],
    "softmax over places": _weighed,
    "sum": lambda x, n: x.sum((2, 3)) / x[0, 0].numel(),
    "top places": lambda x, n: x.flatten(2).topk(2, dim=2).values.mean(2),
}

TO_TOKENS: dict[str, Run] = {
    "tokens": lambda x, n: x.flatten(2).transpose(1, 2),
    "tokens, contiguous": lambda x, n: x.flatten(2).transpose(1, 2).contiguous(),
    "tokens with a class token": lambda x, n: torch.cat(
        [n.normal(1, 1, x.shape[1]).expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1
    ),
    "tokens with a mean": lambda x, n: (
        lambda t: torch.cat([t.mean(1, keepdim=True), t], dim=1) + n.normal(1, 1, x.shape[1])
    )(x.flatten(2).transpose(1, 2)),
}


def _split(x: Tensor, made: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    count, places, width = x.shape
    parts = made.reshape(count, places, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    query, key, value = parts.unbind(0)
    return query, key, value


def _joined(found: Tensor, x: Tensor) -> Tensor:
    return found.transpose(1, 2).reshape(x.shape)


def _heads(x: Tensor) -> int:
    return 2 if x.shape[2] % 2 == 0 else 1


def _attention(x: Tensor, n: Numbers, **options: object) -> Tensor:
    width = x.shape[2]
    made = F.linear(x, n.weight(3 * width, width), n.normal(3 * width))
    query, key, value = _split(x, made, _heads(x))
    return x + _joined(F.scaled_dot_product_attention(query, key, value, **options), x)


def _masked(x: Tensor, n: Numbers, added: bool) -> Tensor:
    places = x.shape[1]
    allowed = n.mask(places, places) | torch.eye(places, dtype=torch.bool)
    if added:
        mask = torch.zeros(places, places, dtype=_kind_of(x)).masked_fill(~allowed, -torch.inf)
    return _attention(x, n, attn_mask=mask if added else allowed)


def _kind_of(x: Tensor) -> torch.dtype:
    """Return what attention computes in: autocast's type where there is one."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _normed_queries(x: Tensor, n: Numbers) -> Tensor:
    width, heads = x.shape[2], _heads(x)
    query, key, value = _split(x, F.linear(x, n.weight(3 * width, width)), heads)
    query, key = (F.layer_norm(part, (width // heads,)) for part in (query, key))
    return _joined(F.scaled_dot_product_attention(query.to(value), key.to(value), value), x)


def _biased(x: Tensor, n: Numbers) -> Tensor:
    """Attention with a bias that depends on the tokens, as Swin V2 and BEiT resemble."""
    query, key, value = _split(x, F.linear(x, n.weight(3 * x.shape[2], x.shape[2])), _heads(x))
    scores = query @ key.transpose(-2, -1) + x.mean(2)[:, None, None]
    return _joined((scores.softmax(-1) @ value).to(x.dtype), x)


def _apart_projections(x: Tensor, n: Numbers) -> Tensor:
    count, places, width = x.shape
    query, key, value = (
        F.linear(x, n.weight(width, width), n.normal(width))
        .view(count, places, _heads(x), -1)
        .transpose(1, 2)
        for _ in range(3)
    )
    return _joined(F.scaled_dot_product_attention(query, key, value), x)


def _tied(x: Tensor, n: Numbers) -> Tensor:
    """One projection serves as query, key and value."""
    count, places, width = x.shape
    made = F.linear(x, n.weight(width, width), n.normal(width))
    made = made.view(count, places, _heads(x), -1).transpose(1, 2)
    return x + _joined(F.scaled_dot_product_attention(made, made, made), x)


def _module(x: Tensor, n: Numbers, mask: str = "", **options: bool) -> Tensor:
    """Run torch.nn.MultiheadAttention; sequence first unless told otherwise."""
    count, places, width = x.shape
    module = nn.MultiheadAttention(width, _heads(x), batch_first=True, dtype=x.dtype)
    with torch.no_grad():
        module.in_proj_weight.copy_(n.weight(3 * width, width))
        module.out_proj.weight.copy_(n.weight(width, width))
    given: dict[str, Tensor] = {}
    if mask == "padding":
        given["key_padding_mask"] = ~n.mask(count, places)
        given["key_padding_mask"][:, 0] = False
    if mask == "causal":
        given["attn_mask"] = torch.ones(places, places, dtype=torch.bool).triu(1)
    found: Tensor = module.eval()(x, x, x, **given, **options)[0]
    return found


def _mlp(x: Tensor, n: Numbers) -> Tensor:
    c = x.shape[-1]
    hidden = F.gelu(F.linear(x, n.weight(2 * c, c), n.normal(2 * c)))
    return x + F.linear(hidden, n.weight(c, 2 * c)) * n.normal(c)


def _block(x: Tensor, n: Numbers) -> Tensor:
    c = x.shape[2]
    x = _attention(F.layer_norm(x, (c,), n.positive(c), n.normal(c)), n)
    return _mlp(F.layer_norm(x, (c,), n.positive(c), n.normal(c)), n)


TOKENS: dict[str, Run] = {
    "attention": _attention,
    "attention from three projections": _apart_projections,
    "attention from one projection": _tied,
    "attention with its own bias": _biased,
    "attention with normed queries": _normed_queries,
    "block": _block,
    "block, twice the same": lambda x, n: _mlp(_mlp(x, Numbers(3, x)), Numbers(3, x)),
    "causal attention": lambda x, n: _attention(x, n, is_causal=True),
    "in place": lambda x, n: _apart(x, lambda y: y[:, 0].mul_(0.5)),
    "layer norm": lambda x, n: F.layer_norm(x, (x.shape[2],), n.positive(x.shape[2])),
    "layer norm over all": lambda x, n: F.layer_norm(x, x.shape[1:]),
    "linear": _linear,
    "linear over places": lambda x, n: F.linear(
        x.transpose(1, 2), n.weight(x.shape[1], x.shape[1])
    ).transpose(1, 2),
    "masked attention": lambda x, n: _masked(x, n, added=False),
    "mlp": _mlp,
    "module": _module,
    "module, causal": lambda x, n: _module(x, n, "causal", need_weights=False),
    "module, padding": lambda x, n: _module(x, n, "padding", need_weights=False),
    "module without weights": lambda x, n: _module(x, n, need_weights=False),
    "normalised": lambda x, n: F.normalize(x, dim=-1),
    "positions": lambda x, n: x * n.normal(x.shape[1], x.shape[2]) + n.normal(*x.shape[1:]),
    "prefix attention": lambda x, n: _masked(x, n, added=True),
    "root mean square": lambda x, n: F.rms_norm(x, (x.shape[2],), n.positive(x.shape[2])),
    "scaled": lambda x, n: x * n.normal(x.shape[2]),
    "scaled attention": lambda x, n: _attention(x, n, scale=0.4),
}

TOKEN_POOLS: dict[str, Run] = {
    "first": lambda x, n: x[:, 0],
    "first and mean": lambda x, n: x[:, 0] + x[:, 1:].mean(1),
    "first and mean, side by side": lambda x, n: torch.cat([x[:, 0], x[:, 1:].mean(1)], dim=1),
    "gathered": lambda x, n: x.gather(
        1, n.order(x.shape[1])[:1].expand(len(x), 1)[:, :, None].expand(-1, -1, x.shape[2])
    )[:, 0],
    "last": lambda x, n: x[:, -1],
    "max": lambda x, n: x.amax(1),
    "mean": lambda x, n: x.mean(1),
    "one and another": lambda x, n: (x[:, 0] + x[:, 1]) / 2,
    "query": lambda x, n: F.scaled_dot_product_attention(
        n.normal(1, 1, x.shape[2]).expand(len(x), -1, -1).to(x), x, x
    )[:, 0],
    "unbound": lambda x, n: x.unbind(1)[1],
}


def _safe(x: Tensor) -> Tensor:
    return F.softplus(x) + 0.5


def _wide(x: Tensor) -> int:
    return x.shape[1]


VECTORS: dict[str, Run] = {
    "added, times alpha": lambda x, n: torch.add(x, x.sin(), alpha=-2),
    "adversarial": lambda x, n: _Reversed.apply(x),
    "batch norm": lambda x, n: F.batch_norm(
        x, n.normal(_wide(x)), n.positive(_wide(x)), n.positive(_wide(x)), n.normal(_wide(x))
    ),
    "beside itself": lambda x, n: torch.cat([x, x.tanh()], dim=1),
    "broadcast": lambda x, n: x + x.mean(1, keepdim=True) * n.normal(_wide(x)),
    "buffer / x": lambda x, n: n.normal(_wide(x)) / _safe(x),
    "chosen": lambda x, n: x.index_select(1, n.order(_wide(x))),
    "clamp": lambda x, n: x.clamp(min=-0.5, max=1),
    "clamp in place": lambda x, n: _apart(x, lambda y: y.clamp_(-1, 1)),
    "cumulated": lambda x, n: x.cumsum(1) / _wide(x),
    "detached": lambda x, n: x * x.detach().sigmoid(),
    "divided by number": lambda x, n: x / 3,
    "divided by buffer": lambda x, n: x / n.positive(_wide(x)),
    "divided by itself": lambda x, n: x.sin() / _safe(x),
    "divided in place": lambda x, n: _apart(x, lambda y: y.div_(n.positive(_wide(x)))),
    "dropout": lambda x, n: F.dropout(x, 0.5, training=False),
    "einsum": lambda x, n: torch.einsum("nc,cd,nd->nd", x, n.weight(_wide(x), _wide(x)), x.tanh()),
    "expanded": lambda x, n: (
        (x[:, None].expand(-1, 3, -1) * n.normal(3, _wide(x))).transpose(1, 2).mean(2)
    ),
    "flipped": lambda x, n: x.flip(1) - x,
    "gathered": lambda x, n: x.gather(1, n.order(_wide(x)).expand(len(x), -1)),
    "gated halves": lambda x, n: F.glu(torch.cat([x, x * 2], dim=1), dim=1),
    "gelu": lambda x, n: F.gelu(x, approximate="tanh"),
    "group norm": lambda x, n: F.group_norm(x, 1),
    "in place, a part": lambda x, n: _apart(x, lambda y: y[:, :2].mul_(-2)),
    "layer norm": lambda x, n: F.layer_norm(x, (_wide(x),), n.positive(_wide(x))),
    "linear": _linear,
    "linear, twice the same": lambda x, n: _linear(_linear(x, Numbers(7, x)), Numbers(7, x)),
    "logsumexp": lambda x, n: x - torch.logsumexp(x, 1, keepdim=True),
    "masked": lambda x, n: torch.where(n.mask(_wide(x)), x, torch.zeros_like(x)),
    "masked, by product": lambda x, n: x * n.mask(_wide(x)),
    "minus, times alpha": lambda x, n: torch.sub(x, x.tanh(), alpha=2),
    "normalised": lambda x, n: F.normalize(x, dim=1),
    "number ** x": lambda x, n: 1.5 ** x.clamp(-3, 3),
    "number - x": lambda x, n: 1 - x,
    "number / x": lambda x, n: 2 / _safe(x),
    "over the mean of all": lambda x, n: x / _safe(x.mean()),
    "power": lambda x, n: _safe(x) ** 1.7,
    "power of x": lambda x, n: _safe(x) ** x.tanh(),
    "product": lambda x, n: x * x.tanh(),
    "relu": lambda x, n: x.relu(),
    "relu in place": lambda x, n: torch.relu_(x * 1),
    "reshaped": lambda x, n: x.reshape(-1).relu().view_as(x),
    "rough": lambda x, n: x.to(torch.bfloat16).to(x.dtype),
    "scalar of its own": lambda x, n: x * n.normal(1).squeeze(),
    "scaled": lambda x, n: x * n.normal(_wide(x)),
    "scaled in place": lambda x, n: _apart(x, lambda y: y.mul_(n.normal(_wide(x)))),
    "second half": lambda x, n: torch.cat([x, x * 2], dim=1).chunk(2, dim=1)[1],
    "sigmoid": lambda x, n: x.sigmoid(),
    "softmax": lambda x, n: x.softmax(1),
    "square": lambda x, n: x * x,
    "through a view": lambda x, n: x.unsqueeze(1).squeeze(1).clone(),
    "vector norm": lambda x, n: x / torch.linalg.vector_norm(x, dim=1, keepdim=True).add(0.1),
}


def _squared_distances(x: Tensor, prototypes: Tensor) -> Tensor:
    return ((x[:, None] - prototypes[None]) ** 2).sum(-1) + 0.1


def _cosine(x: Tensor, n: Numbers, classes: int) -> Tensor:
    return 5 * F.normalize(x, dim=1) @ F.normalize(n.normal(classes, _wide(x)), dim=1).t()


def _two_heads(x: Tensor, n: Numbers, classes: int) -> Tensor:
    both = F.linear(x, n.weight(2 * classes, _wide(x)), n.normal(2 * classes))
    return both.chunk(2, dim=1)[1]


def _proto_pool(x: Tensor, n: Numbers, classes: int) -> Tensor:
    """Similarities to prototypes, then a linear layer, as ProtoPNet has it."""
    distances = _squared_distances(x, n.normal(4, _wide(x)))
    return F.linear(torch.log((distances + 1) / distances), n.weight(classes, 4))


Last = Callable[[Tensor, Numbers, int], Tensor]
LOGITS: dict[str, Last] = {
    "batch of experts": lambda x, n, m: (
        torch.stack([F.linear(x, n.weight(m, _wide(x))) for _ in range(2)], dim=2)
        * x[:, :2].softmax(1)[:, None]
    ).sum(2),
    "constant / distance": lambda x, n, m: (
        n.positive(1) / _squared_distances(x, n.normal(m, _wide(x)))
    ),
    "buffer / distance": lambda x, n, m: (
        n.positive(m) / _squared_distances(x, n.normal(m, _wide(x)))
    ),
    "cosine": _cosine,
    "cosine, by similarity": lambda x, n, m: F.cosine_similarity(
        x[:, None], n.normal(m, _wide(x))[None], dim=2
    ),
    "distance": lambda x, n, m: -_squared_distances(x, n.normal(m, _wide(x))),
    "distance over temperature": lambda x, n, m: (
        -_squared_distances(x, n.normal(m, _wide(x))) / n.positive(m)
    ),
    "einsum": lambda x, n, m: torch.einsum("nc,mc->nm", x, n.weight(m, _wide(x))),
    "linear": lambda x, n, m: F.linear(x, n.weight(m, _wide(x)), n.normal(m)),
    "linear, clamped": lambda x, n, m: F.linear(x, n.weight(m, _wide(x))).clamp(-1, 1),
    "linear over temperature": lambda x, n, m: F.linear(x, n.weight(m, _wide(x))) / 0.3,
    "log softmax": lambda x, n, m: F.linear(x, n.weight(m, _wide(x))).log_softmax(1),
    "one of two heads": _two_heads,
    "prototypes": _proto_pool,
    "scaled addmm": lambda x, n, m: torch.addmm(
        n.normal(m), x, n.weight(_wide(x), m), beta=0.5, alpha=2
    ),
    "split and joined": lambda x, n, m: torch.stack(
        F.linear(x, n.weight(m, _wide(x))).unbind(1)[::-1], dim=1
    ),
    "weight of its own": lambda x, n, m: (
        x @ (n.weight(_wide(x), m) * x.mean(0)[:, None]) + x.mean(1)[:, None]
    ),
}

TABLES: dict[str, dict[str, Run]] = {
    "maps": MAPS,
    "to tokens": TO_TOKENS,
    "tokens": TOKENS,
    "token pool": TOKEN_POOLS,
    "pool": POOLS,
    "vectors": VECTORS,
}

# How a step may run.
WAYS = (
    "checkpointed",
    "packed",
    "on the processor",
    "tensor hook",
    "clipping hook",
    "watching hook",
    "kept gradient",
    "node hook",
    "node prehook",
    "module hook",
)


@dataclass(frozen=True)
class Plan:
    """All that makes a head.

    Attributes
    ----------
    steps : tuple of (table, name, seed, way)
    last : str
    seed : int
        Of the last step's weights.
    classes : int
    count : int
        Images N.
    channels : int
    side : int
    numbers : str
        ``"float32"``, ``"float64"``, ``"bfloat16"``, ``"float16"``, or ``"autocast"``: float32
        under bfloat16 autocast.
    """

    steps: tuple[tuple[str, str, int, str], ...]
    last: str
    seed: int
    classes: int
    count: int
    channels: int
    side: int
    numbers: str

    @property
    def dtype(self) -> torch.dtype:
        """The type of images and weights."""
        found: torch.dtype = getattr(torch, "float32" if self.mixed else self.numbers)
        return found

    @property
    def mixed(self) -> bool:
        """Whether it runs under autocast."""
        return self.numbers == "autocast"

    def context(self) -> AbstractContextManager[object]:
        """Return what a forward pass runs in."""
        return torch.autocast("cpu", torch.bfloat16) if self.mixed else nullcontext()


class Step(nn.Module):
    """One step, in its way."""

    def __init__(self, table: str, name: str, seed: int, way: str) -> None:
        super().__init__()
        self.name, self.seed, self.way = f"{table}: {name}", seed, way
        self._run = TABLES[table][name]
        self.seen: list[Tensor] = []
        if way == "module hook":
            self.register_full_backward_hook(
                lambda module, inputs, outputs: tuple(
                    None if gradient is None else 0.5 * gradient for gradient in inputs
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "checkpointed":
            found: Tensor = checkpoint(self._plain, x, use_reentrant=False)
            return found
        with self._packing():
            found = self._plain(x)
        if found.requires_grad:
            self._hook(found)
        return found

    def _plain(self, x: Tensor) -> Tensor:
        return self._run(x, Numbers(self.seed, x))

    def _packing(self) -> AbstractContextManager[object]:
        if self.way == "packed":
            # A lossy package: autograd continues with what comes out of it.
            return torch.autograd.graph.saved_tensors_hooks(lambda t: t * 0.5, lambda t: t)
        if self.way == "on the processor":
            return torch.autograd.graph.save_on_cpu()
        return nullcontext()

    def _hook(self, found: Tensor) -> None:
        if self.way == "tensor hook":
            found.register_hook(lambda gradient: 2 * gradient)
        if self.way == "clipping hook":
            found.register_hook(lambda gradient: gradient.clamp(-0.02, 0.02))
        if self.way == "watching hook":
            found.register_hook(self.seen.append)
        if self.way == "kept gradient":
            found.retain_grad()
        if found.grad_fn is not None and self.way == "node hook":
            found.grad_fn.register_hook(
                lambda inputs, outputs: tuple(None if g is None else -g for g in inputs)
            )
        if found.grad_fn is not None and self.way == "node prehook":
            found.grad_fn.register_prehook(
                lambda outputs: tuple(None if g is None else 3 * g for g in outputs)
            )


class Network(nn.Module):
    """A convolution, and a head on its maps."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        weights = Numbers(plan.seed + 1, torch.empty(0, dtype=plan.dtype))
        self.trunk = nn.Conv2d(3, plan.channels, 1, bias=False, dtype=plan.dtype)
        with torch.no_grad():
            self.trunk.weight.copy_(weights.normal(plan.channels, 3, 1, 1))
        self.steps = nn.ModuleList(Step(*step) for step in plan.steps)

    def images(self) -> Tensor:
        """Return the images to ask about."""
        plan = self.plan
        numbers = Numbers(plan.seed, torch.empty(0, dtype=plan.dtype))
        return numbers.normal(plan.count, 3, plan.side, plan.side)

    def head(self, maps: Tensor) -> Tensor:
        """Return the logits."""
        for step in self.steps:
            maps = step(maps)
        return LOGITS[self.plan.last](maps, Numbers(self.plan.seed, maps), self.plan.classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.trunk(images))

    def one_by_one(self, images: Tensor) -> Iterator[Tensor]:
        """Yield what autograd says of each class, asked for it alone."""
        with self.plan.context():
            leaf = self.trunk(images).detach().requires_grad_()
            logits = self.head(leaf.clone())
        for k in range(logits.shape[1]):
            (found,) = torch.autograd.grad(
                logits[:, k].sum(), leaf, retain_graph=True, allow_unused=True
            )
            yield found if found is not None else torch.zeros_like(leaf)


# Half of all steps are of these, which most networks have, and which there are rules for.
USUAL = {
    "maps": ["batch norm", "relu"],
    "to tokens": ["tokens", "tokens with a class token"],
    "tokens": ["attention", "block", "layer norm", "linear", "mlp", "scaled", "scaled attention"],
    "token pool": ["first", "first and mean", "last", "mean", "one and another"],
    "pool": ["adaptive", "kernel", "linear on all", "mean"],
    "vectors": [
        "added, times alpha",
        "broadcast",
        "divided by buffer",
        "divided by number",
        "buffer / x",
        "gelu",
        "layer norm",
        "linear",
        "masked, by product",
        "relu",
        "scaled",
        "through a view",
    ],
}


def _steps(table: str, many: int, odd: bool) -> st.SearchStrategy[list[tuple[str, str, int, str]]]:
    every = sorted(TABLES[table])
    names = st.sampled_from(USUAL[table] * (len(every) // len(USUAL[table])) + every)
    ways = st.one_of(st.just(""), st.sampled_from(WAYS)) if odd else st.just("")
    step = st.tuples(st.just(table), names, st.integers(0, 99), ways)
    return st.lists(step, min_size=many, max_size=many)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw a head."""
    odd = draw(st.sampled_from([False, False, True]))
    steps = draw(_steps("maps", draw(st.sampled_from([0, 0, 1, 2])), odd))
    if draw(st.booleans()):
        steps += draw(_steps("to tokens", 1, odd))
        steps += draw(_steps("tokens", draw(st.sampled_from([0, 1, 2, 3])), odd))
        steps += draw(_steps("token pool", 1, odd))
    else:
        steps += draw(_steps("pool", 1, odd))
    steps += draw(_steps("vectors", draw(st.sampled_from([0, 0, 1, 2, 3, 4])), odd))
    # PyTorch 2.14.1's batch norm has wrong gradients on a CPU where a single image's gradient comes
    # back through a transposition, (1, T, C) to (1, C, h, w): nothing to compare with.
    least = 2 if any(step[1] == "batch norm" for step in steps) else 1
    return Plan(
        steps=tuple(steps),
        last=draw(st.sampled_from(["linear"] * len(LOGITS) + sorted(LOGITS))),
        seed=draw(st.integers(0, 99)),
        classes=draw(st.integers(2, 5)),
        count=draw(st.integers(least, 3)),
        channels=draw(st.sampled_from([3, 4, 6])),
        side=draw(st.integers(2, 4)),
        numbers=draw(
            st.sampled_from(
                ["float32"] * 7 + ["float64", "bfloat16", "float16", "autocast", "autocast"]
            )
        ),
    )
