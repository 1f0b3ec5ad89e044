"""Two ways to train an epoch: any module through autograd, a head by gradients worked out here.

Both take their batches, dropout and order from seed, stage and epoch alone. They know nothing of
early stopping or files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam

from seewhy.errors import TrainingError
from seewhy.models.classifier import Head
from seewhy.runtime.device import Compute, seeded
from seewhy.runtime.progress import Advance
from seewhy.statistics.classification import measure
from seewhy.training.losses import label_shares, loss_of
from seewhy.training.mixing import Mixing
from seewhy.training.optimisation import WeightAverage, make_optimizer, take_step
from seewhy.training.trainer import (
    StageSettings,
    ValidationScores,
    augmentation_seed,
    dropout_seed,
    epoch_order,
    steps_per_epoch,
)

# Batches of images, by their indices; a generator asks for training batches.
Batches = Callable[[NDArray[np.int64], torch.Generator | None], Tensor]
# A training batch (B, …) and its labels (B,) to the batch that is learnt from, by chance.
Augment = Callable[[Tensor, Tensor, torch.Generator], Tensor]
# No larger than a training batch: evaluation must not need the memory that training did not.
EVALUATION_BATCH = 64
# Rows of features that are gathered, and dropout that is drawn, at once.
BLOCK = 8192


class ModuleLearner:
    """Trains any module through autograd, on batches that come from a callable.

    Parameters
    ----------
    module : nn.Module
        Its parameters that require gradients are trained.
    batches : callable
        Indices (and a generator, for training) to the module's input.
    labels : ndarray of int64, (N,)
    train, validation : ndarray of int64
        Indices.
    settings : StageSettings
    compute : Compute
    frozen_modules : iterable of nn.Module, optional
        Parts that stay in evaluation mode while the others train.
    augment : callable, optional
        Changes each training batch; may overwrite it.
    weights : ndarray of float64, (N,), optional
        How much each image counts in training, see `image_weights` and `epoch_order`.
    """

    def __init__(
        self,
        module: nn.Module,
        batches: Batches,
        labels: NDArray[np.int64],
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        settings: StageSettings,
        compute: Compute,
        frozen_modules: Iterable[nn.Module] = (),
        augment: Augment | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.module = module
        self._frozen_modules = tuple(frozen_modules)
        self.optimizer = make_optimizer(module, settings.learning_rate, settings.optimisation)
        decay = settings.optimisation.average
        self._average = WeightAverage(module, decay) if decay else None
        self._mixing = Mixing(settings.mixup, settings.cutmix)
        self._steps = steps_per_epoch(settings, len(train))
        self.images = len(train)
        self._batches, self._augment = batches, augment
        self._labels = labels
        self._targets = torch.from_numpy(labels).to(compute.device)
        self._own_weights = weights
        self._weights = _on_device(image_weights(settings, labels, train, weights), compute.device)
        self._offsets = _offsets(settings, compute.device)
        self._train, self._validation = train, validation
        self._settings, self._compute = settings, compute

    @property
    def kept(self) -> nn.Module:
        """What is validated and kept: the module, or the average of its weights."""
        return self.module if self._average is None else self._average.module

    def train_epoch(self, number: int, advance: Advance) -> tuple[float, float]:
        """Train one epoch; return its mean loss and accuracy, as seen while training."""
        settings, device = self._settings, self._compute.device
        self.module.train()
        for part in self._frozen_modules:
            part.eval()
        order, generator = epoch_order(
            self._train, settings, number, self._labels, self._own_weights
        )
        chance = torch.Generator().manual_seed(augmentation_seed(settings, number))
        loss_sum = torch.zeros((), device=device)
        right = torch.zeros((), device=device)
        first = (number - 1) * self._steps
        with seeded(self._compute, dropout_seed(settings, number)):
            for step in range(self._steps):
                indices = order[step * settings.batch_size :][: settings.batch_size]
                logits, loss = self._training_loss(indices, generator, chance)
                self.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self._step(first + step)
                loss_sum += loss.detach() * len(indices)
                right += (logits.detach().argmax(dim=1) == self._wanted(indices)).sum()
                advance(len(indices))
        self.optimizer.zero_grad()
        return float(loss_sum) / len(order), float(right) / len(order)

    def _training_loss(
        self, indices: NDArray[np.int64], generator: torch.Generator, chance: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return a training batch's logits (B, K) and its loss."""
        inputs = self._batches(indices, generator)
        if self._augment is not None:
            inputs = self._augment(inputs, self._wanted(indices), chance)
        if not self._mixing:
            return self._loss(inputs, indices, "mean", training=True)
        mixed = self._mixing(inputs, chance)
        logits, own = self._loss(mixed.inputs, indices, "mean", training=True)
        others = indices[mixed.partners.cpu().numpy()]
        theirs = self._loss_of_logits(logits, others, "mean", training=True)
        return logits, own.lerp(theirs, 1 - mixed.share)

    def _step(self, number: int) -> None:
        """Take the stage's step of that number, from 0."""
        how = self._settings.optimisation
        take_step(self.optimizer, how, number, self._settings.epochs * self._steps)
        if self._average is not None:
            self._average.update(self.module, number)

    @torch.no_grad()
    def validate(self) -> ValidationScores:
        """Score the validation images."""
        self.kept.eval()
        loss_sum, right, seen = 0.0, 0, []
        for start in range(0, len(self._validation), EVALUATION_BATCH):
            indices = self._validation[start : start + EVALUATION_BATCH]
            logits, loss = self._loss(self._batches(indices, None), indices, "sum")
            loss_sum += float(loss)
            right += int((logits.argmax(dim=1) == self._wanted(indices)).sum())
            if self._settings.metric != "accuracy":
                seen.append(logits)
        loss_mean, accuracy = loss_sum / len(self._validation), right / len(self._validation)
        metric = _metric(self._settings, accuracy, seen, self._labels[self._validation])
        return ValidationScores(loss_mean, accuracy, metric)

    def _wanted(self, indices: NDArray[np.int64]) -> Tensor:
        return self._targets[self._rows(indices)]

    def _rows(self, indices: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(indices).to(self._targets.device)

    def _loss(
        self,
        inputs: Tensor,
        indices: NDArray[np.int64],
        reduction: str,
        training: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return logits (B, K) and their loss."""
        with self._compute.autocast():
            logits = (self.module if training else self.kept)(inputs)
        return logits, self._loss_of_logits(logits, indices, reduction, training)

    def _loss_of_logits(
        self, logits: Tensor, indices: NDArray[np.int64], reduction: str, training: bool
    ) -> Tensor:
        """Return the loss against the labels; weights and offsets count in training alone."""
        settings, each, compared = self._settings, None, logits.float()
        if training:
            each = None if self._weights is None else self._weights[self._rows(indices)]
            compared = _adjusted(compared, self._offsets)
        wanted, smoothing = self._wanted(indices), settings.label_smoothing
        return loss_of(settings.loss, compared, wanted, reduction, smoothing, each)


class HeadLearner:
    r"""Trains a head on pooled features with gradients worked out by hand.

    A head is a few small matrices: autograd and the optimiser's wrapper take longer than their
    products. The gradient of either loss with respect to the logits is softmax(z + offsets) − y,
    times the image's weight where there are weights, and

    .. math:: \partial W_i = a_{i-1}^T \delta_i, \qquad
              \delta_{i-1} = (\delta_i W_i^T) \odot m_{i-1} \odot [a_{i-1} > 0]

    with a the hidden activations behind ReLU and dropout, and m the dropout masks.

    Parameters
    ----------
    head : Head
        Trained in place.
    pooled : Tensor, (N, C) float32
    labels : ndarray of int64, (N,)
    train, validation : ndarray of int64
        Indices.
    settings : StageSettings
    weights : ndarray of float64, (N,), optional
        How much each image counts in training, see `image_weights` and `epoch_order`.
    """

    def __init__(
        self,
        head: Head,
        pooled: Tensor,
        labels: NDArray[np.int64],
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        settings: StageSettings,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.module = head
        self.images = len(train)
        self._dropout = [layer.p for layer in head.layers if isinstance(layer, nn.Dropout)]
        self._layers = [_laid_out(layer) for layer in head.layers if isinstance(layer, nn.Linear)]
        self._parameters = list(itertools.chain(*self._layers))
        self.optimizer = Adam(self._parameters, settings.learning_rate, fused=True)
        self._pooled = pooled
        self._labels = labels
        self._targets = torch.from_numpy(labels).to(pooled.device)
        self._own_weights = weights
        self._weights = _on_device(image_weights(settings, labels, train, weights), pooled.device)
        self._offsets = _offsets(settings, pooled.device)
        self._train = train
        self._validation = torch.from_numpy(validation).to(pooled.device)
        self._settings = settings
        self._random = torch.Generator(pooled.device)

    @property
    def kept(self) -> nn.Module:
        """What is validated and kept: the head."""
        return self.module

    @torch.no_grad()
    def train_epoch(self, number: int, advance: Advance) -> tuple[float, float]:
        """Train one epoch; return its mean loss and accuracy, as seen while training."""
        settings = self._settings
        order, _ = epoch_order(self._train, settings, number, self._labels, self._own_weights)
        self._random.manual_seed(dropout_seed(settings, number))
        for parameter in self._parameters:
            parameter.grad = torch.empty_like(parameter)
        loss_sum, right = 0.0, 0
        block = max(BLOCK // settings.batch_size, 1) * settings.batch_size
        for start in range(0, len(order), block):
            rows = torch.from_numpy(order[start : start + block]).to(self._pooled.device)
            labels = self._targets[rows]
            weights = None if self._weights is None else self._weights[rows]
            logits = self._train_rows(self._pooled[rows], labels, weights)
            loss_sum += float(self._loss(_adjusted(logits, self._offsets), labels, weights))
            right += int((logits.argmax(dim=1) == labels).sum())
            advance(len(rows))
        self.optimizer.zero_grad()
        return loss_sum / len(order), right / len(order)

    @torch.no_grad()
    def validate(self) -> ValidationScores:
        """Score the validation images."""
        self.module.eval()
        loss_sum, right, seen = 0.0, 0, []
        for rows in torch.split(self._validation, BLOCK):
            logits, labels = self.module.classify(self._pooled[rows]), self._targets[rows]
            loss_sum += float(self._loss(logits, labels))
            right += int((logits.argmax(dim=1) == labels).sum())
            if self._settings.metric != "accuracy":
                seen.append(logits)
        loss, accuracy = loss_sum / len(self._validation), right / len(self._validation)
        metric = _metric(self._settings, accuracy, seen, self._labels[self._validation.cpu()])
        return ValidationScores(loss, accuracy, metric)

    def _loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        smoothing = self._settings.label_smoothing
        return loss_of(self._settings.loss, logits, labels, "sum", smoothing, weights)

    def _train_rows(self, rows: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Take a step for each batch of `rows` (R, C); return the logits each was taken at."""
        smoothing = self._settings.label_smoothing
        wanted = label_shares(labels, len(self._layers[-1][1]), smoothing)
        masks = [
            torch.empty(len(rows), len(bias), device=rows.device)
            .bernoulli_(1 - dropout, generator=self._random)
            .div_(1 - dropout)
            for (_, bias), dropout in zip(self._layers[:-1], self._dropout, strict=True)
            if dropout > 0
        ]
        logits = torch.empty_like(wanted)
        for start in range(0, len(rows), self._settings.batch_size):
            part = slice(start, start + self._settings.batch_size)
            chosen = [mask[part] for mask in masks]
            each = None if weights is None else weights[part]
            logits[part] = self._gradients(rows[part], wanted[part], chosen, each)
            self.optimizer.step()
        return logits

    def _gradients(
        self,
        rows: Tensor,
        wanted: Tensor,
        masks: Sequence[Tensor],
        weights: Tensor | None = None,
    ) -> Tensor:
        """Set every gradient of the mean loss over `rows` (B, C); return the logits (B, K).

        `weights` (B,) multiply the losses of the rows.
        """
        inputs = [rows]
        *hidden, (last_weight, last_bias) = self._layers
        for k, (weight, bias) in enumerate(hidden):
            active = torch.addmm(bias, inputs[-1], weight).relu_()
            inputs.append(active.mul_(masks[k]) if masks else active)
        logits = torch.addmm(last_bias, inputs[-1], last_weight)
        delta = _adjusted(logits, self._offsets).softmax(dim=1).sub_(wanted).div_(len(rows))
        if weights is not None:
            delta.mul_(weights[:, None])
        for k in reversed(range(len(self._layers))):
            weight, bias = self._layers[k]
            torch.mm(inputs[k].t(), delta, out=weight.grad)
            torch.sum(delta, dim=0, out=bias.grad)
            if k:
                delta = torch.mm(delta, weight.t()).mul_(inputs[k] > 0)
                if masks:
                    delta.mul_(masks[k - 1])
        return logits


def image_weights(
    settings: StageSettings,
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64] | None:
    """Return the factor of each image's training loss, with mean 1 over the training images.

    Parameters
    ----------
    settings : StageSettings
        Its class weights have this mean already.
    labels : ndarray of int64, (N,)
    train : ndarray of int64, (n,)
        Indices of the training images.
    weights : ndarray of float64, (N,), optional
        Of the images, at least 0; they multiply the weights of the classes. The balanced sampler
        draws images by their weights: they do not count again in the loss of what it draws.

    Returns
    -------
    ndarray of float64, (N,), or None
        None where all images count alike.

    Raises
    ------
    TrainingError
        Where no training image has a weight above 0.
    """
    by_class = np.array(settings.class_weights)[labels] if settings.class_weights else None
    if weights is None:
        return by_class
    product = weights if by_class is None else weights * by_class
    mean = product[train].mean()
    if not mean > 0:
        raise TrainingError("no training image has a weight above 0")
    return by_class if settings.sampler == "balanced" else np.asarray(product / mean)


def _on_device(weights: NDArray[np.float64] | None, device: torch.device) -> Tensor | None:
    return None if weights is None else torch.from_numpy(weights).to(device, torch.float32)


def _offsets(settings: StageSettings, device: torch.device) -> Tensor | None:
    """Return what the training loss adds to the logits, (K,) float32; None where nothing is."""
    if not settings.logit_offsets:
        return None
    return torch.tensor(settings.logit_offsets, dtype=torch.float32, device=device)


def _adjusted(logits: Tensor, offsets: Tensor | None) -> Tensor:
    """Return the logits (B, K) that the training loss is of."""
    return logits if offsets is None else logits + offsets


def _metric(
    settings: StageSettings, accuracy: float, seen: Sequence[Tensor], labels: NDArray[np.int64]
) -> float:
    """Return the metric of logits, batches of (B, K); accuracy costs nothing more."""
    if settings.metric == "accuracy":
        return accuracy
    logits = torch.cat(list(seen)).float().cpu()
    predicted = logits.argmax(dim=1).numpy()
    shares = logits.double().softmax(dim=1).numpy()
    return measure(settings.metric, labels, predicted, shares, settings.degrees)


def _laid_out(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Return a layer's weight, transposed to (inputs, outputs), and bias; both are its own memory.

    Few rows times a matrix is up to three times as fast with the matrix laid out this way.
    """
    weight = linear.weight.data.t().contiguous()
    linear.weight.data = weight.t()
    return weight, linear.bias.data
