"""Maps and predictions of a whole data set in one pass, in bounded memory.

Batch by batch as they come, all at once, or into an ``.npz`` file as it goes. Takes any
classifier; knows nothing of studies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.explain import Explanation, explain
from seewhy.explanation.targets import Classes
from seewhy.storage.atomic_writing import writing
from seewhy.storage.npz_files import growing_npz


@dataclass(frozen=True)
class ExplainedSet:
    """Maps of N images for K classes each, with the predictions.

    Attributes
    ----------
    maps : ndarray of float16, (N, K, h, w)
        Not normalised. A map whose maximum float16 cannot hold well is kept times a power of two,
        `scales`.
    explained : ndarray of int64, (N, K)
        The class each map is for: the predicted one and, where labels were given, the labelled
        one.
    probabilities : ndarray of float32, (N, M)
    scales : ndarray of float32, (N, K)
        What each map was multiplied with: 1 but for very small or very large maps.
    empty : ndarray of bool, (N, K)
        Which maps were zero everywhere before they were stored.
    """

    maps: NDArray[np.float16]
    explained: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    scales: NDArray[np.float32]
    empty: NDArray[np.bool_]

    def restored(self) -> NDArray[np.float32]:
        """Return the maps as they were before they were scaled, (N, K, h, w)."""
        return self.maps.astype(np.float32) / self.scales[:, :, None, None]


def explain_parts(
    model: nn.Module,
    batches: Iterable[Tensor],
    layer: str | Sequence[str] = "auto",
    method: str = "gradcam",
    *,
    labels: NDArray[np.int64] | None = None,
    predicted: NDArray[np.int64] | None = None,
) -> Iterator[ExplainedSet]:
    """Explain the predicted class of every image, and its labelled class; batch by batch.

    Predictions and maps come from the same forward pass, which runs once whatever is asked.

    Parameters
    ----------
    model : nn.Module
    batches : iterable of Tensor
        The model's input; at least one batch.
    layer : str or sequence of str, default "auto"
    method : str, default "gradcam"
        Both as `seewhy.explain` takes them.
    labels : ndarray of int, (N,), optional
        Each image's labelled class, in the order of the batches; with it K is 2, else 1.
    predicted : ndarray of int, (N,), optional
        The predicted classes, where they are known already; default: those of this pass.

    Yields
    ------
    ExplainedSet
        One a batch.

    Raises
    ------
    ConfigError
        As `explain`; where there is no batch, or there are not as many classes as images.
    """
    known = {"predicted": predicted, "labels": labels}
    done = 0
    for batch in batches:
        given = {name: _rows(name, found, done, batch) for name, found in known.items()}
        yield _stored(explain(model, batch, _asking(**given), layer, method))
        done += len(batch)
    if not done:
        raise ConfigError("batches: expected at least one batch of images, but got none")
    for name, found in known.items():
        if found is not None and len(found) != done:
            raise ConfigError(
                f"{name}: expected one class an image, but got {len(found)} for {done} images"
            )


def explain_batches(
    model: nn.Module,
    batches: Iterable[Tensor],
    layer: str | Sequence[str] = "auto",
    method: str = "gradcam",
    *,
    labels: NDArray[np.int64] | None = None,
) -> ExplainedSet:
    """Explain a data set and hand all of it back: float16 maps and probabilities are held.

    Everything is as for `explain_parts`. A map of 7×7 places takes 98 bytes; where all maps are
    more than the memory can hold, `write_explained` writes them down as they come.

    Returns
    -------
    ExplainedSet
    """
    parts = list(explain_parts(model, batches, layer, method, labels=labels))
    return ExplainedSet(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(ExplainedSet)
        }
    )


def write_explained(path: Path | str, parts: Iterable[ExplainedSet]) -> int:
    """Write a data set's maps to an ``.npz`` file as they come; memory holds one batch.

    Parameters
    ----------
    path : Path or str
        Appears when it is whole. Its arrays are called as the attributes of `ExplainedSet`:
        ``ExplainedSet(**numpy.load(path))`` is all of it in memory.
    parts : iterable of ExplainedSet
        As `explain_parts` yields them.

    Returns
    -------
    int
        The number of images.

    Raises
    ------
    RunError
        Where the disk is full or the place cannot be written.
    """
    count = 0
    with writing(Path(path)) as part, growing_npz(part) as columns:
        for one in parts:
            columns.append(**{field.name: getattr(one, field.name) for field in fields(one)})
            count += len(one.maps)
    return count


def _rows(name: str, classes: NDArray[np.int64] | None, done: int, batch: Tensor) -> Tensor | None:
    """Return the classes of one batch, on its device; those before it had `done` images."""
    if classes is None:
        return None
    rows = torch.from_numpy(classes[done : done + len(batch)])
    if rows.shape != (len(batch),):
        raise ConfigError(
            f"{name}: expected one class an image, but got {tuple(classes.shape)} for more than "
            f"{done} images"
        )
    return rows.to(batch.device)


def _asking(predicted: Tensor | None, labels: Tensor | None) -> Classes:
    """Return what to ask of a batch: the predicted class and, where it is given, the label."""

    def choose(logits: Tensor) -> Tensor:
        # By probabilities, as predictions are read: two logits can share one.
        first = logits.float().softmax(dim=1).argmax(dim=1) if predicted is None else predicted
        return first[:, None] if labels is None else torch.stack([first, labels], dim=1)

    return choose


def _stored(found: Explanation) -> ExplainedSet:
    scales = _scales(found.maps)
    halves = (found.maps * scales[:, :, None, None]).half()
    columns = halves, found.classes, found.probabilities, scales, found.empty
    return ExplainedSet(*(column.cpu().numpy() for column in columns))


def _scales(maps: Tensor) -> Tensor:
    """Return the powers of two, (N, K), that bring maps' maxima within float16's range.

    From 2⁻¹⁰ on, float16's smallest step, 2⁻²⁴, is less than a ten-thousandth of a map's maximum;
    below, and above 2¹⁵, the map is multiplied so that its maximum is between 1 and 2.
    """
    most = maps.amax(dim=(2, 3))
    fits = (most >= 2.0**-10) & (most <= 2.0**15)
    exponents = torch.frexp(most).exponent
    factors = torch.ldexp(torch.ones_like(most), 1 - exponents)
    return torch.where(fits | (most <= 0), 1.0, factors)
