"""The average of a finished study's backbones as one classifier of picture files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from seewhy.errors import RunError
from seewhy.inference.classifiers import TIMM, NamedClassifier, open_classifier
from seewhy.inference.decision_rule import DecisionRule
from seewhy.models.names import LOCAL
from seewhy.storage.run_directory import RunDirectory

# What stands for all backbones of a study, in the place of one of them.
ALL = "all"


@dataclass(frozen=True)
class NamedEnsemble:
    """The fine-tuned classifiers of a study, whose calibrated probabilities are averaged.

    Attributes
    ----------
    name : str
        For people.
    members : tuple of NamedClassifier
        At least two, with the same classes; pictures are brought to one working size for all.
    weights : tuple of float
        Their shares of the average.
    notes : tuple of str
        What the average lacks that its study has for one classifier; a part of a sentence each.
    """

    name: str
    members: tuple[NamedClassifier, ...]
    weights: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.members[0].classes


def stands_for_all(root: Path | str, backbone: str | None) -> bool:
    """Tell whether a word stands for all backbones of a study, and not for one called so."""
    return backbone == ALL and not RunDirectory(Path(root)).layout.backbone(ALL).is_dir()


def open_ensemble(root: Path | str, device: str = "auto") -> NamedEnsemble:
    """Load all fine-tuned classifiers of a finished study, to average them as ensemble.json says.

    Parameters
    ----------
    root : Path or str
        The run directory.
    device : str, default "auto"

    Raises
    ------
    RunError
        Where there is no finished study, or it has no ensemble.
    """
    if str(root).startswith((TIMM, LOCAL)):
        raise RunError(f"{root}: is one network; {ALL!r} stands for all backbones of a study")
    run = RunDirectory.open(Path(root))
    record = run.ensemble.read()
    if record is None:
        slugs = list(run.summary.read().backbones)
        reason = (
            f"its only backbone is {slugs[0]}"
            if len(slugs) == 1
            else f"it has no ensemble.json, which `seewhy evaluate {root}` writes"
        )
        raise RunError(f"{root}: has no average of several backbones: {reason}")
    members = []
    notes: tuple[str, ...] = ()
    for one in record.members:
        found = open_classifier(str(root), backbone=one.backbone, device=device)
        if found.rule.threshold is not None:
            notes = ("does not abstain: thresholds were chosen for single backbones",)
        members.append(replace(found, rule=DecisionRule(one.temperature)))
    weights = tuple(one.weight for one in record.members)
    return NamedEnsemble(f"{root} ({len(members)} backbones)", tuple(members), weights, notes)
