"""Classifiers for the audit's benchmarks, trained by the study's own functions.

A `Trainer` holds one backbone at one size and the features of one data set, so that classifiers
of other seeds, or of images that differ in part, cost little.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seewhy.audit.classifier_access import StudyClassifierAccess, evidence_layer
from seewhy.config import BackboneConfig, StudyConfig
from seewhy.data.pixels import to_input
from seewhy.models.backbones import Backbone, load_backbone
from seewhy.models.classifier import Classifier, ClassifierSpec, Head, pool
from seewhy.models.cut import cut_trunk
from seewhy.runtime.device import choose_compute
from seewhy.runtime.progress import Silent
from seewhy.runtime.seeding import seed_of
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.dataset import Dataset, Split
from seewhy.training.feature_cache import keeping_features
from seewhy.training.stages import adapt, finetune

BATCH = 32


class Trainer:
    """One backbone at one size and the pooled features of one data set.

    Parameters
    ----------
    data : Dataset
    backbone : str
        A timm name or ``local-dir:PATH``.
    size : int
        Side of the network's input, pixels.
    stage : {"adaptation", "finetuning"}
        How far classifiers are trained.
    seed : int
        Of the configuration.
    """

    def __init__(self, data: Dataset, backbone: str, size: int, stage: Stage, seed: int) -> None:
        self.data, self.size, self.stage = data, size, stage
        self.compute = choose_compute("cpu", "float32")
        self.config = StudyConfig.model_validate(
            {
                "backbone": [{"name": backbone}],
                "seed": seed,
                "finetuning": {"epochs": 2, "patience": 2},
            }
        )
        self._load()
        self.pooled = self.features(data.pixels)
        self.trained_on = self.pooled

    def _load(self) -> None:
        config: BackboneConfig = self.config.backbone[0]
        self.backbone: Backbone = load_backbone(config, self.size, 0)
        self.cut = cut_trunk(self.backbone.model, 0.5, self.size)
        for part in (self.backbone.model, self.cut.prefix, self.cut.tail):
            part.eval()

    @torch.no_grad()
    def features(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Return pooled features (N, C)."""
        found = []
        for start in range(0, len(pixels), BATCH):
            images = torch.from_numpy(np.ascontiguousarray(pixels[start : start + BATCH]))
            given = to_input(images, self.backbone.preprocess, self.compute.device)
            found.append(pool(self.cut.tail(self.cut.prefix(given))))
        return torch.cat(found)

    def train(self, data: Dataset, changed: NDArray[np.bool_], seed: int) -> Classifier:
        """Train a head, and the tail where the stage says so.

        Parameters
        ----------
        data : Dataset
            As the trainer's own, but for the splits, and the pixels of the images that are
            `changed`: only their features are computed again.
        changed : ndarray of bool, (N,)
        seed : int
        """
        config = self.config.model_copy(update={"seed": seed})
        pooled = self.pooled.clone()
        if changed.any():
            pooled[torch.from_numpy(changed)] = self.features(data.pixels[changed])
        self.trained_on = pooled
        units, dropout = config.head.units, config.head.dropout
        head_seed = seed_of(seed, "head")
        head = Head(pooled.shape[1], units, dropout, len(data.classes), head_seed)
        adapt(head, pooled, data, config, Silent(), "")
        design = ClassifierSpec(
            architecture=self.backbone.name,
            open_share=0.5,
            units=units,
            dropout=dropout,
            classes=data.classes,
            preprocess=self.backbone.preprocess,
            working_size=int(data.pixels.shape[1]),
        )
        classifier = Classifier(self.cut, head, design)
        if self.stage == "finetuning":
            with (
                tempfile.TemporaryDirectory() as folder,
                keeping_features(
                    self.backbone, self.cut, data, self.compute, config, Path(folder), Silent()
                ) as features,
            ):
                behind, at_cut = classifier.tail_and_head, features.at_cut
                finetune(behind, at_cut, data, config, self.compute, Silent(), "")
        return classifier.eval()

    @torch.no_grad()
    def answers(self, classifier: Classifier, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the probabilities, for some images of the data it was trained on just now, (B, K).

        An adapted classifier's head answers from the features that are known.
        """
        if self.stage == "finetuning":
            raise ValueError("a fine-tuned classifier has other features than its trunk had")
        pooled = self.trained_on[torch.from_numpy(numbers)]
        probabilities: NDArray[np.float32] = (
            classifier.tail_and_head.head.classify(pooled).softmax(dim=1).numpy()
        )
        return probabilities

    def renew(self) -> None:
        """Load the trunk again where fine-tuning has changed it in place."""
        if self.stage == "finetuning":
            self._load()

    def access(self, classifier: Classifier) -> StudyClassifierAccess:
        """Return the classifier as the audit asks it."""
        return StudyClassifierAccess(classifier, self.compute, evidence_layer(classifier))


def dataset(
    source: str,
    classes: Sequence[str],
    labels: Sequence[int],
    splits: Sequence[Split],
    pixels: NDArray[np.uint8],
) -> Dataset:
    """Make a data set of images that are in memory; they are called by their numbers."""
    numbers = tuple(f"{i:06d}" for i in range(len(labels)))
    return Dataset(
        source=source,
        classes=tuple(classes),
        ids=numbers,
        paths=numbers,
        labels=np.array(labels, dtype=np.int64),
        splits=tuple(splits),
        pixels=pixels,
    )
