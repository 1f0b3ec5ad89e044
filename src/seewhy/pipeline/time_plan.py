"""How many epochs of fine-tuning fit into the minutes that a study may take.

A few batches of each backbone are timed. The steps that a study always has are estimated from
them; fine-tuning gets the rest. The number of epochs is written down when fine-tuning starts, so a
study that is resumed has as many.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from seewhy.config import StudyConfig
from seewhy.data.pixels import to_input
from seewhy.models.backbones import Backbone
from seewhy.models.classifier import MapPair, pool
from seewhy.models.cut import Cut
from seewhy.runtime.device import Compute, finish
from seewhy.runtime.progress import Progress
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.time_plan import TimePlan
from seewhy.training.search.finetuning_search import trainings
from seewhy.wording import count

log = logging.getLogger("seewhy")

# More epochs than this have never made a classifier better in our measurements.
MOST_EPOCHS = 60
# Images in a timed batch, and timed batches after a first one, which is slower.
TIMED_IMAGES, TIMED_BATCHES = 32, 1
# What steps take, in forward passes of the network: per image whose faithfulness is measured, per
# image and pair that the maps are chosen by, and per class that is audited. Seconds for adaptation
# with its folds, and for evaluation and report. Measured, see docs/log.md.
FAITHFULNESS_PASSES = 65
CHOICE_PASSES = 11
AUDIT_PASSES = 500
ADAPTATION_SECONDS, REPORT_SECONDS = 12.0, 8.0


@dataclass(frozen=True)
class Costs:
    """Seconds per image of one backbone on this machine.

    Attributes
    ----------
    forward : float
        Of the whole network.
    tail : float
        Of the part after the cut.
    step : float
        Of a training step on the part after the cut.
    """

    forward: float
    tail: float
    step: float


@dataclass(frozen=True)
class Estimate:
    """Seconds of one backbone's steps: before fine-tuning, per epoch of it, and after it.

    An epoch is of fine-tuning and of all trials that search for its settings. `features` are the
    seconds of the feature pass, the first of the steps before it.
    """

    before: float
    epoch: float
    after: float
    features: float


def measure_costs(backbone: Backbone, cut: Cut, data: Dataset, compute: Compute) -> Costs:
    """Time a few batches of a backbone; its weights stay as they are.

    The backbone may be on another device, and is moved to the one that the study computes on.
    """
    rows = np.resize(np.arange(len(data.ids)), TIMED_IMAGES)
    pixels = torch.from_numpy(np.ascontiguousarray(data.pixels[rows]))
    prefix, tail = cut.prefix.to(compute.device), copy.deepcopy(cut.tail).to(compute.device)
    images = to_input(pixels, backbone.preprocess, compute.device)

    @torch.no_grad()
    def forward() -> None:
        with compute.autocast():
            tail(prefix(to_input(pixels, backbone.preprocess, compute.device)))

    with torch.no_grad(), compute.autocast():
        activations = prefix(images)

    @torch.no_grad()
    def tail_alone() -> None:
        with compute.autocast():
            tail(activations.clone())

    def step() -> None:
        with compute.autocast():
            pool(tail(activations.clone())).square().mean().backward()  # type: ignore[no-untyped-call]

    whole, alone = _seconds(forward, compute), _seconds(tail_alone, compute)
    tail.requires_grad_(True)
    return Costs(whole, alone, _seconds(step, compute))


def _seconds(work: Callable[[], None], compute: Compute) -> float:
    """Return the seconds per image of a batch's work."""
    work()
    finish(compute.device)
    started = time.perf_counter()
    for _ in range(TIMED_BATCHES):
        work()
    finish(compute.device)
    return (time.perf_counter() - started) / (TIMED_BATCHES * TIMED_IMAGES)


def estimate(config: StudyConfig, data: Dataset, costs: Costs, pairs: int = 1) -> Estimate:
    """Return the seconds that a backbone's steps take by the costs per image.

    Its maps are chosen from so many `pairs` of method and layer.
    """
    train, validation, test = (len(data.where(s)) for s in ("train", "validation", "test"))
    tuning, prefix = config.finetuning, max(costs.forward - costs.tail, 0.0)
    augmented = bool(config.input.augmentations)
    versions = max(tuning.views - 1, 0) * (train + validation) if augmented else 0
    anew = train * prefix if augmented and not tuning.views else 0.0
    explained = min(config.explanation.faithfulness, test)
    audited = len(config.audit.stages) * len(data.classes)
    mirrored = validation + test if config.evaluation.mirror else 0
    compared = min(config.explanation.choice_images, validation) * (pairs if pairs > 1 else 0)
    features = len(data.ids) * costs.forward + versions * prefix
    return Estimate(
        before=features
        + compared * CHOICE_PASSES * costs.forward
        + test * costs.tail
        + ADAPTATION_SECONDS,
        epoch=trainings(config.search.finetuning_trials)
        * (train * costs.step + validation * costs.tail + anew),
        after=test * costs.tail
        + explained * FAITHFULNESS_PASSES * costs.forward
        + audited * AUDIT_PASSES * costs.forward
        + mirrored * costs.forward,
        features=features,
    )


