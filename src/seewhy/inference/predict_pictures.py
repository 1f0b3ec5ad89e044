"""Pictures without labels through a classifier: a CSV file with a line per picture.

Pictures are decoded in threads and predicted batch by batch; what is decoded and predicted is held
for a few batches only. Knows nothing of how a classifier is made.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seewhy.data.pixels import in_threads, mirror
from seewhy.data.sources.picture_suffixes import picture_suffixes, suffix_of
from seewhy.data.sources.table_file import is_table
from seewhy.errors import ConfigError, DataError, UnreadableImageError
from seewhy.explanation.endings import ask
from seewhy.explanation.targets import read_probabilities
from seewhy.inference.classifiers import NamedClassifier
from seewhy.inference.decision_rule import DecisionRule
from seewhy.inference.ensembles import NamedEnsemble
from seewhy.inference.explain_pictures import explain_pictures
from seewhy.inference.picture_input import find_levels, fitted_to_input, read_fitted
from seewhy.inference.prediction_inputs import GivenPicture, GivenPictures, list_given
from seewhy.runtime.progress import Progress, Silent
from seewhy.storage.atomic_writing import writing
from seewhy.storage.run_directory import refuse_study_files
from seewhy.wording import count

# Either a picture at the classifier's working size or the reason why there is none.
Fitted = NDArray[np.uint8] | str


@dataclass(frozen=True)
class PredictionCounts:
    """What became of the pictures of one call.

    Attributes
    ----------
    predicted : int
        Pictures with a prediction.
    failed : int
        Pictures that could not be read.
    abstained : int, optional
        Predictions below the study's threshold; None where it has none.
    first_failed : str
        The first picture that could not be read, and why; empty where there is none.
    """

    predicted: int
    failed: int
    abstained: int | None = None
    first_failed: str = ""


def predict_pictures(
    classifier: NamedClassifier | NamedEnsemble,
    paths: Sequence[Path | str],
    out: Path | str,
    *,
    calibrated: bool = True,
    mirrored: bool = False,
    batch_size: int = 32,
    path_column: str | None = None,
    root: Path | str | None = None,
    without: Path | str | None = None,
    progress: Progress | None = None,
) -> PredictionCounts:
    """Predict pictures and write a CSV file with a line per picture, in the order they were given.

    The columns are ``path``, ``predicted``, ``confidence``; ``abstain`` (true or false) where the
    study has a threshold; ``p:CLASS`` for each class; ``data.COLUMN`` for each further column of
    the tables; ``error``, why a picture could not be read. The pictures are predicted in float32,
    with the steps of the study's own images. The file appears when it is complete.

    Parameters
    ----------
    classifier : NamedClassifier or NamedEnsemble
        Of an ensemble: the mean of its members' calibrated probabilities.
    paths : sequence of Path or str
        Picture files, folders that are searched for some, and tables with a column of paths.
    out : Path or str
        The CSV file. An earlier one is written over.
    calibrated : bool, default True
        Whether probabilities are calibrated with the temperature of the study, where it has one.
        Which class is predicted, and whether the classifier abstains, does not depend on it. An
        ensemble is always calibrated.
    mirrored : bool, default False
        Whether probabilities are averaged over each picture and its mirror image, before they are
        calibrated.
    batch_size : int, default 32
    path_column : str, optional
        The tables' column of paths; default: found by what it holds, else by its name.
    root : Path or str, optional
        The folder that relative paths in tables start from; default: each table's own.
    without : Path or str, optional
        A folder that is not searched for pictures.
    progress : Progress, optional

    Returns
    -------
    PredictionCounts

    Raises
    ------
    ConfigError
        Where the weights have no classifier, `out` is one of the tables, or an ensemble is not to
        be calibrated.
    DataError
        Where a table is not clear, or no picture can be read; then nothing is written.
    RunError
        Where `out` cannot be written.

    Examples
    --------
    >>> from seewhy import open_classifier, predict_pictures
    >>> predict_pictures(open_classifier("runs/photos"), ["photos/cat"], "cats.csv").predicted
    6
    """
    out, progress = Path(out), progress or Silent()
    if batch_size < 1:
        raise ConfigError(f"batch_size: expected at least 1, but got {batch_size}")
    if isinstance(classifier, NamedEnsemble) and not calibrated:
        raise ConfigError(f"{classifier.name}: averages calibrated probabilities, no others")
    if not classifier.classes:
        raise ConfigError(f"{classifier.name}: its weights have no classifier, so nothing to say")
    apart = None if without is None else Path(without)
    given = list_given([Path(path) for path in paths], apart, path_column, _folder(root))
    _check_out(out, given)
    if root is not None and not given.tables:
        raise ConfigError(f"{root}: a root is for paths in tables, but no table is given")
    names = ((one.shown, one.path) for one in given.pictures if not one.error)
    # All members of an ensemble take pictures of one size, and black and white as in their study.
    first = classifier.members[0] if isinstance(classifier, NamedEnsemble) else classifier
    decoder = replace(first, levels=find_levels(first, names, progress))
    for note in _notes(classifier, mirrored):
        progress.say(note)
    lines = _Lines(classifier, given.columns, calibrated, mirrored)
    with writing(out) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(lines.header)
        with progress.task("predict", len(given.pictures)) as advance:
            for batch, fitted in _batches(decoder, given.pictures, batch_size):
                writer.writerows(lines.of(batch, fitted))
                advance(len(batch))
        found = lines.counts
        if not found.predicted:
            raise DataError(_nothing(found))
    return found


def explain_predicted(
    classifier: NamedClassifier,
    paths: Sequence[Path | str],
    folder: Path | str,
    path_column: str | None = None,
    root: Path | str | None = None,
    progress: Progress | None = None,
) -> int:
    """Write maps of the predicted classes, as `explain_pictures` does; return of how many pictures.

    The arguments are those of `predict_pictures`; a picture that a table names twice is drawn once.
    """
    files: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir() or not is_table(path):
            files[path] = None
        else:
            rows = list_given([path], column=path_column, root=_folder(root)).pictures
            files |= dict.fromkeys(one.path for one in rows if not one.error)
    return len(explain_pictures(classifier, list(files), folder, progress=progress).pictures)


def _folder(root: Path | str | None) -> Path | None:
    if root is None:
        return None
    if not Path(root).is_dir():
        raise ConfigError(f"{root}: expected a folder that the paths in tables start from")
    return Path(root)


def _check_out(out: Path, given: GivenPictures) -> None:
    refuse_study_files(out)
    if suffix_of(out.name) in picture_suffixes():
        raise ConfigError(f"{out}: is named like a picture; name a .csv file with --out")
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; name a file for the predictions with --out")
    if out.exists() and any(out.samefile(table) for table in given.tables):
        raise ConfigError(f"{out}: is the table to predict; name another file with --out")


def _nothing(found: PredictionCounts) -> str:
    if found.failed == 1:
        return found.first_failed
    pictures = count(found.failed, "picture")
    return f"none of the {pictures} can be read; the first: {found.first_failed}"


def _batches(
    classifier: NamedClassifier, pictures: Sequence[GivenPicture], size: int
) -> Iterator[tuple[Sequence[GivenPicture], Sequence[Fitted]]]:
    """Yield pictures with what they were decoded to, `size` at a time and in order."""

    def decode(place: int) -> Fitted:
        one = pictures[place]
        if one.error:
            return one.error
        try:
            return read_fitted(classifier, one.path)
        except UnreadableImageError as error:
            return error.reason

    decoded = in_threads(decode, len(pictures))
    for start in range(0, len(pictures), size):
        yield pictures[start : start + size], list(islice(decoded, size))


def _notes(classifier: NamedClassifier | NamedEnsemble, mirrored: bool) -> list[str]:
    """Say what is missing that the study should have."""
    if isinstance(classifier, NamedClassifier):
        return [f"{classifier.name}: {note}" for note in _rule(classifier, mirrored).notes]
    own = [f"{classifier.name}: {note}" for note in classifier.notes]
    members = classifier.members if mirrored else ()
    return own + [note for one in members for note in _notes(one, mirrored)]


def _rule(classifier: NamedClassifier, mirrored: bool) -> DecisionRule:
    return classifier.mirrored_rule if mirrored else classifier.rule


@dataclass(frozen=True)
class _Answers:
    """Pictures' probabilities (N, M) as they are written, predicted classes, abstention."""

    probabilities: NDArray[np.float32] | NDArray[np.float64]
    predicted: NDArray[np.int64]
    abstains: NDArray[np.bool_] | None


