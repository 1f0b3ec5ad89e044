"""What backbones are called: the paper's short names, timm's names and tags, folder names.

Knows which names there are, nothing of what stands behind them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
from torch import nn

from seewhy.config import BackboneConfig
from seewhy.errors import BackboneError, near_names

SHORT_NAMES = {
    "resnet50": "resnet50.tv_in1k",
    "inception_v3": "inception_v3.tf_in1k",
    "vgg16": "vgg16.tv_in1k",
}
LOCAL = "local-dir:"
_LONGEST_SLUG = 60


def full_name(name: str) -> str:
    """Turn what a person typed into timm's name, its tag included where they or we gave one.

    Raises BackboneError for a name or tag that timm does not know, with near ones.
    """
    architecture, dot, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = sorted({*SHORT_NAMES, *timm.list_models()})
        raise BackboneError(
            f"{name!r}: timm has no backbone of this name{near_names(architecture, known)}; "
            "`seewhy models` lists some"
        )
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if dot and tag not in tags:
        listed = f"it has {', '.join(sorted(tags))}" if tags else "it has none"
        raise BackboneError(f"{name}: timm's {architecture} has no weights {tag!r}; {listed}")
    return SHORT_NAMES.get(name, name)


def architecture_of(model: nn.Module) -> str:
    """Return a timm model's architecture, without a tag, or its class's name."""
    return str(timm_config(model).get("architecture") or type(model).__name__)


def timm_config(model: nn.Module) -> dict[str, Any]:
    """Return what timm noted about a model's weights and preprocessing; empty for any other."""
    return dict(getattr(model, "pretrained_cfg", None) or {})


def slugs(configs: Sequence[BackboneConfig]) -> tuple[str, ...]:
    """Return a folder name for each backbone: safe, and unique whatever its letters' case.

    Letters, digits, dot, hyphen and underscore; the second and third of a name end in -2, -3.
    """
    taken: set[str] = set()
    found: list[str] = []
    for config in configs:
        slug = base = _slug(config.name)
        count = 1
        while slug.casefold() in taken:
            count += 1
            slug = f"{base}-{count}"
        taken.add(slug.casefold())
        found.append(slug)
    return tuple(found)


def _slug(name: str) -> str:
    if name.startswith(LOCAL):
        name = Path(name.removeprefix(LOCAL)).expanduser().resolve().name
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:_LONGEST_SLUG].strip("._-")
    return safe or "backbone"
