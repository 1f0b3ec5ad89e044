"""All that the report is drawn from, and what its sections are: values for the templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seewhy.records import BackboneRecords, Dataset, Provenance, Summary
from seewhy.reference import HUMAN_ACCURACY, has_cifar10_classes
from seewhy.wording import display_names

Section = dict[str, Any]
# A matrix or a plot with more rows than this is drawn another way.
MOST_ROWS = 30


@dataclass(frozen=True)
class Study:
    """All that the report is drawn from."""

    summary: Summary
    data: Dataset
    records: Mapping[str, BackboneRecords]
    provenance: Provenance | None
    config: str

    @property
    def names(self) -> dict[str, str]:
        """What each backbone is called, by slug."""
        return display_names(self.summary)

    @property
    def human(self) -> Mapping[str, float]:
        """Human accuracy a class, where it is known."""
        return HUMAN_ACCURACY if has_cifar10_classes(self.data.classes) else {}
