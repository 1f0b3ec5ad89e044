"""What a folder's name says of its part in a study: training, validation, test, or nothing.

Pure functions of names; no folders are opened.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Role = Literal["train", "validation", "test", "eval", "unlabelled"]

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validating", "validation"), "validation"),
    **dict.fromkeys(("dev", "devel", "development"), "validation"),
    **dict.fromkeys(("test", "tests", "testing", "tst", "holdout", "heldout"), "test"),
    # Validation or test, whichever the other folders leave open.
    **dict.fromkeys(("eval", "evaluate", "evaluating", "evaluation"), "eval"),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions"), "unlabelled"),
    **dict.fromkeys(("unlabelled", "unlabeled"), "unlabelled"),
}
# Words that say nothing: train_set, Training Images, test2017.
_FILLERS = frozenset(
    {"set", "sets", "data", "dataset", "datasets", "split", "splits", "part", "subset", "folder"}
    | {"image", "images", "img", "imgs", "picture", "pictures", "pics", "photo", "photos"}
    | {"jpg", "jpeg", "png"}
)
# Folders beside class folders that are hardly classes, without a training folder beside them.
_NO_CLASS = frozenset({"test", "tests", "testing", "val", "validation", "holdout", "heldout"})
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+")
_NUMBERED = re.compile(r"(fold|split|cv)s?[\W_]*\d+", re.IGNORECASE)


@dataclass(frozen=True)
class SplitName:
    """What a folder's name says."""

    role: Role  # ``eval`` may be validation or test
    # The other words that say something, in small letters: ``("seg",)`` in ``seg_train``.
    stem: tuple[str, ...]


def read_name(name: str) -> SplitName | None:
    """Read a folder's name in any case, with any separators; None where it names no split.

    Examples
    --------
    >>> read_name("seg_train"), read_name("Testing"), read_name("trainval")
    (SplitName(role='train', stem=('seg',)), SplitName(role='test', stem=()), None)
    """
    words = _words(name)
    roles = [word for word in words if word in _ROLES]
    if len(roles) != 1:
        return None
    stem = tuple(w for w in words if w not in _ROLES and w not in _FILLERS and not w.isdigit())
    return SplitName(_ROLES[roles[0]], stem)


def is_filler(name: str) -> bool:
    """Tell a name that says nothing, like ``images``."""
    words = [word.casefold() for word in _WORDS.findall(name)]
    return bool(words) and all(word in _FILLERS or word.isdigit() for word in words)


def is_hardly_a_class(name: str) -> bool:
    """Tell ``test`` and ``validation``, which no class is called."""
    named = read_name(name)
    return named is not None and not named.stem and bool(_NO_CLASS & set(_words(name)))


def is_numbered_part(name: str) -> bool:
    """Tell ``fold0`` and ``split_3``."""
    return _NUMBERED.fullmatch(name.strip()) is not None


def _words(name: str) -> list[str]:
    words = [word.casefold() for word in _WORDS.findall(unicodedata.normalize("NFKC", name))]
    text = " ".join(words).replace("hold out", "holdout").replace("held out", "heldout")
    return [_bare(word) for word in text.split()]


def _bare(word: str) -> str:
    """Cut a filler off the end of a word that then names a split: trainset, testimages."""
    for filler in _FILLERS:
        if word.endswith(filler) and word.removesuffix(filler) in _ROLES:
            return word.removesuffix(filler)
    return word
