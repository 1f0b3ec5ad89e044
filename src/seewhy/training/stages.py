"""The two stages: adaptation on kept features, fine-tuning from the cut.

Says what is opened, at which learning rate, from which input; the epochs are ``loop.py``'s.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.config import StudyConfig
from seewhy.models.classifier import BehindCut, Head
from seewhy.models.compute import Compute
from seewhy.progress import Progress
from seewhy.records import Dataset
from seewhy.training.features import CutInput
from seewhy.training.loop import StageResult, stage_settings, train_stage


class _HeadOnPooled(nn.Module):
    """The head fed with features that are pooled already."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, pooled: Tensor) -> Tensor:
        return self.head.classify(pooled)


def adapt(
    head: Head,
    pooled: Tensor,
    data: Dataset,
    config: StudyConfig,
    compute: Compute,
    progress: Progress,
    title: str,
) -> StageResult:
    """Stage 1: train the head on pooled trunk features; the trunk does not run.

    Parameters
    ----------
    head : Head
        Trained in place; holds the best epoch's weights afterwards.
    pooled : Tensor, (N, C) float32
    data : Dataset
    config : StudyConfig
    compute : Compute
    progress : Progress
    title : str
    """

    def batches(indices: NDArray[np.int64], generator: torch.Generator | None) -> Tensor:
        return pooled[torch.from_numpy(indices).to(pooled.device)]

    stage = config.adaptation
    return train_stage(
        _HeadOnPooled(head),
        batches,
        data.labels,
        data.where("train"),
        data.where("validation"),
        stage_settings("adaptation", config.head, stage.epochs, stage.patience, 1.0, config.seed),
        compute,
        progress,
        title,
    )


def finetune(
    behind_cut: BehindCut,
    at_cut: CutInput,
    data: Dataset,
    config: StudyConfig,
    compute: Compute,
    progress: Progress,
    title: str,
) -> StageResult:
    """Stage 2: open the tail and train it with the head at a tenth of the learning rate.

    Parameters
    ----------
    behind_cut : BehindCut
        Trained in place; holds the best epoch's weights afterwards, frozen again.
    at_cut : CutInput
    data : Dataset
    config : StudyConfig
    compute : Compute
    progress : Progress
    title : str
    """
    stage = config.finetuning
    behind_cut.requires_grad_(True)
    result = train_stage(
        behind_cut,
        at_cut.batch,
        data.labels,
        data.where("train"),
        data.where("validation"),
        stage_settings(
            "finetuning",
            config.head,
            stage.epochs,
            stage.patience,
            stage.learning_rate_factor,
            config.seed,
        ),
        compute,
        progress,
        title,
    )
    behind_cut.requires_grad_(False)
    return result
