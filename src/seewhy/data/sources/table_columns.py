"""What the columns of a table mean: which hold paths, labels, splits, masks, weights, boxes.

A column is named by the configuration, else found by its name, else by what it holds; weights are
what the configuration names, nothing else. What is ambiguous is refused with the names to choose
from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seewhy.data.sources.class_names import printable
from seewhy.data.sources.picture_suffixes import picture_suffixes, suffix_of
from seewhy.errors import DataError, near_names
from seewhy.wording import listing, some

if TYPE_CHECKING:
    from seewhy.config import DataConfig
    from seewhy.data.sources.table_file import Table

# Names in the order in which they are preferred.
PATHS: tuple[str, ...] = (
    *("path", "filepath", "file_path", "image_path", "file_name", "filename", "file", "image"),
    *("img_path", "img", "picture", "photo", "url", "image_id", "img_id", "id"),
)
LABELS: tuple[str, ...] = (
    *("label", "labels", "class", "class_name", "classname", "category", "target", "choice"),
    *("diagnosis", "species", "dx", "y", "wnid", "annotation"),
)
SPLITS = ("split", "subset", "set", "partition", "fold_name")
MASKS = ("mask", "mask_path", "maskpath", "segmentation", "seg_path")
# They are weights only where the configuration says so: a sample may be a rock, a meal or tissue,
# and its weight in grams.
_WEIGHTS = ("sample_weight", "image_weight", "loss_weight")
_PERHAPS_WEIGHTS = (*_WEIGHTS, "weight", "weights")
# Corners in pixels: left, top, right, bottom.
BOXES = (
    ("left", "top", "right", "bottom"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
)
# Of the cells that are not empty, this share has to look like pictures' names.
_SHARE = 0.9


@dataclass(frozen=True)
class TableColumns:
    """The names of a table's columns by what they mean.

    Attributes
    ----------
    path, label : str
    split, mask, weight : str, optional
    boxes : tuple of str
        Four, or none: left, top, right, bottom.
    metadata : tuple of str
        All others, and `split`: kept beside the images to the end.
    """

    path: str
    label: str
    split: str | None
    mask: str | None
    weight: str | None
    boxes: tuple[str, ...]
    metadata: tuple[str, ...]

    @property
    def perhaps_weight(self) -> str | None:
        """A further column that may have been meant as the images' weights."""
        return None if self.weight else _named(self.metadata, _PERHAPS_WEIGHTS)


def find_columns(table: Table, data: DataConfig) -> TableColumns:
    """Decide what the columns of a table mean.

    Parameters
    ----------
    table : Table
    data : DataConfig
        ``path``, ``label``, ``split``, ``mask`` and ``weight`` name columns; ``group``,
        ``leave_out`` and ``breakdown`` have to be there too.

    Raises
    ------
    DataError
        For a column that is not there, and where path or label is not clear.
    """
    names = tuple(table.columns)
    for key in ("path", "label", "split", "mask", "weight"):
        _check(table, f"data.{key}", getattr(data, key))
    boxes = next((four for four in BOXES if set(four) <= set(names)), ())
    path = path_column(table, data.path)
    split = data.split or _named(names, SPLITS)
    mask = data.mask or _named(names, MASKS)
    weight = data.weight
    taken = {path, split, mask, weight, _named(names, _WEIGHTS), *boxes}
    label = data.label or _label(table, taken)
    for key in ("path", "split", "mask", "weight"):
        if label == getattr(data, key):
            raise DataError(f"data.{key} and data.label both name {label!r}; expected two columns")
    metadata = tuple(name for name in names if name not in {path, label, mask, weight, *boxes})
    return TableColumns(path, label, split, mask, weight, boxes, metadata)


def path_column(table: Table, name: str | None = None, key: str = "data.path") -> str:
    """Return the column of paths.

    Parameters
    ----------
    table : Table
    name : str, optional
        What the column is called; default: the one whose cells look like names of pictures, else
        the one that is called like paths.
    key : str, default "data.path"
        What can name the column; for messages.

    Raises
    ------
    DataError
        For a column that is not there, and where it is not clear.
    """
    _check(table, key, name)
    return name or _path(table, key)


def _check(table: Table, key: str, name: str | None) -> None:
    if name is not None and name not in table.columns:
        raise DataError(
            f"{printable(table.file)}: has no column {name!r}, which {key} names"
            f"{near_names(name, table.columns)}{_there(table)}"
        )


def _there(table: Table) -> str:
    return f"; its columns are {some([repr(name) for name in table.columns], 12)}"


def _named(names: Sequence[str], known: Sequence[str]) -> str | None:
    plain = {name.strip().casefold().replace(" ", "_").replace("-", "_"): name for name in names}
    return next((plain[name] for name in known if name in plain), None)


def _path(table: Table, key: str) -> str:
    looking = [name for name, cells in table.columns.items() if _pictures(cells)]
    masks = _named(tuple(table.columns), MASKS)
    looking = [name for name in looking if name != masks]
    if len(looking) == 1:
        return looking[0]
    by_name = _named(looking or tuple(table.columns), PATHS)
    if by_name is not None:
        return by_name
    if looking:
        raise DataError(
            f"{printable(table.file)}: several columns hold names of pictures "
            f"({listing([repr(name) for name in looking])}); choose one with {key}"
        )
    raise DataError(
        f"{printable(table.file)}: no column holds names of pictures; name it with "
        f"{key}{_there(table)}"
    )


def _pictures(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells[:1000] if cell]
    like = sum(suffix_of(cell) in picture_suffixes() for cell in filled)
    return bool(filled) and like >= _SHARE * len(filled)


def _label(table: Table, taken: set[str | None]) -> str:
    """Return the column of labels: by its name, else the only one that divides the rows."""
    rest = [name for name in table.columns if name not in taken]
    by_name = _named(rest, LABELS)
    if by_name is not None:
        return by_name
    dividing = [name for name in rest if _divides(table.columns[name])]
    if len(dividing) == 1:
        return dividing[0]
    if dividing:
        raise DataError(
            f"{printable(table.file)}: several columns could be the labels "
            f"({some([repr(name) for name in dividing], 8)}); choose one with data.label"
        )
    raise DataError(
        f"{printable(table.file)}: no column looks like labels; name it with "
        f"data.label{_there(table)}"
    )


def _divides(cells: Sequence[str]) -> bool:
    """Tell whether a column holds at least two values, each of them several times."""
    filled = [cell for cell in cells if cell]
    values = len(set(filled))
    return 2 <= values <= max(2, len(filled) // 4) and values < len(filled)
