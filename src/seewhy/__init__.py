"""seewhy: fine-tune image classifiers on your images and see why they decide as they do.

>>> from seewhy import explain, load_classifier, load_config, read_images, run_study
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seewhy.config import StudyConfig, load_config
    from seewhy.errors import SeewhyError
    from seewhy.explanation.explain import Explanation, explain
    from seewhy.explanation.layers import list_layers
    from seewhy.inference.classifiers import NamedClassifier, load_classifier, open_classifier
    from seewhy.inference.picture_input import read_images
    from seewhy.inference.predict_pictures import predict_pictures
    from seewhy.models.classifier import Classifier
    from seewhy.pipeline.mitigation import mitigate_run
    from seewhy.pipeline.study import Study, run_study
    from seewhy.report.build import redraw_report

__version__ = "0.2.0"

# Looked up when first used: the report and `seewhy --help` must not wait for PyTorch.
_HOMES = {
    "StudyConfig": "seewhy.config",
    "load_config": "seewhy.config",
    "SeewhyError": "seewhy.errors",
    "Explanation": "seewhy.explanation.explain",
    "explain": "seewhy.explanation.explain",
    "Classifier": "seewhy.models.classifier",
    "list_layers": "seewhy.explanation.layers",
    "mitigate_run": "seewhy.pipeline.mitigation",
    "NamedClassifier": "seewhy.inference.classifiers",
    "load_classifier": "seewhy.inference.classifiers",
    "open_classifier": "seewhy.inference.classifiers",
    "predict_pictures": "seewhy.inference.predict_pictures",
    "read_images": "seewhy.inference.picture_input",
    "Study": "seewhy.pipeline.study",
    "redraw_report": "seewhy.report.build",
    "run_study": "seewhy.pipeline.study",
}

__all__ = [
    "Classifier",
    "Explanation",
    "NamedClassifier",
    "SeewhyError",
    "Study",
    "StudyConfig",
    "explain",
    "list_layers",
    "load_classifier",
    "load_config",
    "mitigate_run",
    "open_classifier",
    "predict_pictures",
    "read_images",
    "redraw_report",
    "run_study",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'seewhy' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
