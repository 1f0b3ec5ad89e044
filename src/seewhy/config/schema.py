"""What a study is made of: one TOML file, the same names on the command line and in Python.

Every key with its default and its bounds; unknown keys are refused. How what a person typed becomes
a configuration is in ``loading.py``. This module knows nothing of images, networks or run
directories.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal, NamedTuple, cast, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from seewhy.config.validation_messages import brief, sentence
from seewhy.errors import ConfigError, near_names

AUGMENTATIONS = ("crop", "translate", "flip", "erase")
DEFAULT_BACKBONE = "tf_efficientnet_lite0"
# The methods that explain a layer after the cut; those that need pixels or attention do not.
CAM_METHODS = (
    "gradcam",
    "gradcam++",
    "hirescam",
    "gradcam-elementwise",
    "xgradcam",
    "layercam",
    "finercam",
    "shapleycam",
    "cam",
    "eigencam",
    "eigengradcam",
    "scorecam",
    "ablationcam",
)

Share = Annotated[float, Field(gt=0, lt=1)]
# Larger ones than PyTorch and NumPy count with would end in their errors.
MOST = 2**31 - 1
Positive = Annotated[int, Field(ge=1, le=MOST)]
Rate = Annotated[float, Field(gt=0, le=1)]
DropShare = Annotated[float, Field(ge=0, lt=1)]
BatchSize = Annotated[int, Field(ge=2, le=MOST)]
Loss = Literal["cross-entropy", "kl-divergence"]
ClassWeights = Literal["none", "balanced"] | dict[str, float]


_OPERATING_POINT = re.compile(r"(sensitivity|specificity|precision)\s*=\s*([\d.eE+-]+)")


class OperatingTarget(NamedTuple):
    """What an operating point has to reach: a measure of the positive class, and its value."""

    measure: Literal["sensitivity", "specificity", "precision"]
    value: float


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false where a number is meant: Python takes them for 1 and 0."""
        items = value if isinstance(value, (list, tuple)) else (value,)
        hint = cls.model_fields[str(info.field_name)].annotation
        may_be_true = hint is bool or bool in get_args(hint)
        if not may_be_true and any(isinstance(item, bool) for item in items):
            raise ValueError(f"expected no truth value, but got {str(value).lower()}")
        return value


