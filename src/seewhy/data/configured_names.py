"""Columns and classes that a configuration names, held against what a source has.

Checked before anything is decoded: a name that is misspelled costs seconds, not an hour.
"""

from __future__ import annotations

from seewhy.config import StudyConfig
from seewhy.data.groups import column
from seewhy.data.sources.listing import Listing
from seewhy.errors import DataError, near_names
from seewhy.wording import some


def check_names(listing: Listing, config: StudyConfig) -> None:
    """Refuse names of columns and classes that a listing does not have.

    Raises
    ------
    DataError
        With near names.
    """
    for check in (_columns, _positive, _order, _weights, _image_weights):
        check(listing, config)


def _columns(listing: Listing, config: StudyConfig) -> None:
    """Refuse names of columns that are not there, before anything is decoded."""
    data = config.data
    named = [("data.group", name) for name in data.group]
    if data.breakdown != "auto":
        named += [("data.breakdown", name) for name in data.breakdown]
    if data.leave_out is not None:
        named.append(("data.leave_out", data.leave_out))
    for key, name in named:
        column(listing.metadata, name, key, listing.source)


def _positive(listing: Listing, config: StudyConfig) -> None:
    """Refuse a positive class or an operating point that these classes cannot have."""
    wanted, classes = config.evaluation, listing.classes
    for key in ("positive", "operating_point"):
        if getattr(wanted, key) is not None and len(classes) != 2:
            raise DataError(
                f"evaluation.{key}: expected two classes, but {listing.source} has {len(classes)}"
            )
    if wanted.positive is not None and wanted.positive not in classes:
        raise DataError(
            f"evaluation.positive: expected {' or '.join(map(repr, classes))}, "
            f"but got {wanted.positive!r}"
        )


def _order(listing: Listing, config: StudyConfig) -> None:
    """Refuse an order that does not have each class once."""
    order = config.data.ordered
    if not isinstance(order, bool) and sorted(order) != sorted(listing.classes):
        raise DataError(
            f"data.ordered: expected each class once ({some([repr(c) for c in listing.classes])}), "
            f"but got {some([repr(name) for name in order])}"
        )


def _weights(listing: Listing, config: StudyConfig) -> None:
    """Refuse a weight of a class that is not there."""
    weights = config.head.class_weights
    for name in weights if isinstance(weights, dict) else ():
        if name not in listing.classes:
            raise DataError(
                f"head.class_weights: {listing.source} has no class {name!r}"
                f"{near_names(name, listing.classes)}"
            )


def _image_weights(listing: Listing, config: StudyConfig) -> None:
    """Refuse weights of images that are in no table; a table without the column was refused."""
    if config.data.weight is not None and listing.weights is None:
        raise DataError(
            f"data.weight: {listing.source} is no table, so it has no column "
            f"{config.data.weight!r}; leave the key out"
        )
