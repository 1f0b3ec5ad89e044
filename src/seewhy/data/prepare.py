"""A study's images, from its configuration to a `Dataset` in the run directory.

It calls the other modules of this package in the order of the data and knows no network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.config import StudyConfig
from seewhy.data.configured_names import check_names
from seewhy.data.decoding.fit import Fit
from seewhy.data.decoding.value_levels import LevelDecision
from seewhy.data.decoding.white_level import settle_levels
from seewhy.data.groups import column_groups, group_notes, groupings, straddling_sentences
from seewhy.data.pixels import (
    DecodedImages,
    KeptMasks,
    keep_masks,
    keep_pixels,
    mask_notes,
    mask_sentences,
)
from seewhy.data.quality.associations import (
    association_sentences,
    image_properties,
    told_labels,
)
from seewhy.data.quality.checks import check_data
from seewhy.data.quality.duplicates import Duplicates, find_duplicates
from seewhy.data.quality.faults import find_faults
from seewhy.data.quality.measurements import ImageMeasurements, measure_images
from seewhy.data.quality.mirrored_classes import mirror_notes
from seewhy.data.quality.resizing import resizing_cost, resizing_sentences
from seewhy.data.sources.class_names import count_classes
from seewhy.data.sources.corrections import without_dropped
from seewhy.data.sources.listing import Listing
from seewhy.data.sources.open_source import find_images
from seewhy.data.splits import (
    SplitAssignment,
    check_classes,
    divide,
    missing_splits,
    weightless_classes,
)
from seewhy.errors import DataError
from seewhy.runtime.progress import Progress
from seewhy.storage.optional_steps import Failures
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.data_checks import DataFindings
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.input_size import InputSize, sides
from seewhy.wording import count, some


def prepare_data(
    config: StudyConfig, input_size: InputSize, run: RunDirectory, progress: Progress
) -> Dataset:
    """Find, decode, check, divide and record the images of a study.

    Parameters
    ----------
    config : StudyConfig
    input_size : int, or height and width
        The largest input of the study's backbones, pixels.
    run : RunDirectory
        Gets the pixels, the masks where there are any, index.csv and checks.json.
    progress : Progress

    Returns
    -------
    Dataset
        Without the images that were set aside; its ids are the places in the listing. Where the
        checks fail, checks.json says why; duplicates that are not known may be separated then.

    Raises
    ------
    DataError
        Where the images cannot be found or do not suffice for a study; nothing is left behind then.
    DownloadError
        Where CIFAR-10.2 cannot be downloaded.
    RunError
        Where the run directory cannot be written.
    """
    listing = find_images(config, progress, at_least=max(sides(input_size)))
    progress.say(count_classes(listing))
    # Once before the work, and once more in `divide` without what could not be read.
    check_classes(listing)
    check_names(listing, config)
    try:
        fit = Fit(working_size(listing, input_size), config.input.resize)
        failures = Failures(run, progress)
        dataset, findings = _decode_and_check(listing, config, fit, run, progress, failures)
        failed = failures.found[0].reason if failures.found else None
        run.data.write(dataset, findings, failed)
    except BaseException:
        run.data.pixels_path.unlink(missing_ok=True)
        run.data.masks_path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            run.data.pixels_path.parent.rmdir()
        raise
    return dataset


def working_size(listing: Listing, input_size: InputSize) -> InputSize:
    """Return the size at which images are kept, for networks with inputs of `input_size` at most.

    That is `input_size`, or the images' own size where all are squares of one smaller size, as the
    input is: these are enlarged on the device, batch by batch, not on disk.
    """
    if isinstance(input_size, int) and listing.native_size is not None:
        return min(listing.native_size, input_size)
    return input_size


@dataclass(frozen=True)
class _Decoded:
    """A listing's images, decoded and measured, before they are divided.

    `measures` and `duplicates` are None where the data checks failed; `by_column` are the groups of
    `column_groups`.
    """

    listing: Listing
    readable: Listing
    levels: LevelDecision
    kept: DecodedImages
    fit: Fit
    measures: ImageMeasurements | None
    duplicates: Duplicates | None
    by_column: NDArray[np.int64] | None
    masks: KeptMasks | None


def _decode_and_check(
    listing: Listing,
    config: StudyConfig,
    fit: Fit,
    run: RunDirectory,
    progress: Progress,
    failures: Failures,
) -> tuple[Dataset, DataFindings | None]:
    decoded = _decode(listing, config, fit, run, progress, failures)
    kept, readable = decoded.kept, decoded.readable
    together = config.data.keep_duplicates_together
    choices = groupings(decoded.duplicates if together else None, decoded.by_column)
    groups, division = _divide(readable, config, choices, decoded.listing, kept)
    dataset = Dataset(
        source=listing.source,
        classes=listing.classes,
        ids=tuple(f"{i:06d}" for i in kept.indices.tolist()),
        paths=readable.paths,
        labels=readable.labels,
        splits=division.splits,
        pixels=kept.pixels,
        masks=decoded.masks.masks if decoded.masks else None,
        set_aside=(*listing.set_aside, *kept.set_aside),
        groups=groups,
        levels=decoded.levels.levels,
        metadata=readable.metadata,
        group_by=config.data.group,
        weights=readable.weights,
    )
    _refuse_weightless_classes(dataset)
    findings = None
    if decoded.measures is not None and decoded.duplicates is not None:
        with failures.optional("data checks"):
            findings = _findings(
                decoded, decoded.measures, decoded.duplicates, dataset, division, config
            )
    return dataset, findings


def _decode(
    listing: Listing,
    config: StudyConfig,
    fit: Fit,
    run: RunDirectory,
    progress: Progress,
    failures: Failures,
) -> _Decoded:
    """Write the pixels and masks that can be read, and measure the images."""
    listing, levels = settle_levels(listing, config.data.white, config.data.black, progress)
    kept = keep_pixels(without_dropped(listing), fit, run.data.pixels_path, progress)
    if kept.set_aside:
        progress.say(f"{count(len(kept.set_aside), 'image')} set aside; the report lists them")
    readable = listing.subset(kept.indices.tolist())
    _refuse_lost_splits(listing, readable, kept)
    measures, duplicates = None, None
    with failures.optional("data checks"):
        measures = measure_images(kept.pixels, progress, lambda k: fit.place(kept.sizes[k]).filled)
        duplicates = find_duplicates(measures.digests, measures.thumbs, config.data.near_duplicates)
    by_column, masks = None, None
    if config.data.group:
        by_column = column_groups(readable.metadata, config.data.group, listing.source)
    if listing.load_mask is not None:
        masks = keep_masks(listing, kept.indices, fit, run.data.masks_path)
    return _Decoded(listing, readable, levels, kept, fit, measures, duplicates, by_column, masks)


def _findings(
    decoded: _Decoded,
    measures: ImageMeasurements,
    duplicates: Duplicates,
    data: Dataset,
    division: SplitAssignment,
    config: StudyConfig,
) -> DataFindings:
    """Check the images as they were divided."""
    listing, kept, fit = decoded.listing, decoded.kept, decoded.fit
    drawn = config.data.keep_duplicates_together and bool(missing_splits(decoded.readable))
    faults = find_faults(measures, kept.sizes, fit)
    threshold = config.data.near_duplicates
    found = check_data(data, faults, duplicates, threshold, drawn, division.torn)
    cost = resizing_cost(kept.sizes, fit)
    return found.model_copy(
        update={
            "notes": [
                *listing.notes,
                *mask_notes(decoded.masks),
                *group_notes(data, decoded.by_column),
                *decoded.levels.notes,
                *mirror_notes(data.classes, config.input.augmentations, config.evaluation.mirror),
            ],
            "sentences": [
                *decoded.levels.warnings,
                *found.sentences,
                *mask_sentences(data, decoded.masks),
                *straddling_sentences(data, decoded.by_column),
                *_association_sentences(listing, data, kept, measures, config.seed),
                *resizing_sentences(cost, fit),
            ],
            "other_files": list(listing.other_files),
            **asdict(cost),
        }
    )


def _refuse_lost_splits(listing: Listing, readable: Listing, kept: DecodedImages) -> None:
    """Refuse a given split of which nothing can be read.

    Drawing another part in its place would change what the person has divided.
    """
    for split in ("test", "validation"):
        if split in listing.splits and split not in readable.splits:
            raise DataError(
                f"{listing.source}: none of its {split} images can be read; the first: "
                f"{kept.set_aside[0].path}: {kept.set_aside[0].reason}"
            )


def _refuse_weightless_classes(data: Dataset) -> None:
    """Refuse classes whose training images all have the weight 0: they would not be learned."""
    lacking = [repr(name) for name in weightless_classes(data)]
    if lacking:
        raise DataError(
            f"{data.source}: {count(len(lacking), 'class has', 'classes have')} no training image "
            f"with a weight above 0: {some(lacking, 20)}; change the weights or take the images out"
        )


def _association_sentences(
    listing: Listing,
    data: Dataset,
    kept: DecodedImages,
    measures: ImageMeasurements,
    seed: int,
) -> list[str]:
    """Name what labels can be told from without looking at an image's content."""
    files = [listing.files[i] for i in kept.indices] if listing.files else []
    properties = image_properties(files, kept.sizes, measures.thumbs)
    return association_sentences(told_labels(data.labels, properties, seed))


def _divide(
    readable: Listing,
    config: StudyConfig,
    choices: Sequence[NDArray[np.int64] | None],
    listing: Listing,
    kept: DecodedImages,
) -> tuple[NDArray[np.int64] | None, SplitAssignment]:
    """Draw the splits of what could be read, by the first grouping that can be divided.

    The message of what cannot be divided names what could not be read.
    """
    lost = np.delete(listing.labels, kept.indices).tolist()
    data, whole = config.data, bool(config.data.group)
    for k, groups in enumerate(choices):
        try:
            return groups, divide(
                readable, data.validation, data.held_out, config.seed, lost, groups, whole
            )
        except DataError as error:
            if k < len(choices) - 1:
                continue
            if not kept.set_aside:
                raise
            first = kept.set_aside[0]
            raise DataError(f"{error}; set aside first: {first.path}: {first.reason}") from error
    raise AssertionError("there is at least one grouping")
