r"""The backward pass through attention from few queries, to the tokens that were projected.

With queries Q (R of them, R small), keys K and values V of one head, attention puts out

.. math:: O = P V, \qquad P = \mathrm{softmax}(Q K^\top s)

and from a gradient G by O

.. math:: \partial V = P^\top G, \quad \partial K = S^\top Q, \quad \partial Q = S K, \qquad
          S = s\, P \circ (G V^\top - (G V^\top \circ P) 1 1^\top)

P and S have R rows: what goes back to keys and values has rank R a head, and is taken through the
projection that made them before it is spread over all tokens. Knows nodes, no networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.explanation.gradients.compact import LazyGradients, TokenGradients
from seewhy.explanation.gradients.derivatives import Step
from seewhy.explanation.gradients.graph import VIEWS, Node, saved, saved_weight, shape_of, signed

# By their nodes' names, under which each keeps its mask; one takes none.
_ATTENTION = {
    "ScaledDotProductFlashAttentionForCpuBackward0": "attn_mask",
    "ScaledDotProductFlashAttentionBackward0": None,
    "ScaledDotProductEfficientAttentionBackward0": "attn_bias",
    "ScaledDotProductCudnnAttentionBackward0": "attn_bias",
}
_SPLITS = VIEWS | {"UnbindBackward0", "PermuteBackward0", "TransposeBackward0"}


def back_through_attention(node: Node, gradient: TokenGradients) -> list[Step] | None:
    """Return the gradients before an attention from those of few tokens, or None.

    `node` joins the heads, from (N, H, T, d) to (N, T, H, d), and `gradient` is by its output. The
    steps are by the tokens that one linear layer projected to queries, keys and values, or, where
    those were made otherwise, by queries, keys and values.
    """
    attention = _joined_heads(node, gradient)
    if attention is None:
        return None
    found = _few_queries(attention, gradient)
    return found.through_projection(attention) or found.as_steps(attention)


def _joined_heads(node: Node, gradient: TokenGradients) -> Node | None:
    """Return the plain attention whose heads a node joins, if it is one."""
    if node.name() != "TransposeBackward0" or len(gradient.shape) != 4:
        return None
    ((attention, place),) = node.next_functions
    axes = {signed(saved(node, "dim0")) % 4, signed(saved(node, "dim1")) % 4}
    if axes != {1, 2} or place or attention is None or attention.name() not in _ATTENTION:
        return None
    mask = _ATTENTION[attention.name()]
    query, key, value = (saved(attention, name) for name in ("query", "key", "value"))
    plain = (
        (mask is None or saved(attention, mask) is None)
        and not saved(attention, "is_causal")
        and not saved(attention, "dropout_p")
        and query.shape == key.shape == value.shape
        and query.device == gradient.values.device
    )
    return attention if plain else None


@dataclass(frozen=True)
class _FewQueries:
    """What the formulas above name, for K scores, N images and H heads.

    The scores are beside the queries, so that one product serves them all.
    """

    queries: Tensor  # (N, H, R, d)
    weights: Tensor  # (N, H, R, T): P
    by_output: Tensor  # (N, H, K, R, d): G
    by_scores: Tensor  # (N, H, K, R, T): S
    by_queries: Tensor  # (N, H, K, R, d)
    tokens: tuple[int, ...]

    def as_steps(self, attention: Node) -> list[Step]:
        """Return the gradients by queries, keys and values."""

        def query(k: int) -> Tensor:
            images, heads, _, width = self.queries.shape
            filled = self.queries.new_zeros(images, heads, self.weights.shape[-1], width)
            filled[:, :, self.tokens] = self.by_queries[:, :, k]
            return filled

        makers = (
            query,
            lambda k: self.by_scores[:, :, k].transpose(-2, -1) @ self.queries,
            lambda k: self.weights.transpose(-2, -1) @ self.by_output[:, :, k],
        )
        parents = attention.next_functions[:3]
        return [
            (parent, place, LazyGradients(make))
            for (parent, place), make in zip(parents, makers, strict=True)
            if parent is not None
        ]

    def through_projection(self, attention: Node) -> list[Step] | None:
        """Return the gradient by the tokens behind one projection, if there is one."""
        linear = _projection(attention)
        weight = None if linear is None else saved_weight(linear)
        if linear is None or weight is None:
            return None
        made = [saved(attention, name) for name in ("query", "key", "value")]
        if len({tensor.untyped_storage().data_ptr() for tensor in made}) > 1:
            return None
        parts = [_part(weight, tensor, shape_of(linear)) for tensor in made]
        if any(part is None for part in parts):
            return None
        to_query, to_key, to_value = parts  # (H, d, C) each
        own = torch.einsum("nhkrd,hdc->knrc", self.by_queries, to_query)
        by_value = torch.einsum("nhkrd,hdc->knhrc", self.by_output, to_value)
        by_key = torch.einsum("nhrd,hdc->nhrc", self.queries, to_key)

        def make(k: int) -> Tensor:
            spread = torch.cat([self.by_scores[:, :, k], self.weights], dim=1).flatten(1, 2)
            made_of = torch.cat([by_key, by_value[k]], dim=1).flatten(1, 2)  # (N, 2·H·R, C)
            found = spread.transpose(1, 2) @ made_of  # (N, T, C)
            found[:, self.tokens] += own[k]
            return found.flatten(0, 1)

        (parent,) = [edge for edge in linear.next_functions if edge[0] is not None]
        return [(*parent, LazyGradients(make))]


def _few_queries(attention: Node, gradient: TokenGradients) -> _FewQueries:
    kind = gradient.values.dtype
    # The weights of so few queries are at least float32, as within autograd's kernels.
    exact = torch.promote_types(kind, torch.float32)
    query, key, value = (saved(attention, name).to(exact) for name in ("query", "key", "value"))
    given_scale = saved(attention, "scale")
    scale = query.shape[-1] ** -0.5 if given_scale is None else given_scale
    asked = query[:, :, gradient.tokens]
    weights = (asked @ key.transpose(-2, -1) * scale).softmax(dim=-1)
    scores, images, rows, _ = gradient.values.shape
    given = gradient.values.to(exact)
    given = given.reshape(scores, images, rows, query.shape[1], query.shape[3])
    given = given.permute(1, 3, 0, 2, 4)  # (N, H, K, R, d)
    by_weights = _each(given, value.transpose(-2, -1))
    weighted = weights[:, :, None]
    along = (by_weights * weighted).sum(-1, keepdim=True)
    by_scores = weighted * (by_weights - along) * scale
    return _FewQueries(
        queries=asked.to(kind),
        weights=weights.to(kind),
        by_output=given.to(kind),
        by_scores=by_scores.to(kind),
        by_queries=_each(by_scores, key).to(kind),
        tokens=gradient.tokens,
    )


def _each(rows: Tensor, matrix: Tensor) -> Tensor:
    """Multiply rows (N, H, K, R, I) by each head's matrix (N, H, I, O)."""
    return (rows.flatten(2, 3) @ matrix).view(*rows.shape[:4], matrix.shape[-1])


