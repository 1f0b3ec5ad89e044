"""What labelling tools export as JSON, as plain rows of path, label and boxes: COCO, Label Studio.

A list of flat objects (Label Studio's JSON-MIN, pandas' records) is taken as it is.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from seewhy.data.sources.class_names import printable
from seewhy.errors import DataError

# Where Label Studio serves local files and uploads.
_LOCAL, _UPLOAD = "/data/local-files/", "/data/upload/"


def export_rows(content: Any, file: Path) -> list[Any]:
    """Return rows of an export, one per image, or per box of an image.

    Parameters
    ----------
    content : object
        The parsed JSON.
    file : Path
        For messages.

    Returns
    -------
    list of dict
        With ``path`` and ``label``; of boxes also ``left``, ``top``, ``right``, ``bottom`` in
        pixels.

    Raises
    ------
    DataError
        Where the content is none of these.
    """
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        return _coco(content, file)
    if isinstance(content, list):
        if any(isinstance(one, dict) and "annotations" in one and "data" in one for one in content):
            return [_task(one, number, file) for number, one in enumerate(content, start=1)]
        return content
    raise DataError(
        f"{printable(file)}: is JSON of another kind; expected a list of objects, or an export of "
        "COCO or Label Studio"
    )


def _coco(content: dict[str, Any], file: Path) -> list[dict[str, Any]]:
    """Return a row per annotation; an image without any has a row without a label."""
    try:
        names = {one["id"]: str(one["name"]) for one in content["categories"]}
        by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for one in content["annotations"]:
            by_image[one["image_id"]].append(one)
        rows: list[dict[str, Any]] = []
        for image in content["images"]:
            path = str(image["file_name"])
            for one in by_image.get(image["id"], ()):
                row: dict[str, Any] = {"path": path, "label": names[one["category_id"]]}
                if one.get("bbox"):
                    left, top, width, height = (float(value) for value in one["bbox"])
                    row |= {"left": left, "top": top, "right": left + width, "bottom": top + height}
                rows.append(row)
            if image["id"] not in by_image:
                rows.append({"path": path, "label": ""})
        return rows
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{printable(file)}: is no COCO annotation file ({type(error).__name__}: {error})"
        ) from error


def _task(task: Any, number: int, file: Path) -> dict[str, Any]:
    """Return the row of a Label Studio task: its first picture and its first choice."""
    try:
        data: dict[str, Any] = task["data"]
        path = next(str(data[key]) for key in ("image", "img", "photo", *data) if key in data)
        given = [one for one in task["annotations"] if not one.get("was_cancelled")]
        choices = [
            result["value"]["choices"]
            for one in given[:1]
            for result in one["result"]
            if result.get("type") == "choices"
        ]
        if any(len(one) > 1 for one in choices):
            raise DataError(
                f"{printable(file)}, entry {number:,}: has several labels ({choices[0]!r}); "
                "expected one per image"
            )
        others = {key: value for key, value in data.items() if str(value) != path}
        return {"path": _local(path), "label": choices[0][0] if choices else "", **others}
    except (KeyError, TypeError, IndexError, AttributeError, StopIteration) as error:
        raise DataError(
            f"{printable(file)}, entry {number:,}: is no task of Label Studio "
            f"({type(error).__name__}: {error})"
        ) from error


def _local(path: str) -> str:
    """Return a local path for the address under which Label Studio serves a picture."""
    parts = urlsplit(path)
    if parts.path.startswith(_LOCAL):
        return parse_qs(parts.query).get("d", [path])[0]
    if parts.path.startswith(_UPLOAD):
        return unquote(parts.path.rsplit("/", 1)[-1])
    return unquote(parts.path) if parts.scheme == "file" else path
