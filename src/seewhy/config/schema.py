"""What a study is made of: one TOML file, the same names on the command line and in Python.

Every key with its default and its bounds is in the file of its section; unknown keys are refused.
How what a person typed becomes a configuration is in ``loading.py``. This package knows nothing of
images, networks or run directories.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from seewhy.config.base import Positive, Section
from seewhy.config.data_config import DataConfig, InputConfig
from seewhy.config.results_config import AuditConfig, EvaluationConfig, ExplanationConfig
from seewhy.config.training_config import (
    DEFAULT_BACKBONE,
    AdaptationConfig,
    BackboneConfig,
    BaselineConfig,
    FinetuningConfig,
    HeadConfig,
    SearchConfig,
)
from seewhy.config.validation_messages import sentence
from seewhy.errors import ConfigError


class StudyConfig(Section):
    """One study.

    Attributes
    ----------
    name : str, default "study"
        Also the run directory's name under ``runs/``.
    seed : int, default 0
    seeds : int, default 1
        Trainings of the head with different seeds, the study's own and those that follow it.
    minutes : float, optional
        What the whole study is to take: fine-tuning has as many epochs as fit, instead of
        ``finetuning.epochs``.
    device : str, default "auto"
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    precision : {"auto", "float32", "bfloat16"}, default "auto"
        ``auto``: bfloat16 where the processor multiplies matrices in it, else float32.

    Examples
    --------
    >>> from seewhy import StudyConfig
    >>> config = StudyConfig(name="pets", seed=3, data={"source": "photos"})
    >>> config.data.source, config.search.trials
    ('photos', 0)
    """

    name: Annotated[str, Field(pattern=r"^[^/\\\x00]*[^/\\\x00.][^/\\\x00]*$")] = "study"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    seeds: Positive = 1
    minutes: Annotated[float, Field(gt=0, le=100_000)] | None = None
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
    audit: AuditConfig = Field(default_factory=AuditConfig)

    @model_validator(mode="after")
    def _cam_has_a_linear_head(self) -> StudyConfig:
        linear = self.head.is_fitted or (not self.head.units and not self.search.trials)
        last = self.explanation.layer in ("auto", "last")
        if self.explanation.method == "cam" and not (linear and last):
            raise ValueError(
                "expected a linear head at the last map for explanation.method = 'cam': set "
                "head.units = [], search.trials = 0 and explanation.layer = 'last', or take "
                "gradcam, which works with any head"
            )
        return self

    @model_validator(mode="after")
    def _ordered_classes_for_their_metrics(self) -> StudyConfig:
        metric = self.head.metric
        if metric in ("quadratic_kappa", "mean_absolute_error") and not self.data.ordered:
            raise ValueError(
                f"expected ordered classes for head.metric = {metric!r}: set data.ordered to true, "
                "or to the names of the classes from the lowest to the highest"
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
