"""Predictions averaged over each image and its mirror image: mirror.json."""

from __future__ import annotations

from seewhy.storage.schemas.base import FrozenRecord
from seewhy.storage.schemas.comparison import ClassifierPair, LogLosses
from seewhy.storage.schemas.evaluation import StageEvaluation


class Mirror(FrozenRecord):
    """mirror.json: one fine-tuned backbone with ``evaluation.mirror``, on the test images.

    Attributes
    ----------
    draws, seed : int
        Of the bootstrap; the test images are drawn as for the backbone.
    scores : StageEvaluation
        Of the mean of the probabilities of each image and of its mirror image; its temperature is
        fitted on the same means of the validation images.
    pair : ClassifierPair
        The mean, called ``mirrored``, against the prediction of the image alone, called ``plain``.
    log_loss : LogLosses
        Of both, each calibrated with its own temperature, where it has one.
    sentence : str
        Whether the mean is better beyond chance.
    """

    draws: int
    seed: int
    scores: StageEvaluation
    pair: ClassifierPair
    log_loss: LogLosses
    sentence: str
