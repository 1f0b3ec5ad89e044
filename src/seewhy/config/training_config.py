"""The keys of a configuration on backbones, the head, its search and the two stages."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from seewhy.config.base import MOST, BatchSize, DropShare, Positive, Rate, Section
from seewhy.config.validation_messages import brief

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
Loss = Literal["cross-entropy", "kl-divergence"]
Metric = Literal[
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "auroc",
    "average_precision",
    "log_loss",
    "kappa",
    "matthews",
    "quadratic_kappa",
    "mean_absolute_error",
]
MixAlpha = Annotated[float, Field(ge=0, le=100)]
Sampler = Literal["shuffle", "balanced"]
ClassWeights = Literal["none", "balanced"] | dict[str, float]
HeadKind = Literal["auto", "network", "logistic", "nearest-mean"]
# Fitted at once, without epochs; both are linear.
FITTED_HEADS: tuple[HeadKind, ...] = ("logistic", "nearest-mean")
_UNITS = (256,)


class BackboneConfig(Section):
    """One backbone: its name and where its weights come from.

    Attributes
    ----------
    name : str
        A timm name, one of the paper's short names, or ``local-dir:PATH``.
    weights : str, default "pretrained"
        ``pretrained`` (the hub, or the installed package for tf_efficientnet_lite0), ``none``
        (random), or ``local-dir:PATH``.
    """

    name: str
    weights: str = "pretrained"

    @field_validator("weights")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("pretrained", "none") and not value.startswith("local-dir:"):
            raise ValueError(f"expected pretrained, none or local-dir:PATH, but got {value!r}")
        return value


class BaselineConfig(Section):
    """How ImageNet's 1000 classes become the data set's.

    Attributes
    ----------
    grouping : {"max", "sum"}, default "max"
        A group scores its largest probability, or their sum.
    words : dict of str to str
        WordNet words for classes whose own name is none, ``deer = "bovid"``.
    """

    grouping: Literal["max", "sum"] = "max"
    words: dict[str, str] = Field(default_factory=dict)


class HeadConfig(Section):
    """The head and how it is trained.

    The search, where it is on, finds units, dropout, learning rate, batch size and loss.

    Attributes
    ----------
    kind : {"auto", "network", "logistic", "nearest-mean"}, default "auto"
        ``network``: hidden layers and an output layer, trained in epochs. ``logistic``, logistic
        regression, and ``nearest-mean``, class means with a temperature, are linear heads for few
        images; they are fitted to all training images at once, and there is no search. ``auto``:
        a network above `seewhy.training.head_choice.FEW` training images per class (the median of
        the classes), where the search is off and `units` are not the default, and where
        `only_in_epochs` names a setting; else the fitted head whose cross-validated log loss on
        the training images is lower.
    units : tuple of int, default (256,)
        Width of each added hidden layer; empty for a linear head.
    dropout : float, default 0.3
        Dropout after each hidden layer.
    learning_rate : float, default 1e-3
        Adam's, in adaptation.
    batch_size : int, default 64
    loss : {"cross-entropy", "kl-divergence"}, default "cross-entropy"
        Their gradients are equal, so this choice cannot change a classifier.
    label_smoothing : float, default 0
        Share of each label that is spread evenly over all classes.
    class_weights : {"none", "balanced"} or dict of str to float, default "none"
        How much an image counts in the training loss of both stages, by its class; ``balanced``:
        all classes count the same, however many images they have and whatever these weigh
        (``data.weight``). Classes that a dictionary does not name have 1. Weights are scaled so
        that their mean over the training images is 1.
    sampler : {"shuffle", "balanced"}, default "shuffle"
        Which training images an epoch takes: each one once; or as many draws with replacement, in
        which all classes are equally likely, and all images of a class, or in proportion to their
        weights (``data.weight``), which do not count again in the loss then.
    logit_adjustment : float, default 0
        tau ≥ 0: in the training loss, tau · log(share of the class among the training images, or
        of the sum of their weights) is added to each logit; predictions and the validation loss
        use the logits without it. 0: off, 1: the paper's.
    metric : str, default "accuracy"
        What is best on the validation images: it chooses the epoch of a stage and the head of the
        search. accuracy, balanced_accuracy, macro_f1, auroc, average_precision, log_loss, kappa,
        matthews, and for ordered classes quadratic_kappa and mean_absolute_error.

    References
    ----------
    Menon et al., "Long-tail learning via logit adjustment", ICLR 2021 (equation 10).
    """

    kind: HeadKind = "auto"
    units: tuple[Positive, ...] = _UNITS
    dropout: DropShare = 0.3
    learning_rate: Rate = 1e-3
    batch_size: BatchSize = 64
    loss: Loss = "cross-entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: ClassWeights = "none"
    sampler: Sampler = "shuffle"
    logit_adjustment: Annotated[float, Field(ge=0, le=100)] = 0.0
    metric: Metric = "accuracy"

    @field_validator("class_weights", mode="before")
    @classmethod
    def _weights(cls, value: object) -> object:
        weights = list(value.values()) if isinstance(value, dict) else []
        numbers = all(
            isinstance(one, (int, float)) and not isinstance(one, bool) and 0 < one < math.inf
            for one in weights
        )
        if value in ("none", "balanced") or (weights and numbers):
            return value
        raise ValueError(
            "expected 'none', 'balanced' or a number above 0 per class, such as "
            f"{{ defect = 5.0 }}, but got {brief(value)}"
        )

    @model_validator(mode="after")
    def _one_correction(self) -> HeadConfig:
        corrections = {
            "class_weights = 'balanced'": self.class_weights == "balanced",
            "sampler = 'balanced'": self.sampler == "balanced",
            f"logit_adjustment = {self.logit_adjustment:g}": self.logit_adjustment > 0,
        }
        chosen = [name for name, wanted in corrections.items() if wanted]
        if len(chosen) > 1:
            raise ValueError(
                "expected one correction for classes of unequal sizes, but got "
                f"{' and '.join(chosen)}: together they would correct more than once"
            )
        return self

    @model_validator(mode="after")
    def _fitted_without_epochs(self) -> HeadConfig:
        if self.is_fitted and self.only_in_epochs:
            raise ValueError(
                f"expected kind = 'network' for {' and '.join(self.only_in_epochs)}, but got "
                f"kind = {self.kind!r}: that head is fitted at once, and these change the epochs "
                "of a training"
            )
        return self

    @property
    def is_fitted(self) -> bool:
        """Whether the head is fitted at once, without epochs."""
        return self.kind in FITTED_HEADS

    @property
    def only_in_epochs(self) -> tuple[str, ...]:
        """The settings, other than their defaults, that only a training in epochs can follow."""
        settings = {
            f"label_smoothing = {self.label_smoothing:g}": self.label_smoothing > 0,
            f"sampler = {self.sampler!r}": self.sampler != "shuffle",
            f"logit_adjustment = {self.logit_adjustment:g}": self.logit_adjustment > 0,
        }
        return tuple(name for name, wanted in settings.items() if wanted)

    @property
    def has_usual_units(self) -> bool:
        """Whether the hidden layers are those of the default."""
        return self.units == _UNITS


# Keys of ``search`` that say how a search for the head, or for fine-tuning's settings, is done.
_OF_HEADS = (
    "patience", "sampler", "max_layers", "objective", "pruner", "accept", "storage",
    "learning_rate", "dropout", "batch_size", "loss", "units",
)  # fmt: skip
_OF_FINETUNING = ("finetuning_learning_rate", "first_layer_rate", "mixup")


class SearchConfig(Section):
    """The search for the head, one added hidden layer at a time.

    Attributes
    ----------
    trials : int, default 0
        Trials a layer count, as a total also after a continuation; 0: no search. It is off since it
        did not pay, see docs/benchmarks.md.
    patience : int, default 12
        A layer count has no more trials after so many in a row that raised the best value by no
        more than one standard error of a share of the validation images; 0: it has all its trials.
    sampler : {"gp", "tpe", "random"}, default "gp"
        Gaussian process, tree-structured Parzen estimator, or chance.
    max_layers : int, default 3
        At most so many hidden layers, where each improved the objective.
    objective : {"adaptation", "both"}, default "adaptation"
        Whether a trial's value, ``head.metric`` on the validation images as the mean of the last 5
        epochs, is that of adaptation alone, or of the fine-tuning after it.
    pruner : {"median", "hyperband", "none"}, default "median"
        Ends hopeless trials early.
    accept : {"better", "always"}, default "better"
        Whether the best head is trained only if it is better than the configured one, beyond
        chance, on images that folds hold out, or in any case.
    storage : str, optional
        URL of an Optuna storage that several processes may share,
        ``postgresql+psycopg://host/name``; default: a file in the run directory.
    learning_rate : (float, float), default (1e-5, 1e-3)
        Searched on a logarithmic scale.
    dropout : (float, float), default (0, 0.6)
    batch_size : tuple of int, default (16, 32, 64)
    loss : tuple of str, default ("cross-entropy",)
        The Kullback-Leibler divergence has the same gradient; the paper searched both.
    units : (int, int), default (16, 512)
        Range of p: hidden layer i gets ``trunc(p / 2**i)`` units.
    finetuning_trials : int, default 0
        Candidates for fine-tuning's settings, the configured ones among them; below 2: no search
        for them. See `seewhy.training.search.finetuning_search`.
    finetuning_learning_rate : (float, float), default (3e-5, 3e-3)
        Searched on a logarithmic scale, as is `first_layer_rate`.
    first_layer_rate : (float, float), default (0.03, 1)
    mixup : (float, float), default (0, 0.4)
    """

    trials: Annotated[int, Field(ge=0, le=MOST)] = 0
    patience: Annotated[int, Field(ge=0, le=MOST)] = 12
    sampler: Literal["gp", "tpe", "random"] = "gp"
    max_layers: Annotated[int, Field(ge=1, le=8)] = 3
    objective: Literal["adaptation", "both"] = "adaptation"
    pruner: Literal["median", "hyperband", "none"] = "median"
    accept: Literal["better", "always"] = "better"
    storage: str | None = None
    learning_rate: tuple[Rate, Rate] = (1e-5, 1e-3)
    dropout: tuple[DropShare, DropShare] = (0.0, 0.6)
    batch_size: Annotated[tuple[BatchSize, ...], Field(min_length=1)] = (16, 32, 64)
    loss: Annotated[tuple[Loss, ...], Field(min_length=1)] = ("cross-entropy",)
    units: tuple[Positive, Positive] = (16, 512)
    finetuning_trials: Annotated[int, Field(ge=0, le=1000)] = 0
    finetuning_learning_rate: tuple[Rate, Rate] = (3e-5, 3e-3)
    first_layer_rate: tuple[Rate, Rate] = (0.03, 1.0)
    mixup: tuple[MixAlpha, MixAlpha] = (0.0, 0.4)

    @field_validator(
        "learning_rate", "dropout", "units", "finetuning_learning_rate", "first_layer_rate", "mixup"
    )
    @classmethod
    def _ascending(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"expected the smaller bound first, but got {list(value)}")
        return value

    @field_validator("batch_size", "loss")
    @classmethod
    def _distinct(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"expected each choice once, but got {list(value)}")
        return value

    @model_validator(mode="after")
    def _asked_for(self) -> SearchConfig:
        """Refuse settings of a search that is off because nobody said how many trials it has."""
        for trials, keys in (("trials", _OF_HEADS), ("finetuning_trials", _OF_FINETUNING)):
            useless = [key for key in keys if key in self.model_fields_set]
            if useless and trials not in self.model_fields_set:
                raise ValueError(
                    f"{useless[0]} has no effect without trials; say how many with search.{trials}"
                )
        return self

    @model_validator(mode="after")
    def _wide_enough(self) -> SearchConfig:
        if self.units[0] < 2 ** (self.max_layers - 1):
            raise ValueError(
                f"expected units of at least {2 ** (self.max_layers - 1)}, so that each of "
                f"{self.max_layers} hidden layers has one, but got {list(self.units)}"
            )
        return self


class AdaptationConfig(Section):
    """Stage 1: the trunk frozen, the head trained.

    Attributes
    ----------
    epochs : int, default 60
        At most this many.
    patience : int, default 5
        Epochs without improvement of ``head.metric`` on the validation images before the stage
        ends.
    """

    epochs: Positive = 60
    patience: Positive = 5


class FinetuningConfig(Section):
    """Stage 2: tail and head trained.

    Attributes
    ----------
    epochs : int, default 6
    patience : int, default 5
        As in adaptation, where `schedule` is constant. A cosine runs to its end, where its rate is
        low; the best epoch is kept all the same.
    open : float, default 0.5
        Share of the trunk's weighted layers that the tail holds; 0: the head alone is trained,
        1: the whole network.
    learning_rate : float or "auto", default "auto"
        Of the last layer, before the schedule. ``auto``: 1e-3 where batch normalisation follows the
        cut, else 3e-4, see docs/log.md.
    learning_rate_factor : float, optional
        The learning rate as a share of ``head.learning_rate``, instead of `learning_rate`.
    batch_size : int or "head", default 64
        ``head``: as ``head.batch_size``, which the search for a head may change.
    optimizer : {"adamw", "adam"}, default "adamw"
    weight_decay : float, default 0.05
        Biases and the parameters of normalisation have none.
    first_layer_rate : float, default 0.3
        Learning rate of the first layer after the cut, as a share of the last one's; those in
        between follow in equal ratios.
    schedule : {"cosine", "constant"}, default "cosine"
    warmup : float, default 0.1
        Share of all steps in which the rate rises, before a cosine.
    clip : float, default 1
        Greatest norm of the gradient; 0: any.
    average : float, default 0
        Decay per step of a moving average of the weights, which is then what is validated and
        kept; 0: none.
    label_smoothing : float, default 0.1
        As ``head.label_smoothing``, for this stage.
    mixup, cutmix : float, default 0.2 and 0
        alpha of Beta(alpha, alpha), from which the share is drawn that an image has in a mixture
        of two activations at the cut, or in one with a box of the other; 0: off. With both on, a
        batch takes either.
    views : int, default 4
        With ``input.augmentation``: versions of each training image, itself and augmented ones,
        that are kept at the cut; each epoch takes one of them by chance. 0: a new one in every
        epoch, for which the frozen part runs again.
    batch_norm : {"fixed", "train"}, default "fixed"
        Whether batch normalisation after the cut keeps its running statistics, or takes each
        batch's own and moves them: small batches at small learning rates recover slowly from that.
    augmentation : {"none", "erasing", "focus"}, default "none"
        Whether half of each class's training images have a region replaced at the cut, by another
        image's: one taken by chance, or the hottest one for the image's label, as the classifier
        sees it at that moment.
    keep : {"auto", "memory", "disk", "recompute"}, default "auto"
        Where the activations at the cut are between epochs.
    memory_gib, disk_gib : float, optional
        Budgets for them; default: half of the memory and of the disk space that are free.
    """

    epochs: Positive = 6
    patience: Positive = 5
    open: Annotated[float, Field(ge=0, le=1)] = 0.5
    learning_rate: Rate | Literal["auto"] = "auto"
    learning_rate_factor: Rate | None = None
    batch_size: BatchSize | Literal["head"] = 64
    optimizer: Literal["adamw", "adam"] = "adamw"
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.05
    first_layer_rate: Rate = 0.3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    clip: Annotated[float, Field(ge=0)] = 1.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    mixup: MixAlpha = 0.2
    cutmix: MixAlpha = 0.0
    views: Annotated[int, Field(ge=0, le=1000)] = 4
    batch_norm: Literal["fixed", "train"] = "fixed"
    augmentation: Literal["none", "erasing", "focus"] = "none"
    keep: Literal["auto", "memory", "disk", "recompute"] = "auto"
    memory_gib: Annotated[float, Field(ge=0)] | None = None
    disk_gib: Annotated[float, Field(ge=0)] | None = None

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _rate_or_auto(cls, value: object) -> object:
        number = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
        if number or value == "auto":
            return value
        raise ValueError(f"expected a number above 0, at most 1, or 'auto', but got {value!r}")

    @field_validator("batch_size", mode="before")
    @classmethod
    def _number_or_head(cls, value: object) -> object:
        number = isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= MOST
        if number or value == "head":
            return value
        raise ValueError(f"expected a whole number of at least 2, or 'head', but got {value!r}")
