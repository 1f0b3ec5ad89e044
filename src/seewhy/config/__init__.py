"""What a study is made of, and how it is read from what a person typed."""

from seewhy.config.loading import PRESETS, Source, load_config, name_backbone, validate
from seewhy.config.schema import (
    AUGMENTATIONS,
    CAM_METHODS,
    DEFAULT_BACKBONE,
    AdaptationConfig,
    AuditConfig,
    BackboneConfig,
    BaselineConfig,
    DataConfig,
    ExplanationConfig,
    FinetuningConfig,
    HeadConfig,
    InputConfig,
    SearchConfig,
    StudyConfig,
)

__all__ = [
    "AUGMENTATIONS",
    "CAM_METHODS",
    "DEFAULT_BACKBONE",
    "PRESETS",
    "AdaptationConfig",
    "AuditConfig",
    "BackboneConfig",
    "BaselineConfig",
    "DataConfig",
    "ExplanationConfig",
    "FinetuningConfig",
    "HeadConfig",
    "InputConfig",
    "SearchConfig",
    "Source",
    "StudyConfig",
    "load_config",
    "name_backbone",
    "validate",
]
