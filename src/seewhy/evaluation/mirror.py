"""Averages over each image and its mirror image, against predictions of the images alone.

Pure functions of predictions; this module knows no networks and no files.
"""

from __future__ import annotations

from collections.abc import Sequence

from seewhy.evaluation.calibration import calibrated, scale_temperature
from seewhy.evaluation.ensemble import Member, paired_log_losses, verdict
from seewhy.evaluation.performance import evaluate_stage
from seewhy.evaluation.significance import compare_pair
from seewhy.statistics.bootstrap import DRAWS
from seewhy.storage.schemas.mirror import Mirror
from seewhy.storage.schemas.predictions import Predictions
from seewhy.wording import share

# What the two are called in the record of their pair.
MIRRORED, PLAIN = "mirrored", "plain"


def evaluate_mirror(
    plain: Member,
    test: Predictions,
    validation: Predictions,
    classes: Sequence[str],
    seed: int = 0,
    draws: int = DRAWS,
) -> Mirror:
    """Compare averages over images and their mirror images with predictions of the images alone.

    Parameters
    ----------
    plain : Member
        Predictions of the images alone.
    test, validation : Predictions
        The averages, not calibrated, of the same images in the same order.
    classes : sequence of str
    seed, draws : int
        Of the bootstrap.

    Raises
    ------
    ValueError
        Where the test images are not the same.
    """
    pair = compare_pair("finetuning", (MIRRORED, PLAIN), (test, plain.test), classes, seed, draws)
    scores = evaluate_stage(test, classes, seed, draws)
    scaling = scale_temperature(test, validation, draws, seed)
    rows = calibrated(test.probabilities, scaling.temperature)
    alone = calibrated(plain.test.probabilities, plain.temperature)
    return Mirror(
        draws=draws,
        seed=seed,
        scores=scores.model_copy(update={"temperature": scaling}),
        pair=pair,
        log_loss=paired_log_losses(test, rows, alone, seed, draws),
        sentence=(
            "Averaged over each image and its mirror image, the accuracy is "
            f"{share(scores.accuracy.value, 3)}, which {verdict(pair, 'that of the images alone')}."
        ),
    )
