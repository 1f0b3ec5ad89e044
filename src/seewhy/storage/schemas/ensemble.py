"""The average of a study's backbones on the test images: ensemble.json."""

from __future__ import annotations

from seewhy.storage.schemas.base import FrozenRecord, Rate
from seewhy.storage.schemas.comparison import ClassifierPair, LogLosses
from seewhy.storage.schemas.evaluation import StageEvaluation


class EnsembleMember(FrozenRecord):
    """One fine-tuned backbone, by its slug.

    `weight` is its share of the average, `temperature` what its probabilities are calibrated with
    before; None where none was fitted: then they are averaged as the network gives them.
    """

    backbone: str
    weight: Rate
    temperature: float | None = None


class Ensemble(FrozenRecord):
    """ensemble.json: the mean of the calibrated probabilities of all fine-tuned backbones.

    Attributes
    ----------
    draws, seed : int
        Of the bootstrap; the test images are drawn as for the backbones.
    members : list of EnsembleMember
    scores : StageEvaluation
        Of the mean, on the test images.
    best : str, optional
        The single backbone with the highest accuracy on the validation images, of equals the one
        with the lower log loss there; None where there are no validation predictions.
    pair : ClassifierPair, optional
        The ensemble, called ``ensemble``, against that backbone on the test images.
    log_loss : LogLosses, optional
        Of the ensemble and of that backbone, calibrated.
    sentence : str
        Whether the ensemble is better beyond chance.
    """

    draws: int
    seed: int
    members: list[EnsembleMember]
    scores: StageEvaluation
    best: str | None = None
    pair: ClassifierPair | None = None
    log_loss: LogLosses | None = None
    sentence: str