def _projection(attention: Node) -> Node | None:
    """Return the one linear layer of which queries, keys and values are views."""
    waiting = [parent for parent, _ in attention.next_functions[:3]]
    met: set[Node] = set()
    ends: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node is None:
            return None
        if node.name() not in _SPLITS:
            ends.add(node)
        elif node not in met:
            met.add(node)
            waiting.extend(parent for parent, _ in node.next_functions)
    return ends.pop() if len(ends) == 1 else None


def _part(weight: Tensor, view: Tensor, shape: torch.Size) -> Tensor | None:
    """Return the rows (H, d, C) of a projection's weight (D, C) that made a view (N, H, T, d).

    `shape` is that of the projection's output, (N·T, D). None where the view does not go through
    whole tokens.
    """
    count, heads, places, width = view.shape
    by_image, by_head, by_token, by_channel = view.stride()
    whole = (
        tuple(shape) == (count * places, len(weight))
        and view.untyped_storage().nbytes() == shape.numel() * view.element_size()
        and (by_token == len(weight) or places == 1)
        and (by_image == places * len(weight) or count == 1)
    )
    if not whole:
        return None
    return weight.as_strided(
        (heads, width, weight.shape[1]),
        (by_head * weight.stride(0), by_channel * weight.stride(0), weight.stride(1)),
        weight.storage_offset() + view.storage_offset() * weight.stride(0),
    )