class DataConfig(_Section):
    """Where the images come from and how they are divided.

    Attributes
    ----------
    source : str
        ``demo``, ``cifar10.2``, a folder, a table, or an ``.npz`` file.
    test : str, optional
        The test part's ``.npz`` file, table or folder, where the source does not hold it.
    path, label, split, mask : str, optional
        Columns of a table: pictures, their labels, training, validation or test, files of masks;
        default: found by their names and by what they hold.
    root : str, optional
        The folder that relative paths of a table start from; default: the table's own.
    corrections : str, optional
        A table of paths with a corrected label each, or ``drop``.
    group : tuple of str, default ()
        Columns of a table, or one: images with equal values (one patient, one camera) are never
        on two sides of a split or of a fold that is drawn.
    leave_out : str, optional
        A column: all training and validation images of one of its values are held out at a time.
    breakdown : "auto" or tuple of str, default "auto"
        Columns by whose values test results are broken down; ``auto``: all with few values.
    ordered : bool or tuple of str, default False
        Whether the classes are degrees of one thing, in the order in which they are listed; or
        their names from the lowest to the highest.
    validation : float, default 0.1
        Share of the training images held out for validation, stratified.
    held_out : float, default 0.2
        Share of a folder's images held out as test images where it has no ``test/``.
    top_folders : {"auto", "classes", "splits"}, default "auto"
        What the folders in a folder are: splits where their names say so, else classes; classes
        whatever they are called; or splits, with folders in them that are classes.
    max_megapixels : float, default 100
        Larger pictures are set aside before they are decoded.
    white, black : float, optional
        Which values are white and black in pictures of more than 8 bits a value; default: found
        from the values of all pictures, see `seewhy.data.decoding.value_levels`.
    near_duplicates : float, default 0.75
        Correlation of their fine detail from which two images count as near duplicates; 1: only
        exact copies count.
    keep_duplicates_together : bool, default True
        Whether a split that is drawn leaves duplicates, exact and near, on one side.
    folds : int, default 0
        Folds of the training and validation images, each held out once; 0 for none.
    folds_stages : {"adaptation", "both"}, default "adaptation"
        What is repeated on each fold, and with each further seed.
    demo_train, demo_test : int, default 120 and 40
        Pictures per class that the demo draws.
    demo_size : int, default 128
        Side of the demo's pictures, pixels.
    """

    source: str = "demo"
    test: str | None = None
    path: str | None = None
    label: str | None = None
    split: str | None = None
    mask: str | None = None
    root: str | None = None
    corrections: str | None = None
    group: tuple[str, ...] = ()
    leave_out: str | None = None
    breakdown: Literal["auto"] | tuple[str, ...] = "auto"
    ordered: bool | Annotated[tuple[str, ...], Field(min_length=2)] = False
    validation: Share = 0.1
    held_out: Share = 0.2
    top_folders: Literal["auto", "classes", "splits"] = "auto"
    max_megapixels: Annotated[float, Field(gt=0)] = 100.0
    white: float | None = None
    black: float | None = None
    near_duplicates: Annotated[float, Field(ge=0.5, le=1)] = 0.75
    keep_duplicates_together: bool = True
    folds: Annotated[int, Field(ge=0, le=MOST)] = 0
    folds_stages: Literal["adaptation", "both"] = "adaptation"
    demo_train: Annotated[int, Field(ge=10, le=MOST)] = 120
    demo_test: Annotated[int, Field(ge=4, le=MOST)] = 40
    demo_size: Annotated[int, Field(ge=96, le=512)] = 128

    @field_validator("group", "breakdown", mode="before")
    @classmethod
    def _one_column(cls, value: object) -> object:
        return (value,) if isinstance(value, str) and value != "auto" else value

    @model_validator(mode="after")
    def _folds_or_values(self) -> DataConfig:
        if self.folds and self.leave_out is not None:
            raise ValueError("expected folds or leave_out, but got both")
        return self

    @field_validator("folds")
    @classmethod
    def _more_than_one(cls, value: int) -> int:
        if value == 1:
            raise ValueError("expected 0 (no folds) or at least 2, but got 1")
        return value

    @model_validator(mode="after")
    def _white_above_black(self) -> DataConfig:
        if self.white is not None and not self.white > (self.black or 0.0):
            raise ValueError(
                f"expected white above black ({self.black or 0.0:g}), but got {self.white:g}"
            )
        return self


class InputConfig(_Section):
    """What a backbone sees.

    Attributes
    ----------
    size : int, optional
        Side of the square input, pixels; default: what each backbone's weights were trained with.
    augmentation : str, default "none"
        ``none``, or any of crop, translate, flip, erase joined by ``+``; used in fine-tuning.
    """

    size: Annotated[int, Field(ge=32, le=1024)] | None = None
    augmentation: str = "none"

    @field_validator("augmentation")
    @classmethod
    def _known(cls, value: str) -> str:
        for name in value.split("+"):
            if name not in AUGMENTATIONS and value != "none":
                raise ValueError(
                    f"expected 'none' or names of {', '.join(AUGMENTATIONS)} joined by '+', "
                    f"but got {value!r}"
                )
        return value

    @property
    def augmentations(self) -> tuple[str, ...]:
        """Names of the augmentations, in the order they were given."""
        return () if self.augmentation == "none" else tuple(self.augmentation.split("+"))


class BackboneConfig(_Section):
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


class BaselineConfig(_Section):
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


class HeadConfig(_Section):
    """The head and how it is trained.

    The search, where it is on, finds all but label_smoothing and class_weights.

    Attributes
    ----------
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
        all classes count the same, however many images they have. Classes that a dictionary does
        not name have 1. Weights are scaled so that their mean over the training images is 1.
    """

    units: tuple[Positive, ...] = (256,)
    dropout: DropShare = 0.3
    learning_rate: Rate = 1e-3
    batch_size: BatchSize = 64
    loss: Loss = "cross-entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: ClassWeights = "none"

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


