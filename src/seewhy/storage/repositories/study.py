"""A study as a whole: config.toml, written first, and summary.json, written last."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import tomli_w

from seewhy.config import StudyConfig, load_config
from seewhy.storage.atomic_writing import write_text
from seewhy.storage.json_files import read_record, write_record
from seewhy.storage.repositories.base import Repository
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.summary import FailedStep, Step, Summary


class ConfigRepository(Repository):
    """The configuration of a study: config.toml."""

    root_names = ("config.toml",)

    @property
    def path(self) -> Path:
        """config.toml; a folder that has one holds a study."""
        return self.layout.config

    def write(self, config: StudyConfig) -> None:
        """Write config.toml, complete with the defaults."""
        write_text(self.path, tomli_w.dumps(config.model_dump(exclude_none=True)))

    def read(self) -> StudyConfig:
        """Read config.toml.

        One without `explanation.choice_images` is of an earlier version, whose layer ``auto`` was
        the last map.
        """
        return load_config(str(self.path), settings=_of_earlier_version(self.path))


def _of_earlier_version(path: Path) -> dict[str, object]:
    """Return the settings whose meaning has changed since a config.toml was written."""
    try:
        values = tomllib.loads(path.read_text("utf-8")).get("explanation", {})
        layer, is_earlier = values.get("layer"), "choice_images" not in values
    except (OSError, ValueError, AttributeError):
        return {}  # `load_config` says what is wrong
    if layer is None or not is_earlier:
        return {}
    names = [layer] if isinstance(layer, str) else layer
    renamed = ["last" if name == "auto" else name for name in names]
    return {"explanation.layer": renamed[0] if isinstance(layer, str) else renamed}


class SummaryRepository(Repository):
    """The manifest of a study: summary.json."""

    root_names = ("summary.json",)

    @property
    def path(self) -> Path:
        """summary.json; a study that has one is finished."""
        return self.layout.root / "summary.json"

    def write(self, summary: Summary) -> None:
        """Write summary.json; call it last."""
        write_record(self.path, summary)

    def read(self) -> Summary:
        """Read summary.json."""
        return read_record(self.path, Summary)

    def remove_failed(
        self, steps: Sequence[Step], backbone: str | None = None, stage: Stage | None = None
    ) -> None:
        """Remove steps that have succeeded since from the failed ones in summary.json.

        Those of one `backbone` (its slug) or of all, and of one `stage` or of both.
        """
        summary = self.read()

        def stays(one: FailedStep) -> bool:
            return (
                one.step not in steps
                or backbone not in (None, one.backbone)
                or stage not in (None, one.stage)
            )

        if all(map(stays, summary.failed)):
            return
        for part in summary.backbones.values():
            part.failed = list(filter(stays, part.failed))
        summary.failed = list(filter(stays, summary.failed))
        self.write(summary)