class TimeBudget:
    """The minutes of a study, and what its backbones take of them.

    Parameters
    ----------
    minutes : float
    started : float
        By `time.perf_counter`.
    estimates : mapping of str to Estimate
        By the backbones' slugs, in the order in which they are studied.
    """

    def __init__(self, minutes: float, started: float, estimates: Mapping[str, Estimate]) -> None:
        self.minutes, self.estimates = minutes, dict(estimates)
        self._started = started

    def plan(
        self, slug: str, elapsed: float | None = None, features: float | None = None
    ) -> TimePlan:
        """Return the epochs that fit for a backbone whose fine-tuning is to start.

        What is left after all other steps is divided evenly among it and the backbones after it.

        Parameters
        ----------
        slug : str
        elapsed : float, optional
            Seconds since the study started; default: by the clock.
        features : float, optional
            Seconds that the feature pass took. It is longer than the few batches that were timed
            before it, so it says better how fast the machine is.
        """
        elapsed = time.perf_counter() - self._started if elapsed is None else elapsed
        own, others = self.estimates[slug], self._behind(slug)
        pace = 1.0 if features is None else features / own.features
        left = self.minutes * 60 - elapsed - pace * own.after - REPORT_SECONDS
        left -= pace * sum(one.before + one.after for one in others)
        mine = left / (1 + len(others))
        epochs = min(max(math.floor(mine / (pace * own.epoch)), 1), MOST_EPOCHS)
        return TimePlan(
            minutes=self.minutes,
            elapsed_seconds=elapsed,
            reserved_seconds=self.minutes * 60 - elapsed - mine,
            epoch_seconds=pace * own.epoch,
            epochs=epochs,
        )

    def sentences(self, elapsed: float | None = None) -> list[str]:
        """Say what is planned, per backbone, before any of it is done."""
        elapsed = time.perf_counter() - self._started if elapsed is None else elapsed
        found = []
        for slug, one in self.estimates.items():
            elapsed += one.before
            plan = self.plan(slug, elapsed)
            tuning = plan.epochs * plan.epoch_seconds
            found.append(
                f"{slug}: about {_clock(one.before)} to fine-tuning, {_clock(tuning)} for "
                f"{count(plan.epochs, 'epoch')} of it, {_clock(one.after)} for maps and audit"
            )
            elapsed += tuning + one.after
        total = elapsed + REPORT_SECONDS
        end = f"the study is to take {_clock(total)} of {self.minutes:g} minutes"
        if total > 1.1 * self.minutes * 60:
            end = (
                f"{self.minutes:g} minutes are too few even for one epoch: the study will take "
                f"about {_clock(total)}; a smaller input.size, audit.stages=[] or "
                "explanation.faithfulness=0 make it shorter"
            )
        return [*found, end]

    def _behind(self, slug: str) -> list[Estimate]:
        names = list(self.estimates)
        return [self.estimates[name] for name in names[names.index(slug) + 1 :]]


def make_budget(
    config: StudyConfig,
    data: Dataset,
    parts: Mapping[str, tuple[Backbone, Cut, Sequence[MapPair]]],
    compute: Compute,
    started: float,
    progress: Progress,
) -> TimeBudget | None:
    """Time the backbones and say what is planned; None where the study has no budget."""
    if config.minutes is None:
        return None
    estimates = {}
    for slug, (backbone, cut, pairs) in parts.items():
        costs = measure_costs(backbone, cut, data, compute)
        log.info("%s: seconds per image: %s", slug, costs)
        estimates[slug] = estimate(config, data, costs, len(pairs))
    budget = TimeBudget(config.minutes, started, estimates)
    for sentence in budget.sentences():
        progress.say(f"plan: {sentence}")
        log.info("plan: %s", sentence)
    return budget


def _clock(seconds: float) -> str:
    """Return minutes and seconds, 1:05."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"
