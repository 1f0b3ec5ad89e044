"""Numbers of the evaluation against statsmodels' and torchmetrics'."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from torchmetrics.functional import (
    accuracy,
    calibration_error,
    cohen_kappa,
    confusion_matrix,
    f1_score,
    precision,
    recall,
)

from seewhy.evaluation.calibration import calibration
from seewhy.evaluation.metrics import score
from seewhy.evaluation.performance import evaluate_stage
from seewhy.evaluation.significance import holm, kappa, mcnemar
from seewhy.storage.schemas.predictions import Predictions

CLASSES = ("cat", "dog", "frog", "horse")


@pytest.fixture(params=range(3))
def answers(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Labels (200,) and probabilities (200, 4), more often right than not."""
    rng = np.random.default_rng(request.param)
    labels = rng.integers(0, 4, 200)
    logits = rng.normal(size=(200, 4)) + 2 * np.eye(4)[labels]
    return labels, np.asarray(torch.from_numpy(logits).softmax(dim=1), dtype=np.float32)


@pytest.mark.parametrize("split", [(0, 5), (3, 9), (12, 12), (13, 12), (40, 21), (121, 59)])
def test_mcnemar_is_statsmodels(split: tuple[int, int]) -> None:
    found = mcnemar(*split)
    exact = found.test == "exact binomial"
    table = [[50, split[0]], [split[1], 7]]
    theirs = statsmodels_mcnemar(table, exact=exact, correction=True)
    assert found.p == pytest.approx(theirs.pvalue)
    if not exact:
        assert found.statistic == pytest.approx(theirs.statistic)


def test_holm_is_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 5, 12):
        p_values = (rng.random(count) ** 3).tolist()
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_scores_are_torchmetrics(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = answers
    predicted = probabilities.argmax(axis=1)
    found = score(labels, predicted, CLASSES)
    given = torch.from_numpy(predicted), torch.from_numpy(labels)
    kind = {"task": "multiclass", "num_classes": 4}
    assert found.accuracy == pytest.approx(float(accuracy(*given, **kind)))
    macro = ((found.precision, precision), (found.recall, recall))
    for ours, theirs in macro:
        assert ours == pytest.approx(float(theirs(*given, average="macro", **kind)))
    assert (found.confusion == confusion_matrix(*given, **kind).numpy()).all()
    assert kappa(labels, predicted) == pytest.approx(float(cohen_kappa(*given, **kind)))


def test_calibration_and_top_k_are_torchmetrics(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = answers
    given = torch.from_numpy(probabilities), torch.from_numpy(labels)
    kind = {"task": "multiclass", "num_classes": 4}
    found = calibration(labels, probabilities, draws=2)
    error = float(calibration_error(*given, n_bins=15, norm="l1", **kind))
    assert found.error.value == pytest.approx(error, abs=1e-6)
    ids = tuple(f"id{k}" for k in range(len(labels)))
    stage = evaluate_stage(Predictions(ids, labels, probabilities), CLASSES)
    theirs = float(accuracy(*given, average="micro", top_k=3, **kind))
    assert stage.top[3].value == pytest.approx(theirs)
    assert stage.f1.value == pytest.approx(float(f1_score(*given, average="macro", **kind)))
