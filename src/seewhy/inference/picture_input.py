"""Pictures of any kind as a classifier's input: files, images of Pillow's, NumPy arrays.

Each takes the steps that a study's own images take. Knows no methods and writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from seewhy.data.decoding.fit import Fit
from seewhy.data.decoding.high_bit_depth import kind_of_values, span_of_values, values_to_8_bit
from seewhy.data.decoding.picture import decode_image, is_deep, measure_image
from seewhy.data.decoding.value_levels import ValueRange, decide_levels
from seewhy.data.pixels import to_input
from seewhy.errors import ConfigError, DataError, UnreadableImageError
from seewhy.inference.classifiers import NamedClassifier
from seewhy.models.classifier import Classifier
from seewhy.runtime.progress import Progress
from seewhy.storage.schemas.dataset import Preprocess
from seewhy.storage.schemas.input_size import sides
from seewhy.storage.schemas.levels import Levels

MAX_MEGAPIXELS = 100.0
UNLIMITED = 1e9  # an array is in memory already
Picture = str | os.PathLike[str] | Image.Image | NDArray[Any]


def read_images(
    pictures: Picture | Iterable[Picture],
    classifier: Classifier | NamedClassifier,
    *,
    white: float | None = None,
    black: float | None = None,
) -> Tensor:
    """Read pictures as a classifier's input.

    They are decoded, cropped, padded or squashed, and normalised exactly as the images of the
    classifier's study were.

    Parameters
    ----------
    pictures : a picture, or a sequence of them
        Each a file's path, an image of Pillow's, or an array (H, W, 3), (H, W) or, of uint8 alone,
        (H, W, 4); an array (N, H, W, 3) holds N of them. At least one.
    classifier : Classifier or NamedClassifier
    white, black : float, optional
        Which values are white and black in pictures of more than 8 bits a value. Default: as in
        the classifier's study; where that had no such pictures, found from all that are given,
        see `seewhy.data.decoding.value_levels.choose_level`.

    Returns
    -------
    Tensor, (N, 3, height, width) float32
        Preprocessed, on the classifier's device.

    Raises
    ------
    UnreadableImageError
        Naming the first picture that cannot be decoded.
    DataError
        Where no picture is given, or something that is none.
    ConfigError
        Where `classifier` is not one of seewhy's.

    Examples
    --------
    >>> import numpy as np
    >>> from seewhy import open_classifier, read_images
    >>> network = open_classifier("timm:resnet18", weights="none")
    >>> read_images(np.zeros((2, 90, 120, 3), np.uint8), network).shape
    torch.Size([2, 3, 224, 224])
    """
    if not isinstance(classifier, Classifier | NamedClassifier):
        raise ConfigError(
            "classifier: expected what load_classifier or open_classifier returns, but got "
            f"{type(classifier).__name__}"
        )
    given = _listed(pictures)
    if not given:
        raise DataError("expected at least one picture file, but got none")
    own = classifier.design if isinstance(classifier, Classifier) else classifier
    most = getattr(classifier, "max_megapixels", MAX_MEGAPIXELS)
    spans = [(_name(one, k), _measure(one, most)) for k, one in enumerate(given)]
    asked = white is not None or black is not None
    deep = [(name, span) for name, span in spans if span is not None]
    found = decide_levels(deep, white, black).levels
    levels = found if asked else own.levels.and_of(found)
    fit = Fit(own.working_size, own.resize)
    fitted = [fit.picture(_decode(one, k, most, fit, levels)) for k, one in enumerate(given)]
    module = classifier if isinstance(classifier, Classifier) else classifier.module
    return fitted_to_input(fitted, own.preprocess, module)


def read_fitted(classifier: NamedClassifier, path: Path) -> NDArray[np.uint8]:
    """Decode a picture file and fit it to the classifier's working size, (H, W, 3).

    Raises UnreadableImageError where it cannot be decoded.
    """
    fit = classifier.fit
    image = decode_image(path, classifier.max_megapixels, max(sides(fit.size)), classifier.levels)
    return fit.picture(image)


def find_levels(
    classifier: NamedClassifier,
    files: Iterable[tuple[str, Path]],
    progress: Progress,
    white: float | None = None,
    black: float | None = None,
) -> Levels:
    """Return what is black and white in picture files: as in the study, else found from them all.

    `files` has the name and the path of each; `progress` receives what was found.
    """
    deep = [one for one in files if is_deep(one[1])]
    measured = [(name, measure_image(path, classifier.max_megapixels)) for name, path in deep]
    spans = [(name, span) for name, span in measured if span is not None]
    if white is None and black is None:
        spans = [one for one in spans if classifier.levels.of(one[1].kind) is None]
    decision = decide_levels(spans, white, black)
    for sentence in (*decision.notes, *decision.warnings):
        progress.say(sentence)
    return decision.levels.and_of(classifier.levels)


def fitted_to_input(
    fitted: list[NDArray[np.uint8]], preprocess: Preprocess, module: nn.Module
) -> Tensor:
    """Make pictures of one size a network's input, on its device and in its weights' type."""
    weight = next(module.parameters())
    images = to_input(torch.from_numpy(np.stack(fitted)), preprocess, weight.device)
    return images.to(weight.dtype) if weight.is_floating_point() else images


def _listed(pictures: Any) -> list[Any]:
    """Return the pictures one by one, whether one or several are given."""
    if isinstance(pictures, np.ndarray):
        return list(pictures) if pictures.ndim == 4 else [pictures]
    if isinstance(pictures, str | os.PathLike | Image.Image):
        return [pictures]
    if isinstance(pictures, Tensor):
        raise DataError(
            "pictures: expected files, images of Pillow's or NumPy arrays, but got a Tensor; one "
            "that is preprocessed already is the classifier's input as it is"
        )
    if not isinstance(pictures, Iterable) or isinstance(pictures, bytes | dict):
        raise DataError(_wrong(type(pictures).__name__))
    return list(pictures)


def _wrong(kind: str) -> str:
    return f"pictures: expected files, images of Pillow's or NumPy arrays, but got {kind}"


def _name(picture: Any, number: int) -> str:
    if isinstance(picture, str | os.PathLike):
        return os.fsdecode(os.fspath(picture))
    return f"picture {number}"


def _measure(picture: Any, most: float) -> ValueRange | None:
    """Return the range of a picture's values, where it has more than 8 bits a value."""
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        return measure_image(path, most) if is_deep(path) else None
    if isinstance(picture, Image.Image):
        return measure_image(picture, most)
    if not isinstance(picture, np.ndarray):
        raise DataError(_wrong(type(picture).__name__))
    try:
        kind = kind_of_values(picture.dtype)
        return None if kind is None else span_of_values(picture, kind)
    except TypeError as error:
        raise DataError(f"pictures: {error}") from error
    except UnreadableImageError:
        return None


