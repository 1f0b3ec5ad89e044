"""Seeds made of what a random choice depends on."""

from __future__ import annotations

import hashlib


def seed_of(*parts: int | str) -> int:
    """Turn what a random choice depends on into a seed below 2**63."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
