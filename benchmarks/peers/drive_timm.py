"""The whole network with timm and plain PyTorch, as many tutorials train it.

AdamW without weight decay on biases and norms, cosine with warm-up over the steps that fit, random
crops and flips, label smoothing, float32; the best epoch by validation accuracy is kept.
"""

from __future__ import annotations

import copy
import math
import time

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.peers.driver import ARCHITECTURE, Clock, Task, Trained, accuracy_of, serve, workers

BATCH, RATE, HEAD_RATE, DECAY, SMOOTHING = 64, 5e-4, 5e-3, 0.05, 0.1
WARM_UP = 20  # steps, after which the number of steps is known


def new_model(task: Task) -> nn.Module:
    """Return the pretrained network with a new output layer."""
    return timm.create_model(
        ARCHITECTURE,
        pretrained=True,
        num_classes=len(task.classes),
        pretrained_cfg_overlay={"file": str(task.weights_file)},
    )


def loader(task: Task, model: nn.Module, split: str) -> DataLoader:
    """Return batches of a split; the training images are augmented and shuffled."""
    config = timm.data.resolve_data_config(model=model)
    training = split == "train"
    augment = [transforms.RandomResizedCrop(task.size), transforms.RandomHorizontalFlip()]
    steps = [transforms.ToTensor(), transforms.Normalize(config["mean"], config["std"])]
    return DataLoader(
        ImageFolder(
            task.images / split, transforms.Compose([*(augment if training else ()), *steps])
        ),
        batch_size=BATCH,
        shuffle=training,
        drop_last=training,
        num_workers=workers(),
        persistent_workers=True,
    )


@torch.inference_mode()
def probabilities(model: nn.Module, batches: DataLoader) -> NDArray[np.float32]:
    """Return the probabilities of all images, (N, K)."""
    model.eval()
    return torch.cat([model(images).softmax(dim=1) for images, _ in batches]).numpy()


def rate(step: int, total: int) -> float:
    """Return the factor of the learning rate: linear warm-up, then half a cosine."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    share = min(1.0, (step - WARM_UP) / max(1, total - WARM_UP))
    return (1 + math.cos(math.pi * share)) / 2


class Training:
    """The network in training, and the best weights so far."""

    def __init__(self, task: Task, clock: Clock) -> None:
        self.task, self.clock = task, clock
        self.model = new_model(task)
        self.train, self.validation = (loader(task, self.model, s) for s in ("train", "val"))
        self.labels = task.labels("val")
        self.optimizer = create_optimizer_v2(self.model, "adamw", lr=RATE, weight_decay=DECAY)
        self.loss = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
        self.best, self.state = -1.0, {}
        self.step, self.total, self.ends = 0, WARM_UP + 1, [0.0]

    def run(self) -> None:
        """Train until the budget is used, and put the best weights back."""
        while self.step < self.total:
            self._epoch()
            accuracy = accuracy_of(probabilities(self.model, self.validation), self.labels)
            self.clock.note(accuracy)
            if accuracy >= self.best:
                self.best, self.state = accuracy, copy.deepcopy(self.model.state_dict())
        self.model.load_state_dict(self.state)

    def _epoch(self) -> None:
        self.model.train()
        for images, labels in self.train:
            for group in self.optimizer.param_groups:
                group["lr"] = RATE * rate(self.step, self.total)
            self._learn(images, labels)
            self.step += 1
            self.ends.append(time.perf_counter())
            if self.step == WARM_UP:
                self.total = self._steps_that_fit()
            if self.step >= self.total or self.clock.seconds > self.task.budget:
                self.total = self.step
                return

    def _learn(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        self.loss(self.model(images), labels).backward()
        self.optimizer.step()

    def _steps_that_fit(self) -> int:
        """Estimate the number of steps; validation is a forward pass, a third of a step."""
        # The first step waits for the loader.
        step = (self.ends[WARM_UP] - self.ends[1]) / (WARM_UP - 1)
        last = step * len(self.validation) / 3
        share = 1 + len(self.validation) / 3 / len(self.train)
        left = self.task.budget - self.clock.seconds - last
        return WARM_UP + max(1, int(left / (step * share)))


def head_accuracy(task: Task) -> float:
    """Return the validation accuracy of one epoch of a new output layer, the trunk as it was."""
    model = new_model(task).eval()
    head = model.get_classifier()
    optimizer = torch.optim.AdamW(head.parameters(), lr=HEAD_RATE)
    for images, labels in loader(task, model, "train"):
        with torch.no_grad():
            features = model.forward_head(model.forward_features(images), pre_logits=True)
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(features), labels).backward()
        optimizer.step()
    return accuracy_of(probabilities(model, loader(task, model, "val")), task.labels("val"))


def train(task: Task) -> Trained:
    """Train until the budget is used; what the head alone reaches is measured afterwards."""
    torch.manual_seed(task.seed)
    clock = Clock()
    training = Training(task, clock)
    training.run()
    clock.stop()
    return Trained(
        version=timm.__version__,
        clock=clock,
        epochs=training.step / len(training.train),
        validation_accuracy=training.best,
        head_accuracy=head_accuracy(task),
        probabilities=probabilities(training.model, loader(task, training.model, "test")),
    )


if __name__ == "__main__":
    serve(train)