def _answers(
    classifier: NamedClassifier | NamedEnsemble,
    fitted: list[NDArray[np.uint8]],
    calibrated: bool,
    mirrored: bool,
) -> _Answers:
    """Predict fitted pictures."""
    if isinstance(classifier, NamedEnsemble):
        rows = [
            _rule(one, mirrored).calibrate(predict_fitted(one, fitted, mirrored))
            for one in classifier.members
        ]
        mean = np.average(rows, axis=0, weights=classifier.weights)
        return _Answers(mean, mean.argmax(axis=1), None)
    rule = _rule(classifier, mirrored)
    raw = predict_fitted(classifier, fitted, mirrored)
    shown = rule.calibrate(raw) if calibrated and rule.temperature is not None else raw
    return _Answers(shown, raw.argmax(axis=1), rule.abstains(raw))


class _Lines:
    """Makes the lines of the CSV file, and counts them."""

    def __init__(
        self,
        classifier: NamedClassifier | NamedEnsemble,
        columns: Sequence[str],
        calibrated: bool,
        mirrored: bool,
    ) -> None:
        self._classifier, self._columns = classifier, columns
        self._calibrated, self._mirrored = calibrated, mirrored
        self._abstains = (
            isinstance(classifier, NamedClassifier)
            and _rule(classifier, mirrored).threshold is not None
        )
        self.counts = PredictionCounts(0, 0, 0 if self._abstains else None)
        self.header = (
            *("path", "predicted", "confidence", *(("abstain",) if self._abstains else ())),
            *(f"p:{name}" for name in classifier.classes),
            *(f"data.{name}" for name in columns),
            "error",
        )

    def of(
        self, batch: Sequence[GivenPicture], fitted: Sequence[Fitted]
    ) -> Iterator[tuple[str, ...]]:
        """Predict a batch and yield its lines."""
        readable = [one for one in fitted if not isinstance(one, str)]
        said = iter(self._say(readable)) if readable else iter(())
        for one, picture in zip(batch, fitted, strict=True):
            cells = tuple(one.cell(name) for name in self._columns)
            if isinstance(picture, str):
                self._count_failed(one, picture)
                empty = ("",) * (len(self.header) - len(cells) - 2)
                yield (one.shown, *empty, *cells, picture)
            else:
                yield (one.shown, *next(said), *cells, "")

    def _say(self, fitted: list[NDArray[np.uint8]]) -> list[tuple[str, ...]]:
        """Return predicted class, confidence, abstention and probabilities of each picture."""
        classes = self._classifier.classes
        found = _answers(self._classifier, fitted, self._calibrated, self._mirrored)
        abstains = found.abstains
        decided: list[tuple[str, ...]] = [()] * len(fitted)
        if abstains is not None:
            decided = [("true" if one else "false",) for one in abstains]
        abstained = None if abstains is None else (self.counts.abstained or 0) + int(abstains.sum())
        self.counts = replace(
            self.counts, predicted=self.counts.predicted + len(fitted), abstained=abstained
        )
        return [
            (classes[best], repr(float(row[best])), *decision, *map(repr, row.tolist()))
            for best, row, decision in zip(
                found.predicted.tolist(), found.probabilities, decided, strict=True
            )
        ]

    def _count_failed(self, one: GivenPicture, reason: str) -> None:
        first = self.counts.first_failed or f"{one.shown}: {reason}"
        self.counts = replace(self.counts, failed=self.counts.failed + 1, first_failed=first)


def predict_fitted(
    classifier: NamedClassifier, fitted: list[NDArray[np.uint8]], mirrored: bool = False
) -> NDArray[np.float32]:
    """Return the probabilities (N, M) of fitted pictures, not calibrated.

    With `mirrored` the means of those of each picture and of its mirror image.

    Raises ConfigError where the classifier has other classes than its names say.
    """
    images = fitted_to_input(fitted, classifier.preprocess, classifier.module)
    probabilities = _probabilities(classifier, images)
    if mirrored:
        other = _probabilities(classifier, mirror(images)).astype(np.float64)
        probabilities = ((probabilities + other) / 2).astype(np.float32)
    if probabilities.shape[1] != len(classifier.classes):
        raise ConfigError(
            f"{classifier.name}: expected a name for each of its {probabilities.shape[1]} classes, "
            f"but got {len(classifier.classes)}"
        )
    return probabilities


def _probabilities(classifier: NamedClassifier, images: Tensor) -> NDArray[np.float32]:
    with torch.no_grad():
        answer = ask(classifier.module, lambda: classifier.module(images), None, len(images))
    probabilities: NDArray[np.float32] = read_probabilities(answer, "softmax").cpu().numpy()
    return probabilities
