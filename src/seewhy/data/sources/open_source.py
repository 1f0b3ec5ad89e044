"""What a person typed as SOURCE, as a listing.

The one place that knows all kinds of sources; it does not decode, divide or write anything, but
for CIFAR-10.2's download into the cache.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import platformdirs

from seewhy.config import PRESETS, DataConfig, StudyConfig
from seewhy.data.sources.arrays import list_arrays
from seewhy.data.sources.cifar102 import BASE_URL, fetch_cifar102
from seewhy.data.sources.corrections import correct
from seewhy.data.sources.demo.demo import draw_demo
from seewhy.data.sources.folder import list_folder
from seewhy.data.sources.listing import Listing
from seewhy.data.sources.object_masks import with_masks_beside
from seewhy.data.sources.table import list_table, table_in_folder
from seewhy.data.sources.table_file import is_table
from seewhy.errors import DataError, near_names
from seewhy.runtime.progress import Progress

CIFAR102 = "cifar10.2"
EXPECTED = (
    "expected demo, paper, cifar10.2, a folder of class folders, a table (.csv, .tsv, .jsonl, "
    ".json, .parquet), an .npz file or a .toml config"
)


def find_images(config: StudyConfig, progress: Progress, at_least: int | None = None) -> Listing:
    """Find the images of a study, with the corrections of their labels.

    Parameters
    ----------
    config : StudyConfig
        ``data`` says where they are; the demo also takes the seed.
    progress : Progress
        For a download.
    at_least : int, optional
        The shorter side that is needed, pixels; larger pictures may be decoded smaller.

    Raises
    ------
    DataError
        For a source that is not there, or not one of the kinds; for corrections that do not
        fit it.
    DownloadError
        Where CIFAR-10.2 cannot be downloaded.
    """
    listing = _find(config, progress, at_least)
    if config.data.corrections is None:
        return listing
    expected = "expected a table of paths and labels"
    return correct(listing, _existing(config.data.corrections, expected))


def _find(config: StudyConfig, progress: Progress, at_least: int | None) -> Listing:
    data = config.data
    if data.source in ("demo", CIFAR102):
        if data.test is not None:
            raise DataError(
                f"data.test: {data.source} brings its own test images; leave {data.test!r} out"
            )
        if data.source == "demo":
            return draw_demo(data.demo_train, data.demo_test, data.demo_size, config.seed)
        base_url = os.environ.get("SEEWHY_CIFAR102_URL") or BASE_URL
        return list_arrays(*fetch_cifar102(cache_folder() / CIFAR102, progress, base_url))
    source = _existing(data.source, EXPECTED)
    table = _table_of(source, data)
    wanted = "a folder of class folders" if source.is_dir() else "an .npz file"
    if table is not None:
        wanted = "a table"
    test = None if data.test is None else _existing(data.test, f"expected {wanted}")
    if table is not None:
        test_table = None if test is None else _table_of(test, data)
        if test is not None and test_table is None:
            raise DataError(f"{test}: is no table, but {source} is; expected {wanted}")
        try:
            return list_table(table, test_table, data, at_least)
        except DataError as error:
            if not source.is_dir():
                raise
            how = "set data.top_folders=classes to read the folder's class folders instead"
            raise DataError(f"{error}; {how}") from error
    if source.is_dir():
        found = list_folder(source, test, data.max_megapixels, at_least, data.top_folders)
        return with_masks_beside(found, source, data.max_megapixels)
    if source.suffix.lower() != ".npz":
        raise DataError(f"{source}: is a file of another kind; {EXPECTED}")
    if test is not None and test.is_dir():
        raise DataError(f"{test}: is a folder, but {source} is a file; expected {wanted}")
    return list_arrays(source, test)


def _table_of(source: Path, data: DataConfig) -> Path | None:
    """Return the table that a source is, or that describes a folder; None where there is none.

    A folder that is to be read by its folders (``data.top_folders``) is no table.
    """
    if source.is_dir():
        return table_in_folder(source) if data.top_folders == "auto" else None
    return source if is_table(source) else None


def check_source(config: StudyConfig) -> None:
    """Refuse a source that is not there, before anything that takes time starts.

    Raises DataError with near names.
    """
    if config.data.source not in ("demo", CIFAR102):
        _existing(config.data.source, EXPECTED)
    if config.data.test is not None:
        _existing(config.data.test, "expected a folder of class folders, a table or an .npz file")


def cache_folder() -> Path:
    """Tell where downloads are kept: ``SEEWHY_CACHE``, or the user's cache folder."""
    named = os.environ.get("SEEWHY_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("seewhy", appauthor=False)


def _existing(text: str, expected: str) -> Path:
    path = Path(text).expanduser()
    try:
        if text and path.exists():
            return path
    except OSError as error:
        raise DataError(f"{text}: cannot be read ({error.strerror})") from error
    known = [*PRESETS, CIFAR102]
    # Beside names that are built in, what is where the person looked for it.
    with contextlib.suppress(OSError):
        known += [str(path.parent / entry.name) for entry in path.parent.iterdir()]
    raise DataError(f"{text}: there is no such file or folder; {expected}{near_names(text, known)}")