def _decode(picture: Any, number: int, most: float, fit: Fit, levels: Levels) -> NDArray[np.uint8]:
    name = _name(picture, number)
    if isinstance(picture, str | os.PathLike):
        return decode_image(Path(picture), most, max(sides(fit.size)), levels)
    try:
        if isinstance(picture, Image.Image):
            return decode_image(picture, most, levels=levels)
        return _array_to_rgb(picture, levels)
    except UnreadableImageError as error:
        raise UnreadableImageError(error.reason, name) from error


def _array_to_rgb(array: NDArray[Any], levels: Levels) -> NDArray[np.uint8]:
    """Turn an array into RGB, (H, W, 3)."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    kind = kind_of_values(array.dtype)
    channels = array.shape[2] if array.ndim == 3 else 0
    fits = array.ndim == 2 or channels == 3 or (channels == 4 and kind is None)
    if not fits or 0 in array.shape:
        hint = "; .transpose(1, 2, 0) makes one of it" if array.shape[:1] == (3,) else ""
        raise UnreadableImageError(
            f"expected an array (H, W, 3) or (H, W), but got {array.shape} {array.dtype}{hint}"
        )
    eight = array if kind is None else values_to_8_bit(array, kind, levels)
    return decode_image(Image.fromarray(np.ascontiguousarray(eight)), UNLIMITED)
