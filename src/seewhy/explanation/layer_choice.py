"""Which layer ``layer="auto"`` explains.

A convolutional network's last spatial map before pooling; a transformer's last norm before its
last attention, whose tokens still all speak to the class token. A layer counts only where it
depends on the image, leads to the scores and is not the output itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.module_calls import ModuleCall, Node, TracedPass, behind, made_by, watch
from seewhy.explanation.targets import Target
from seewhy.explanation.thread_turns import evaluating

# Pooling makes a coarser copy of the map before it; that map is the better one to look at.
_POOLS = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.FractionalMaxPool2d,
    nn.LPPool2d,
)

_ATTENTION_NAMES = {"attn", "attention", "self_attn", "self_attention"}

_Structure = tuple[object, ...]
# Finding a layer takes a forward pass of one image: it is done once a network and image size.
_chosen: WeakKeyDictionary[nn.Module, tuple[_Structure, str]] = WeakKeyDictionary()


def attends(name: str, module: nn.Module) -> bool:
    """Tell an attention layer by its class's name, or by what its block calls it."""
    kind = type(module).__name__.lower()
    called = name.rpartition(".")[2]
    if called in _ATTENTION_NAMES:
        return True
    return ("attention" in kind or kind.endswith("attn")) and not _is_block(module)


def _is_block(module: nn.Module) -> bool:
    """Say whether a module is a block around an attention layer: it has a norm beside one."""
    inner = list(module.named_children())
    return any(_is_norm(one) for _, one in inner) and any(attends(n, one) for n, one in inner)


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def choose_layer(model: nn.Module, image: Tensor, target: Target | None = None) -> str:
    """Return the name of the layer that ``layer="auto"`` explains.

    Where an attention layer follows the last spatial map, it is the last norm before the last
    attention (pre-norm networks: ViT, DeiT, Swin), or, where that attention has no norm before
    it, the output of the block before (Swin v2). Elsewhere it is the last map before pooling.

    One image (1, C, H, W) is sent through the model, for a graph without values, unless a network
    of this structure was asked before without a target; the target says which of the model's
    outputs is explained. The model's modes are as before afterwards.

    Raises ConfigError where no module puts out a map with more than one place, or two layers lead
    to the scores side by side.
    """
    with evaluating(model):
        if target is not None:
            return _choose(model, image, target)
        structure = (image.shape[1:], *((name, type(m)) for name, m in model.named_modules()))
        if model not in _chosen or _chosen[model][0] != structure:
            _chosen[model] = structure, _choose(model, image, None)
        return _chosen[model][1]


def _choose(model: nn.Module, image: Tensor, target: Target | None) -> str:
    found = watch(model, image, target)
    visits = _leading(found)
    attentions = [visit for visit in visits if attends(visit.name, visit.module)]
    last = attentions[-1] if attentions else None
    maps = [v for v in _unpooled(visits) if v.layout is not None and not _is_output(v, found)]
    spatial = [visit for visit in maps if _is_spatial(visit, last)]
    late = last is None or (bool(spatial) and spatial[-1].ended > last.ended)
    # Without attention, tokens count as much as maps do (MLP-Mixer).
    choice = maps if last is None else spatial if late else _before_attention(maps, last)
    if not choice:
        raise ConfigError(
            f"{type(model).__name__}: no layer that depends on the images and leads to the scores "
            "puts out a spatial map (N, C, h, w) or a grid of tokens; name one with layer="
        )
    if found.traced:
        _check_single(choice[-1], maps, found, joined=not late)
    return choice[-1].name


def _leading(found: TracedPass) -> list[ModuleCall]:
    """Return the calls that depend on the image and lead to the scores."""
    visits = [visit for visit in found.visits if visit.name]
    if not found.traced:
        return [visit for visit in visits if visit.ended not in found.fixed]
    nodes = _behind_scores(found, set())
    return [visit for visit in visits if visit.node in nodes]


def _behind_scores(found: TracedPass, ends: set[Node]) -> set[Node]:
    """Return the nodes between the scores and the image, or certain nodes on the way."""
    passed: set[Node] = set()
    for scores in found.scores:
        passed |= behind(scores.grad_fn, ends)[1]
    return passed


def _is_output(visit: ModuleCall, found: TracedPass) -> bool:
    """Say whether a call put out the scores themselves, but for their size or activation."""
    if not found.traced:
        return any(visit.output is output for output in found.outputs)
    return any(visit.node in made_by(output) for output in found.outputs)


def _is_spatial(visit: ModuleCall, attention: ModuleCall | None) -> bool:
    """Say whether a call put out (N, C, h, w), and not from within the last attention."""
    inside = attention is not None and visit.name.startswith(attention.name + ".")
    return visit.layout is not None and visit.layout.kind == "channels first" and not inside


def _before_attention(maps: list[ModuleCall], last: ModuleCall) -> list[ModuleCall]:
    """Return the maps ready when the last attention began, up to the one to explain."""
    ready = [visit for visit in maps if visit.ended < last.began]
    block = last.name.rpartition(".")[0]
    norms = [visit for visit in ready if _is_norm(visit.module)]
    if norms and norms[-1].name.rpartition(".")[0] == block:
        return norms
    return ready


def _check_single(
    chosen: ModuleCall, maps: list[ModuleCall], found: TracedPass, joined: bool
) -> None:
    """Refuse to choose where another map leads to the scores beside the chosen one.

    With `joined`, two maps that both work on a third are parts of one block, as in transformers
    whose attention is parallel to other layers.
    """
    others = _beside(chosen, maps, found, joined)
    same = [other for other in others if other.name == chosen.name]
    if same:
        runs = [visit for visit in found.visits if visit.name == chosen.name]
        first, second = sorted((runs.index(same[-1]) + 1, runs.index(chosen) + 1))
        raise ConfigError(
            f"layer {chosen.name!r}: runs {len(runs)} times side by side in one forward "
            f"pass, and each run has a map of its own; choose {chosen.name}@{first} or "
            f"{chosen.name}@{second}"
        )
    if others:
        raise ConfigError(
            f"auto: the layers {others[-1].name!r} and {chosen.name!r} lead to the scores side by "
            "side; name one of them with layer=, or both for one map"
        )


def _beside(
    chosen: ModuleCall, maps: list[ModuleCall], found: TracedPass, joined: bool
) -> list[ModuleCall]:
    """Return the maps that lead to the scores past the chosen one, and are not made of it."""
    own = behind(chosen.node, set())[1]
    past = _behind_scores(found, {chosen.node}) - own
    others = []
    for other in maps:
        if other.node not in past:
            continue
        theirs = behind(other.node, set())[1]
        common = joined and any(one.node in own and one.node in theirs for one in maps)
        if chosen.node not in theirs and not common:
            others.append(other)
    return others


def _unpooled(visits: list[ModuleCall]) -> Iterator[ModuleCall]:
    """Leave out pools, and containers that end in one: they put out the very tensor it made."""
    pooled: list[Tensor] = []
    for visit in visits:
        if isinstance(visit.module, _POOLS) or any(visit.output is tensor for tensor in pooled):
            pooled.append(visit.output)
        else:
            yield visit
