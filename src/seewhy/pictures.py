"""A finished study's classifier on picture files: what it says and where it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from seewhy.data.decode import decode_image, fit_square
from seewhy.data.pixels import to_input
from seewhy.errors import DataError, RunError, UnreadableImageError, near_names
from seewhy.explanation.cam import explain
from seewhy.models.classifier import Classifier, read_classifier
from seewhy.models.compute import choose_compute
from seewhy.progress import Progress, Silent
from seewhy.records import Stage
from seewhy.render import overlay
from seewhy.rundir import RunDirectory, writing


@dataclass(frozen=True)
class ExplainedPicture:
    """One picture, what the classifier says, and the files written about it.

    Attributes
    ----------
    path : Path
    predicted : str
    confidence : float
    overlay, map : Path
        The picture with the map laid over it (PNG), and the map itself (.npy, float32, at
        feature resolution, not normalised).
    empty : bool
        True where nothing in the picture spoke for the class.
    """

    path: Path
    predicted: str
    confidence: float
    overlay: Path
    map: Path
    empty: bool


def load_classifier(
    root: Path | str,
    backbone: str | None = None,
    stage: Stage = "finetuning",
    device: str = "auto",
) -> Classifier:
    """Load a finished study's classifier, in evaluation mode.

    Parameters
    ----------
    root : Path or str
        The run directory.
    backbone : str, optional
        Its folder's name under ``backbones/``; default the study's first.
    stage : {"adaptation", "finetuning"}, default "finetuning"
    device : str, default "auto"

    Raises
    ------
    RunError
        Where there is no such study or backbone, or the file is damaged.
    """
    run = RunDirectory.open(Path(root))
    slugs = list(run.read_summary().backbones)
    slug = backbone or slugs[0]
    if slug not in slugs:
        raise RunError(
            f"{root}: holds no backbone {slug!r}{near_names(slug, slugs)}; it has "
            f"{', '.join(slugs)}"
        )
    classifier = read_classifier(run.model_path(slug, stage))
    return classifier.to(choose_compute(device, "float32").device)


def read_images(paths: Path | str | Sequence[Path | str], classifier: Classifier) -> Tensor:
    """Read picture files as a classifier's input, cropped to their central square.

    They are decoded, resized and normalised exactly as the study's own images were.

    Parameters
    ----------
    paths : Path, str or a sequence of them
        At least one.
    classifier : Classifier

    Returns
    -------
    Tensor, (N, 3, size, size) float32
        Preprocessed, on the classifier's device.

    Raises
    ------
    UnreadableImageError
        Naming the first file that cannot be decoded.
    DataError
        Where no file is named.
    """
    named = [paths] if isinstance(paths, str | Path) else list(paths)
    if not named:
        raise DataError("expected at least one picture file, but got none")
    squares = [_read_square(Path(path), classifier) for path in named]
    return _to_input(np.stack(squares), classifier)


def explain_pictures(
    root: Path | str,
    paths: Sequence[Path | str],
    out: Path | str,
    backbone: str | None = None,
    stage: Stage = "finetuning",
    device: str = "auto",
    progress: Progress | None = None,
) -> tuple[list[ExplainedPicture], list[UnreadableImageError]]:
    """Explain the predicted class of each picture; write overlays and maps.

    Files of an earlier call in the same folder are written over.

    Parameters
    ----------
    root : Path or str
        The run directory whose classifier is asked.
    paths : sequence of Path or str
    out : Path or str
        Folder for ``STEM-overlay.png`` and ``STEM-map.npy``.
    backbone, stage, device
        As for `load_classifier`.
    progress : Progress, optional

    Returns
    -------
    list of ExplainedPicture
    list of UnreadableImageError
        One for each picture that could not be read.
    """
    classifier = load_classifier(root, backbone, stage, device)
    largest = RunDirectory(Path(root)).read_config().data.max_megapixels
    explained: list[ExplainedPicture] = []
    failed: list[UnreadableImageError] = []
    taken: set[str] = set()
    with (progress or Silent()).task("explain", len(paths)) as advance:
        for path in map(Path, paths):
            try:
                square = _read_square(path, classifier, largest)
            except UnreadableImageError as error:
                failed.append(error)
            else:
                target = Path(out) / _free_stem(path.stem, taken)
                explained.append(_explain(classifier, path, square, target))
            advance(1)
    return explained, failed


def _free_stem(stem: str, taken: set[str]) -> str:
    """Return `stem`, numbered where another picture has it in any case; note it as taken."""
    name, number = stem, 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.casefold())
    return name


def _explain(
    classifier: Classifier, path: Path, square: NDArray[np.uint8], target: Path
) -> ExplainedPicture:
    found = explain(classifier, _to_input(square[None], classifier), layer=classifier.map_layer)
    map_ = found.maps[0, 0].cpu().numpy()
    overlay_path = target.with_name(f"{target.name}-overlay.png")
    map_path = target.with_name(f"{target.name}-map.npy")
    with writing(overlay_path) as part:
        Image.fromarray(overlay(square, map_)).save(part, format="PNG")
    with writing(map_path) as part, part.open("wb") as stream:
        np.save(stream, map_)
    best = int(found.predicted[0])
    return ExplainedPicture(
        path=path,
        predicted=classifier.design.classes[best],
        confidence=float(found.probabilities[0, best]),
        overlay=overlay_path,
        map=map_path,
        empty=bool(found.empty[0, 0]),
    )


def _read_square(
    path: Path, classifier: Classifier, max_megapixels: float = 100.0
) -> NDArray[np.uint8]:
    size = classifier.design.working_size
    return fit_square(decode_image(path, max_megapixels, at_least=size), size)


def _to_input(squares: NDArray[np.uint8], classifier: Classifier) -> Tensor:
    device = next(classifier.parameters()).device
    return to_input(torch.from_numpy(squares), classifier.design.preprocess, device)