class SearchConfig(_Section):
    """The search for the head, one added hidden layer at a time.

    Attributes
    ----------
    trials : int, default 35
        Trials a layer count, as a total also after a continuation; 0 switches the search off.
    sampler : {"gp", "tpe", "random"}, default "gp"
        Gaussian process, tree-structured Parzen estimator, or chance.
    max_layers : int, default 3
        At most so many hidden layers, where each improved the objective.
    objective : {"adaptation", "both"}, default "adaptation"
        The validation accuracy, mean of the last 5 epochs, of adaptation alone, or of the
        fine-tuning after it.
    pruner : {"median", "hyperband", "none"}, default "median"
        Ends hopeless trials early.
    storage : str, optional
        URL of an Optuna storage that several processes may share,
        ``postgresql+psycopg://host/name``; default: a file in the run directory.
    learning_rate : (float, float), default (1e-5, 1e-3)
        Searched on a logarithmic scale.
    dropout : (float, float), default (0, 0.6)
    batch_size : tuple of int, default (16, 32, 64)
    loss : tuple of str, default both
    units : (int, int), default (16, 512)
        Range of p: hidden layer i gets ``trunc(p / 2**i)`` units.
    """

    trials: Annotated[int, Field(ge=0, le=MOST)] = 35
    sampler: Literal["gp", "tpe", "random"] = "gp"
    max_layers: Annotated[int, Field(ge=1, le=8)] = 3
    objective: Literal["adaptation", "both"] = "adaptation"
    pruner: Literal["median", "hyperband", "none"] = "median"
    storage: str | None = None
    learning_rate: tuple[Rate, Rate] = (1e-5, 1e-3)
    dropout: tuple[DropShare, DropShare] = (0.0, 0.6)
    batch_size: Annotated[tuple[BatchSize, ...], Field(min_length=1)] = (16, 32, 64)
    loss: Annotated[tuple[Loss, ...], Field(min_length=1)] = ("cross-entropy", "kl-divergence")
    units: tuple[Positive, Positive] = (16, 512)

    @field_validator("learning_rate", "dropout", "units")
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
    def _wide_enough(self) -> SearchConfig:
        if self.units[0] < 2 ** (self.max_layers - 1):
            raise ValueError(
                f"expected units of at least {2 ** (self.max_layers - 1)}, so that each of "
                f"{self.max_layers} hidden layers has one, but got {list(self.units)}"
            )
        return self


class AdaptationConfig(_Section):
    """Stage 1: the trunk frozen, the head trained.

    Attributes
    ----------
    epochs : int, default 60
        At most this many.
    patience : int, default 5
        Epochs without improvement of the validation accuracy before the stage ends.
    """

    epochs: Positive = 60
    patience: Positive = 5


class FinetuningConfig(_Section):
    """Stage 2: tail and head trained at a tenth of the learning rate.

    Attributes
    ----------
    epochs : int, default 6
    patience : int, default 5
    open : float, default 0.5
        Share of the trunk's weighted layers that the tail holds.
    learning_rate_factor : float, default 0.1
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
    open: Share = 0.5
    learning_rate_factor: Rate = 0.1
    batch_norm: Literal["fixed", "train"] = "fixed"
    augmentation: Literal["none", "erasing", "focus"] = "none"
    keep: Literal["auto", "memory", "disk", "recompute"] = "auto"
    memory_gib: Annotated[float, Field(ge=0)] | None = None
    disk_gib: Annotated[float, Field(ge=0)] | None = None


class EvaluationConfig(_Section):
    """How the test results of two classes are weighed against each other.

    Attributes
    ----------
    positive : str, optional
        The positive class of two; default: the one with fewer training images.
    operating_point : str, optional
        ``sensitivity=0.95``, or ``specificity=`` or ``precision=``: the threshold nearest to 0.5
        that reaches it on the validation images is measured on the test images.
    """

    positive: str | None = None
    operating_point: str | None = None

    @field_validator("operating_point")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and _target(value) is None:
            raise ValueError(
                "expected sensitivity=, specificity= or precision= and a number above 0 and at "
                f"most 1, such as 'sensitivity=0.95', but got {value!r}"
            )
        return value

    @property
    def target(self) -> OperatingTarget | None:
        """The measure and the value of `operating_point`."""
        return None if self.operating_point is None else _target(self.operating_point)


def _target(text: str) -> OperatingTarget | None:
    """Read an operating point; None where the text is none."""
    found = _OPERATING_POINT.fullmatch(text.strip())
    try:
        value = float(found[2]) if found else 0.0
    except ValueError:
        return None
    if found is None or not 0 < value <= 1:
        return None
    measure = cast(Literal["sensitivity", "specificity", "precision"], found[1])
    return OperatingTarget(measure, value)


class ExplanationConfig(_Section):
    """The maps, and how faithful they are.

    Attributes
    ----------
    method : str, default "gradcam"
        One of `CAM_METHODS`.
    layer : str or tuple of str, default "auto"
        Names of the layers whose map is explained; ``auto``: the last spatial map. Of several
        layers: the mean of their maps, each divided by its maximum.
    faithfulness : int, default 32
        How many test images, of all classes, the faithfulness of the maps is measured on; 0
        switches that off.
    """

    method: str = "gradcam"
    layer: str | Annotated[tuple[str, ...], Field(min_length=1)] = "auto"
    faithfulness: Annotated[int, Field(ge=0, le=MOST)] = 32

    @field_validator("method")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in CAM_METHODS:
            raise ValueError(
                f"expected one of {', '.join(CAM_METHODS)}, but got {value!r}"
                f"{near_names(value, CAM_METHODS)}"
            )
        return value

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers' names, each once, in the order they were given."""
        return (self.layer,) if isinstance(self.layer, str) else tuple(dict.fromkeys(self.layer))


