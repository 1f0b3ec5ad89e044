"""What the sentences are made from, and how they write names and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.comparison import ClassifierPair, FoldComparison, PairTest, StageChange
from seewhy.storage.schemas.evaluation import Evaluation
from seewhy.wording import share, signed

LEVEL = 0.05


@dataclass(frozen=True)
class EvaluationResults:
    """Everything that was measured, by slug where it belongs to a backbone.

    `names` holds the display name of each backbone. With one backbone the ranking names it once,
    and the other sentences leave its name out.
    """

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
        """Return the slugs by accuracy after fine-tuning, highest first; ties keep their order."""
        scores = {s: e.stages["finetuning"].accuracy.value for s, e in self.evaluations.items()}
        return sorted(scores, key=lambda slug: -scores[slug])

    def of(self, slug: str) -> str:
        """Return `` of NAME``; nothing where the study has one backbone."""
        return f" of {self.names[slug]}" if len(self.names) > 1 else ""

    def accuracy_of(self, slug: str) -> str:
        """Return ``the accuracy of NAME``; ``accuracy`` where the study has one backbone."""
        return f"the accuracy of {self.names[slug]}" if len(self.names) > 1 else "accuracy"

    def subject(self, slug: str) -> str:
        """Return a backbone's name; ``The classifier`` where the study has one backbone."""
        return self.names[slug] if len(self.names) > 1 else "The classifier"


def between(found: Interval) -> str:
    """Write an interval, ``95 % CI 0.842 to 0.873``."""
    return f"95 % CI {number(found.low, 3)} to {number(found.high, 3)}"


def number(value: float, digits: int = 2) -> str:
    """Write a number of −1 … 1 without a plus sign."""
    return share(value, digits) if value >= 0 else signed(value, digits)


def name_of_test(test: PairTest) -> str:
    """Return what a test of two classifiers is called in a sentence."""
    return "sign-flip test" if test == "sign-flip" else "McNemar"


def significant(p: float) -> bool:
    """Whether a p-value is below 5 %."""
    return p < LEVEL
