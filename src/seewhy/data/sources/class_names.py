"""Names of classes: as folders spell them, in order, near spellings, and counted in a sentence.

Pure functions of names and listings.
"""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import PurePath

import numpy as np

from seewhy.data.sources.listing import Listing
from seewhy.errors import DataError
from seewhy.storage.schemas.dataset import SPLITS, Split
from seewhy.wording import count, some

_WORDS: dict[Split, str] = {"train": "training", "validation": "validation", "test": "test"}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def shown(name: str) -> str:
    """Turn a file's name into text that is UTF-8, escaping bytes that are not."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def printable(path: PurePath | str) -> str:
    """Turn a path into text for one line: other bytes and control characters escaped."""
    text = shown(str(path))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def argument(path: PurePath | str) -> str:
    """Write a path as the argument of a command; where that takes more than a line, in Python."""
    text = str(path)
    return shlex.quote(text) if text.isprintable() else repr(text)


def class_name(folder: str) -> str:
    """Return the class that a folder's name names: Unicode's composed form (NFC), as UTF-8."""
    return unicodedata.normalize("NFC", shown(folder))


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort names of classes: numbers by their value and first, then the others as text."""

    def key(name: str) -> tuple[bool, float, str]:
        number = _NUMBER.fullmatch(name) is not None
        return not number, float(name) if number else 0.0, name

    return tuple(sorted(set(names), key=key))


def spelling(name: str) -> str:
    """Return what two spellings of one name share: no case, one blank for all separators."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(re.sub(r"[\s_-]+", " ", text).split()) or name


def alike(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that differ only in case, blanks, hyphens and underscores."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[spelling(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def refuse_escapes(folders: Iterable[str], where: str) -> None:
    r"""Refuse two folders that are shown alike but are not: the byte ff and the text ``\xff``."""
    seen: dict[str, str] = {}
    for folder in folders:
        raw = unicodedata.normalize("NFC", folder)
        if seen.setdefault(class_name(folder), raw) != raw:
            raise DataError(
                f"{where}: two folders are both shown as {class_name(folder)!r}, one of them "
                "with bytes that are no UTF-8; rename one"
            )


def count_classes(listing: Listing) -> str:
    """Say which classes a listing has and how many images of each, before any is decoded.

    ``3 classes, 120 images: ant 40, bee 40, fly 40 (training 90, test 30)``.
    """
    numbers = np.bincount(listing.labels, minlength=len(listing.classes)).tolist()
    classes = [f"{name!r} {n:,}" for name, n in zip(listing.classes, numbers, strict=True)]
    divided = Counter(split for split in listing.splits if split)
    parts = ", ".join(f"{_WORDS[split]} {divided[split]:,}" for split in SPLITS if divided[split])
    if parts and None in listing.splits:
        parts = f"to be divided {listing.splits.count(None):,}, {parts}"
    total = f"{count(len(classes), 'class', 'classes')}, {count(len(listing.labels), 'image')}"
    return f"{total}: {some(classes, 20)}{f' ({parts})' if parts else ''}"