class EvaluationConfig(_Section):
    """The evaluation on the test images.

    Attributes
    ----------
    abstain_error : float, optional
        The error rate that predictions may have: below the confidence at which the validation
        images reach it, the classifier abstains. Default: no threshold.
    """

    abstain_error: Annotated[float, Field(ge=0, le=1)] | None = None


class AuditConfig(_Section):
    """The search for shortcuts.

    Attributes
    ----------
    stages : tuple of str, default ("finetuning",)
        Which classifiers are audited, any of ``adaptation`` and ``finetuning``; empty: none.
    """

    stages: tuple[Literal["adaptation", "finetuning"], ...] = ("finetuning",)


class StudyConfig(_Section):
    """One study.

    Attributes
    ----------
    name : str, default "study"
        Also the run directory's name under ``runs/``.
    seed : int, default 0
    seeds : int, default 1
        Trainings of the head with different seeds, the study's own and those that follow it.
    device : str, default "auto"
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    precision : {"auto", "float32", "bfloat16"}, default "auto"
        ``auto``: bfloat16 where the processor multiplies matrices in it, else float32.

    Examples
    --------
    >>> from seewhy import StudyConfig
    >>> config = StudyConfig(name="pets", seed=3, data={"source": "photos"})
    >>> config.data.source, config.search.trials
    ('photos', 35)
    """

    name: Annotated[str, Field(pattern=r"^[^/\\\x00]*[^/\\\x00.][^/\\\x00]*$")] = "study"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    seeds: Positive = 1
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    data: DataConfig = Field(default_factory=DataConfig)
    input: InputConfig = Field(default_factory=InputConfig)
    backbone: Annotated[tuple[BackboneConfig, ...], Field(min_length=1)] = (
        BackboneConfig(name=DEFAULT_BACKBONE),
    )
    baseline: BaselineConfig = Field(default_factory=BaselineConfig)
    head: HeadConfig = Field(default_factory=HeadConfig)
    search: SearchConfig = Field(default_factory=SearchConfig)
    adaptation: AdaptationConfig = Field(default_factory=AdaptationConfig)
    finetuning: FinetuningConfig = Field(default_factory=FinetuningConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    explanation: ExplanationConfig = Field(default_factory=ExplanationConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    audit: AuditConfig = Field(default_factory=AuditConfig)

    @model_validator(mode="after")
    def _cam_has_a_linear_head(self) -> StudyConfig:
        linear = not self.head.units and not self.search.trials
        if self.explanation.method == "cam" and not (linear and self.explanation.layer == "auto"):
            raise ValueError(
                "expected a linear head at the last map for explanation.method = 'cam': set "
                "head.units = [], search.trials = 0 and explanation.layer = 'auto', or take "
                "gradcam, which works with any head"
            )
        return self

    # Defined last, so that it wraps the validators above.
    @model_validator(mode="wrap")
    @classmethod
    def _in_one_sentence(
        cls, values: object, handler: ModelWrapValidatorHandler[StudyConfig]
    ) -> StudyConfig:
        try:
            return handler(values)
        except ValidationError as error:
            raise ConfigError(sentence(error, cls)) from error

    @property
    def further_seeds(self) -> tuple[int, ...]:
        """The seeds of the other trainings that `seeds` asks for."""
        return tuple(range(self.seed + 1, self.seed + self.seeds))
