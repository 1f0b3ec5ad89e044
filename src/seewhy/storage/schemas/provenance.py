"""What a study depends on: provenance.json, fingerprint.json, sources.csv."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from seewhy.storage.schemas.base import Record


class Provenance(Record):
    """provenance.json: what the numbers depend on, and what they took."""

    seewhy: str
    python: str
    platform: str
    processor: str
    cores: int
    device: str
    precision: str
    seed: int
    versions: dict[str, str]
    command: list[str]
    started: str
    finished: str
    starts: int = 1
    seconds: float
    seconds_by_part: dict[str, float] = Field(default_factory=dict)
    peak_memory_gib: float
    data_key: str
    weights_keys: dict[str, str] = Field(default_factory=dict)


class RunFingerprint(Record):
    """fingerprint.json: what a resumed study must find unchanged.

    `starts` counts how often it was started or resumed. `named` has the absolute path of each
    folder and file that the configuration names, by its key.
    """

    device: str
    precision: str
    weights_keys: dict[str, str]
    data_key: str
    versions: dict[str, str]
    started: str
    starts: int
    named: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class SourceFile:
    """One file that a study was made of.

    `part` is ``data``, or ``backbone.K`` for the weights of the configuration's backbone K; `name`
    is within its part. `label` and `split` are what its place says of an image, else empty. `size`
    is in bytes, `modified` in nanoseconds since 1970; -1 where it could not be read, `sha256` then
    is empty.
    """

    part: str
    name: str
    label: str
    split: str
    size: int
    modified: int
    sha256: str
