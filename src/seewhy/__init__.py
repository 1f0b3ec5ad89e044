"""seewhy: fine-tune image classifiers on your images and see why they decide as they do.

>>> from seewhy import explain, load_classifier, load_config, read_images, run_study
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seewhy.config import StudyConfig, load_config
    from seewhy.errors import SeewhyError
    from seewhy.explanation.cam import Explanation, explain
    from seewhy.explanation.layers import list_layers
    from seewhy.mended_study import mend_run
    from seewhy.models.classifier import Classifier
    from seewhy.pictures.classifiers import NamedClassifier, load_classifier, open_classifier
    from seewhy.pictures.reading import read_images
    from seewhy.report.build import redraw_report
    from seewhy.study import Study, run_study

__version__ = "0.1.0"

# Looked up when first used: the report and `seewhy --help` must not wait for PyTorch.
_HOMES = {
    "StudyConfig": "seewhy.config",
    "load_config": "seewhy.config",
    "SeewhyError": "seewhy.errors",
    "Explanation": "seewhy.explanation.cam",
    "explain": "seewhy.explanation.cam",
    "Classifier": "seewhy.models.classifier",
    "list_layers": "seewhy.explanation.layers",
    "mend_run": "seewhy.mended_study",
    "NamedClassifier": "seewhy.pictures.classifiers",
    "load_classifier": "seewhy.pictures.classifiers",
    "open_classifier": "seewhy.pictures.classifiers",
    "read_images": "seewhy.pictures.reading",
    "Study": "seewhy.study",
    "redraw_report": "seewhy.report.build",
    "run_study": "seewhy.study",
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
    "mend_run",
    "open_classifier",
    "read_images",
    "redraw_report",
    "run_study",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'seewhy' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
