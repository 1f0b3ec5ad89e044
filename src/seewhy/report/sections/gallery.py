"""The gallery: which predictions are shown, and with which text.

For each class and backbone, among the test images that the fine-tuned classifier predicts as that
class, those with the lowest and the highest confidence; the predictions and maps of all backbones
for the same image are side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from seewhy.report.figures.photographs import PictureStore
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.predictions import Predictions
from seewhy.wording import share

PER_END = 3
# Heat layers; photos are added, at most one per image.
MOST_PICTURES = 600


@dataclass(frozen=True)
class BackboneAnswer:
    """One backbone's prediction for one image, with its map."""

    backbone: str
    predicted: str
    confidence: str
    right: bool
    heat: str | None
    alt: str


@dataclass(frozen=True)
class GalleryImage:
    """One image of the gallery and every backbone's prediction.

    `right` is whether the backbone by which the image was chosen is correct; `outline` is that of
    the object's mask, None where there is no mask.
    """

    id: str
    photo: str
    label: str
    file: str
    right: bool
    answers: tuple[BackboneAnswer, ...]
    outline: str | None = None


@dataclass(frozen=True)
class ClassExtremes:
    """The least and most confident predictions of one class by one backbone."""

    number: int
    backbone: str
    taken: int
    lowest: tuple[GalleryImage, ...]
    highest: tuple[GalleryImage, ...]


@dataclass(frozen=True)
class ClassGallery:
    """One class: a choice per backbone."""

    number: int
    name: str
    choices: tuple[ClassExtremes, ...]


def lowest_and_highest(
    predictions: Predictions, label: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places in `predictions` of the least and the most confident of one class.

    At most `count` at each end, the least confident first and the most confident first; none is in
    both. Where there are too few, the highest have the odd one. Equal values keep their order.
    """
    taken = np.flatnonzero(predictions.predicted == label)
    confidence = predictions.confidence[taken]
    falling = taken[np.argsort(-confidence, kind="stable")]
    high = min(count, (len(taken) + 1) // 2)
    highest = falling[:high]
    rest = taken[~np.isin(taken, highest)]
    rising = rest[np.argsort(predictions.confidence[rest], kind="stable")]
    return rising[:count].astype(np.int64), highest.astype(np.int64)


def gallery_bounds(classes: int, backbones: int) -> tuple[int, int]:
    """Return how many images per end and how many classes a gallery of bounded size can show.

    Images are reduced first, then classes.
    """
    for per_end in range(PER_END, 0, -1):
        each = 2 * per_end * backbones * backbones
        if each * classes <= MOST_PICTURES:
            return per_end, classes
    return 1, max(1, min(classes, MOST_PICTURES // (2 * backbones * backbones)))


class GalleryBuilder:
    """Builds the gallery of a study from its backbones' `records` and display `names`."""

    def __init__(
        self,
        data: Dataset,
        records: Sequence[BackboneRecords],
        names: Sequence[str],
        store: PictureStore,
    ) -> None:
        self.data = data
        self.names = names
        self.store = store
        self.predictions = [one.predictions["finetuning"] for one in records]
        self.maps = [one.maps["finetuning"] for one in records]
        self._rows = [{id_: row for row, id_ in enumerate(p.ids)} for p in self.predictions]
        self._map_rows = [{id_: row for row, id_ in enumerate(m.ids)} for m in self.maps]
        self._index = {id_: index for index, id_ in enumerate(data.ids)}

    def of_class(self, label: int, per_end: int) -> ClassGallery:
        """Return one class's part."""
        choices = []
        for number, predictions in enumerate(self.predictions):
            lowest, highest = lowest_and_highest(predictions, label, per_end)
            choices.append(
                ClassExtremes(
                    number=number,
                    backbone=self.names[number],
                    taken=int((predictions.predicted == label).sum()),
                    lowest=tuple(self.shot(number, int(row)) for row in lowest),
                    highest=tuple(self.shot(number, int(row)) for row in highest),
                )
            )
        return ClassGallery(label, self.data.classes[label], tuple(choices))

    def shot(self, number: int, row: int) -> GalleryImage:
        """Return the image at `row` of backbone `number`'s predictions, with all answers."""
        predictions = self.predictions[number]
        id_ = predictions.ids[row]
        index = self._index[id_]
        return GalleryImage(
            id=id_,
            photo=self.store.photo(index),
            label=self.data.classes[int(predictions.labels[row])],
            file=PurePath(self.data.paths[index]).name,
            right=bool(predictions.predicted[row] == predictions.labels[row]),
            answers=tuple(self._answer(other, id_, index) for other in range(len(self.names))),
            outline=self.store.outline(index),
        )

    def shot_of(self, number: int, id_: str) -> GalleryImage:
        """Return the test image `id_`, chosen by backbone `number`, with all answers."""
        return self.shot(number, self._rows[number][id_])

    def place_of(self, id_: str) -> int:
        """Return the place of an image, of any split, in the data set."""
        return self._index[id_]

    def surest(self, number: int, count: int) -> list[GalleryImage]:
        """Return the most confident correct predictions of backbone `number`, one per class.

        At most `count`, of the first classes that have one.
        """
        predictions = self.predictions[number]
        right = predictions.predicted == predictions.labels
        shots: list[GalleryImage] = []
        for label in range(len(self.data.classes)):
            if len(shots) == count:
                break
            rows = np.flatnonzero(right & (predictions.labels == label))
            if len(rows):
                shots.append(self.shot(number, int(rows[predictions.confidence[rows].argmax()])))
        return shots

    def _answer(self, number: int, id_: str, index: int) -> BackboneAnswer:
        predictions = self.predictions[number]
        row = self._rows[number][id_]
        predicted = self.data.classes[int(predictions.predicted[row])]
        label = self.data.classes[int(predictions.labels[row])]
        confidence = share(float(predictions.confidence[row]))
        map_row = self._map_rows[number].get(id_)
        heat = (
            None
            if map_row is None
            else self.store.heat(number, index, self.maps[number].maps[map_row])
        )
        right = predicted == label
        verdict = "correct" if right else "wrong"
        seen = f"with the map for {predicted}" if heat else f"the map for {predicted} is empty"
        return BackboneAnswer(
            backbone=self.names[number],
            predicted=predicted,
            confidence=confidence,
            right=right,
            heat=heat,
            alt=f"{label}: {self.names[number]} predicts {predicted} ({verdict}) with confidence "
            f"{confidence}; {seen}",
        )
