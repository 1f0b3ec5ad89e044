"""What a study is made of, and how it is read from what a person typed."""

from seewhy.config.data_config import AUGMENTATIONS, DataConfig, InputConfig, Resize
from seewhy.config.loading import PRESETS, Source, load_config, name_backbone, validate
from seewhy.config.results_config import (
    CAM_METHODS,
    AuditConfig,
    EvaluationConfig,
    ExplanationConfig,
    OperatingTarget,
)
from seewhy.config.schema import StudyConfig
from seewhy.config.training_config import (
    DEFAULT_BACKBONE,
    FITTED_HEADS,
    AdaptationConfig,
    BackboneConfig,
    BaselineConfig,
    ClassWeights,
    FinetuningConfig,
    HeadConfig,
    HeadKind,
    Metric,
    SearchConfig,
)

__all__ = [
    "AUGMENTATIONS",
    "CAM_METHODS",
    "DEFAULT_BACKBONE",
    "FITTED_HEADS",
    "PRESETS",
    "AdaptationConfig",
    "AuditConfig",
    "BackboneConfig",
    "BaselineConfig",
    "ClassWeights",
    "DataConfig",
    "EvaluationConfig",
    "ExplanationConfig",
    "FinetuningConfig",
    "HeadConfig",
    "HeadKind",
    "InputConfig",
    "Metric",
    "OperatingTarget",
    "Resize",
    "SearchConfig",
    "Source",
    "StudyConfig",
    "load_config",
    "name_backbone",
    "validate",
]
