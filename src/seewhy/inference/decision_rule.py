"""What a finished study says of its classifier's probabilities: their calibration, its threshold.

Knows a study's records and probabilities; no pictures and no networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.evaluation.calibration import calibrated
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.base import Stage


@dataclass(frozen=True)
class DecisionRule:
    """How probabilities are calibrated, and below which confidence a classifier abstains.

    Attributes
    ----------
    temperature : float, optional
        Fitted on the validation images of the study; None where there is none.
    threshold : float, optional
        Of the calibrated confidence; None where no threshold was chosen.
    notes : tuple of str
        Why something is missing that the study should have; a part of a sentence each.
    """

    temperature: float | None = None
    threshold: float | None = None
    notes: tuple[str, ...] = ()

    def calibrate(self, probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the calibrated probabilities, (N, M); as they are without a temperature."""
        return calibrated(probabilities, self.temperature)

    def abstains(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Tell for which rows (N, M) of uncalibrated probabilities the classifier abstains, (N,).

        None where no threshold was chosen.
        """
        if self.threshold is None:
            return None
        return np.asarray(self.calibrate(probabilities).max(axis=1) < self.threshold)


NO_RULE = DecisionRule()


def read_decision_rule(run: RunDirectory, slug: str, stage: Stage) -> DecisionRule:
    """Read the rule of one classifier of a finished study.

    Raises RunError where a record is damaged.
    """
    notes = []
    evaluation, abstention = run.evaluation.read(slug), run.abstention.read(slug)
    scored = evaluation.stages.get(stage) if evaluation else None
    scaling = scored.temperature if scored else None
    if scaling is None:
        notes.append("probabilities are not calibrated: the study has no evaluation")
    elif scaling.temperature is None:
        notes.append(f"probabilities are not calibrated: {scaling.skipped}")
    chosen = abstention.stages.get(stage) if abstention else None
    if chosen is not None and chosen.threshold is None:
        notes.append(f"the classifier never abstains: {chosen.skipped}")
    return DecisionRule(
        scaling.temperature if scaling else None,
        chosen.threshold if chosen else None,
        tuple(notes),
    )


def read_mirrored_rule(run: RunDirectory, slug: str, stage: Stage) -> DecisionRule:
    """Read the rule of one classifier for averages over pictures and their mirror images.

    A threshold was chosen without mirror images, so there is none. Raises RunError where a record
    is damaged.
    """
    plain = read_decision_rule(run, slug, stage)
    notes = []
    if plain.threshold is not None:
        notes.append("does not abstain: its threshold was chosen without mirrored images")
    record = run.mirror.read(slug) if stage == "finetuning" else None
    scaling = record.scores.temperature if record else None
    if scaling is not None:
        if scaling.temperature is None:
            notes.append(f"probabilities are not calibrated: {scaling.skipped}")
        return DecisionRule(scaling.temperature, notes=tuple(notes))
    if plain.temperature is not None:
        notes.append(
            "its temperature was fitted without mirrored images; a study with "
            "evaluation.mirror=true fits one with them"
        )
    return DecisionRule(plain.temperature, notes=(*plain.notes, *notes))
