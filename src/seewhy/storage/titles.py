"""The names of stages, backbones, metrics and failed steps in sentences."""

from __future__ import annotations

from collections import Counter

from seewhy.config import Metric
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.summary import FailedStep, Step, Summary

STAGE_TITLES: dict[Stage, str] = {"adaptation": "Adaptation", "finetuning": "Fine-tuning"}
# The average of all backbones, in the place of a backbone's name.
ENSEMBLE_TITLE = "Ensemble"
# Averages over each image and its mirror image, in the place of a stage.
MIRRORED_TITLE = "Fine-tuning, mirrored"
# What chooses epochs and heads, ``head.metric``, and is measured on the test images.
METRIC_TITLES: dict[Metric, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "kappa": "Cohen’s kappa",
    "matthews": "Matthews’ correlation",
    "quadratic_kappa": "quadratic kappa",
    "mean_absolute_error": "mean absolute error",
}
_STEPS: dict[Step, str] = {
    "data checks": "the checks of the data",
    "label issues": "the search for label issues and outliers",
    "folds": "the training on folds and with further seeds",
    "map choice": "choosing the method and the layer of the maps",
    "faithfulness": "measuring the faithfulness of the maps",
    "mirrored images": "predicting mirrored images",
}


def display_names(summary: Summary) -> dict[str, str]:
    """Return the display name of each backbone: its name, or its slug where two share a name."""
    seen = Counter(part.backbone for part in summary.backbones.values())
    return {
        slug: part.backbone if seen[part.backbone] == 1 else slug
        for slug, part in summary.backbones.items()
    }


def failure(failed: FailedStep) -> str:
    """Say which optional step failed and why, ``the audit of vgg16 failed: REASON``."""
    text = _STEPS.get(failed.step, f"the {failed.step}")
    if failed.stage:
        text += f" of {STAGE_TITLES[failed.stage].lower()}"
    if failed.backbone:
        text += f" of {failed.backbone}"
    return f"{text} failed: {failed.reason}"


def remedy(failed: FailedStep, run: str = "RUN") -> str | None:
    """Return the command that repeats a failed step, where there is one."""
    if failed.step == "audit":
        stage = f" --stage {failed.stage}" if failed.stage == "adaptation" else ""
        return f"seewhy audit {run} --backbone {failed.backbone}{stage}"
    if failed.step in ("evaluation", "ensemble", "comparison"):
        return f"seewhy evaluate {run}"
    return f"seewhy report {run}" if failed.step == "report" else None
