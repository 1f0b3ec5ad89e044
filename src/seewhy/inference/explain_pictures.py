"""Pictures through a classifier, batch by batch: what it says of each and where it looks.

Of all that was decoded only one batch is held. Knows nothing of how a classifier or a map is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seewhy.errors import ConfigError, UnreadableImageError
from seewhy.explanation.explain import Explanation
from seewhy.explanation.methods.registry import Method
from seewhy.inference.classifiers import NamedClassifier
from seewhy.inference.explanation_request import ExplanationRequest, ResolvedRequest, read_question
from seewhy.inference.manifest import NAME as MANIFEST
from seewhy.inference.manifest import FailedPicture, Manifest, Picture, write_manifest
from seewhy.inference.overlays import OverlayWriter
from seewhy.inference.picture_input import find_levels, fitted_to_input, read_fitted
from seewhy.inference.picture_names import PictureFile, find_pictures
from seewhy.runtime.progress import Progress, Silent
from seewhy.storage.run_directory import refuse_study_files


def explain_pictures(
    classifier: NamedClassifier,
    paths: Sequence[Path | str],
    out: Path | str,
    asking: ExplanationRequest | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Explain pictures; write overlays, maps, a sheet where there are several, the manifest last.

    Files of an earlier call in the same folder are written over. Where no picture could be
    explained nothing is written.

    Parameters
    ----------
    classifier : NamedClassifier
    paths : sequence of Path or str
        Picture files, and folders that are searched for some.
    out : Path or str
        Folder for the results.
    asking : ExplanationRequest, optional
        Default: Grad-CAM of the predicted class.
    progress : Progress, optional

    Returns
    -------
    Manifest
        What was written to manifest.json.

    Raises
    ------
    ConfigError
        For a question that this classifier cannot be asked.
    RunError
        Where `out` cannot be written.
    """
    asking, folder, progress = asking or ExplanationRequest(), Path(out), progress or Silent()
    refuse_study_files(folder)
    question = read_question(classifier, asking)
    against = tuple(classifier.classes[k] for k in question.against)
    found, failures = find_pictures([Path(path) for path in paths], without=folder)
    files = [(one.shown, one.path) for one in found]
    levels = find_levels(classifier, files, progress, asking.white, asking.black)
    classifier = replace(classifier, levels=levels)
    artist = OverlayWriter(
        folder,
        classifier.classes,
        question.many,
        ", ".join(against),
        asking.opacity,
        classifier.max_megapixels,
        classifier.fit,
        classifier.levels,
    )
    pictures: list[Picture] = []
    waiting = iter(found)
    with progress.task("explain", len(found)) as advance:
        while batch := list(islice(waiting, asking.batch_size)):
            asked, answers = _explain_batch(classifier, question, batch, failures)
            if asked and not pictures:
                (folder / MANIFEST).unlink(missing_ok=True)
            unsure = _decisions(classifier, answers)
            for row, one in enumerate(asked):
                try:
                    drawn = artist.draw(one, answers, row)
                    pictures.append(drawn.model_copy(update=unsure[row]))
                except UnreadableImageError as error:
                    failures.append(FailedPicture(path=one.shown, reason=error.reason))
                advance(1)
            advance(len(batch) - len(asked))
    manifest = Manifest(
        classifier=classifier.name,
        weights=classifier.weights,
        input_size=classifier.preprocess.size,
        resize=classifier.resize,
        classes=len(classifier.classes),
        against=against,
        pictures=tuple(pictures),
        failed=tuple(failures),
    )
    if pictures:
        write_manifest(folder, manifest)
    return manifest


def _explain_batch(
    classifier: NamedClassifier,
    question: ResolvedRequest,
    batch: Sequence[PictureFile],
    failures: list[FailedPicture],
) -> tuple[list[PictureFile], list[tuple[Method, Explanation]]]:
    """Explain what can be explained of a batch; add the rest to `failures`."""
    asked: list[PictureFile] = []
    fitted: list[NDArray[np.uint8]] = []
    for one in batch:
        try:
            fitted.append(read_fitted(classifier, one.path))
            asked.append(one)
        except UnreadableImageError as error:
            failures.append(FailedPicture(path=one.shown, reason=error.reason))
    if not asked:
        return [], []
    images = fitted_to_input(fitted, classifier.preprocess, classifier.module)
    opposed = question.opposed(classifier.module, images)
    for one, k in zip(asked, opposed, strict=True):
        if k is not None:
            reason = f"is taken for {classifier.classes[k]}, which cannot be held against itself"
            failures.append(FailedPicture(path=one.shown, reason=reason))
    kept = [row for row, k in enumerate(opposed) if k is None]
    answers = question.ask(classifier.module, images[kept]) if kept else []
    for _, answer in answers:
        _check_names(classifier, answer)
    return [asked[row] for row in kept], answers


def _decisions(
    classifier: NamedClassifier, answers: Sequence[tuple[Method, Explanation]]
) -> list[dict[str, bool | float]]:
    """Return what the study's threshold says of each picture of a batch; nothing without one."""
    if not answers:
        return []
    probabilities = answers[0][1].probabilities.float().cpu().numpy()
    abstains = classifier.rule.abstains(probabilities)
    if abstains is None:
        return [{} for _ in probabilities]
    confidence = classifier.rule.calibrate(probabilities).max(axis=1)
    return [
        {"abstains": bool(one), "calibrated": float(sure)}
        for one, sure in zip(abstains, confidence, strict=True)
    ]


def _check_names(classifier: NamedClassifier, answer: Explanation) -> None:
    """Refuse to call classes by names that are not theirs."""
    names, known = len(classifier.classes), answer.logits.shape[1]
    if names not in (0, known):
        raise ConfigError(
            f"{classifier.name}: expected a name for each of its {known} classes, but got {names}: "
            f"{', '.join(classifier.classes[:3])}{', …' if names > 3 else ''}"
        )
