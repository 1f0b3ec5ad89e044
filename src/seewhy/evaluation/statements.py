"""What the sentences are made from, and how they say an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.base import Interval
from seewhy.storage.schemas.comparison import ClassifierPair, FoldComparison, StageChange
from seewhy.storage.schemas.evaluation import Evaluation
from seewhy.wording import share, signed

LEVEL = 0.05


@dataclass(frozen=True)
class EvaluationResults:
    """All that was found, by slug where it is a backbone's; `names` says what each is called."""

    names: Mapping[str, str]
    classes: Sequence[str]
    records: Mapping[str, BackboneRecords]
    evaluations: Mapping[str, Evaluation]
    pairs: Sequence[ClassifierPair]
    changes: Mapping[str, StageChange]
    folds: Sequence[FoldComparison]

    @property
    def images(self) -> int:
        """Test images."""
        return next(iter(self.evaluations.values())).stages["finetuning"].images

    def ranked(self) -> list[str]:
        """Return the slugs by accuracy after fine-tuning, highest first; ties as they came."""
        scores = {s: e.stages["finetuning"].accuracy.value for s, e in self.evaluations.items()}
        return sorted(scores, key=lambda slug: -scores[slug])


def between(found: Interval) -> str:
    """Write an interval of shares, ``95 % interval 0.842 to 0.873``."""
    return f"95 % interval {share(found.low, 3)} to {share(found.high, 3)}"


def correlation(value: float) -> str:
    """Write a number of −1 … 1, its plus left out."""
    return share(value) if value >= 0 else signed(value)


def significant(p: float) -> bool:
    """Whether a p-value lies below 5 %."""
    return p < LEVEL
