"""The WordNet grouping of the ImageNet classes: which of them are dogs, ships, bovids.

ImageNet's classes are synsets of WordNet 3.0, and everything above a synset (its hypernyms) is a
kind it belongs to. A data set's class is looked up by its name among all of these, and the
ImageNet classes below form its group. This module knows names and indices only: no network, no
probabilities, no images.

The data file beside it is made by ``tools/make_imagenet_wordnet.py``.

References
----------
.. [1] G. A. Miller. WordNet: A Lexical Database for English. Communications of the ACM 38(11),
   1995.
.. [2] O. Russakovsky et al. ImageNet Large Scale Visual Recognition Challenge. IJCV 115, 2015.
"""

from __future__ import annotations

import gzip
import json
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from seewhy.errors import ConfigError, SeewhyError, near_names
from seewhy.wording import listing, some

CIFAR10_CLASSES = frozenset(
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
)
DEMO_CLASSES = frozenset(("boat", "car", "cat", "fish", "house", "mushroom", "tree", "umbrella"))
# ImageNet-1k has no deer and no tree. The paper takes bovids for deer; the kind nearest to a tree
# that has ImageNet classes is the vascular plants (two flowers).
STAND_INS = {
    CIFAR10_CLASSES: {"deer": "bovid"},
    DEMO_CLASSES: {"tree": "vascular plant"},
}
# How WordNet's morphy turns a regular plural into its singular (morphy(7WN), nouns).
_PLURALS = (
    ("s", ""),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
)
# Classes without a word that a message names.
MOST_NAMED = 5
_WNID = re.compile(r"n\d{8}")


class NoImageNetClassError(SeewhyError):
    """A class of the data set that has no ImageNet class of its kind."""


@dataclass(frozen=True)
class ImageNetGrouping:
    """A data set's classes among the outputs of an ImageNet classifier."""

    words: tuple[str, ...]  # one per class of the data set: the word that was looked up and found
    # One per class: the WordNet ids carrying that word, ascending.
    synsets: tuple[tuple[str, ...], ...]
    # (m_k,): One per class: indices into the classifier's outputs, ascending, never empty.
    # Groups may share members where one class is a kind of another (dog, animal).
    members: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class _Synset:
    lemmas: tuple[str, ...]
    parents: tuple[str, ...]


def imagenet_wnids() -> tuple[str, ...]:
    """Return the WordNet ids of the 1000 ImageNet-1k classes, in the order of their indices."""
    return _wordnet()[0]


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Return words for a classifier's outputs where they are named by WordNet ids.

    The first of a synset's words (``golden retriever``); where two outputs have the same one (the
    bird and the machine called crane), each followed by its id. What is no WordNet id of ImageNet's
    stays as it is.
    """
    words = [_word(label) for label in labels]
    counts = Counter(words)
    return tuple(
        word if counts[word] == 1 or word == label else f"{word} ({label})"
        for word, label in zip(words, labels, strict=True)
    )


def _word(label: str) -> str:
    synset = _wordnet()[1].get(label)
    return label if synset is None else synset.lemmas[0].replace("_", " ")


def group_classes(
    classes: Sequence[str], wnids: Sequence[str], words: Mapping[str, str]
) -> ImageNetGrouping:
    """Group a classifier's ImageNet classes into a data set's classes.

    A class name is looked up, lower-cased and with underscores and hyphens taken as spaces, among
    the lemmas of the synsets in `wnids` and of everything above them; where it is not found, its
    regular singular is (dogs: dog). Where several senses carry the word, the group is their
    union: WordNet keeps "cat" apart into true cats and big cats, and a person who names a class
    "cat" means no more than the word; a group too many costs less than a right one missed. Who
    means one sense alone gives a narrower word (``true cat``) or its WordNet id (``n02121620``).

    Where the classes are exactly CIFAR-10's ten and `words` has nothing for deer, "bovid" stands
    in, as in the paper; where they are exactly the demo's eight, "vascular plant" for tree.

    Parameters
    ----------
    classes : sequence of str, length K
        The data set's classes.
    wnids : sequence of str, length M
        WordNet ids of the classifier's outputs, in their order; any subset, and ids outside
        ImageNet-1k are in no group.
    words : mapping of str to str
        For some classes another word, or a WordNet id, to look up in place of the name.

    Raises
    ------
    NoImageNetClassError
        Where a class has no word above any of `wnids`.
    ConfigError
        Where `words` names something that is no class.
    """
    check_words(classes, words)
    # A word for a class by its very name is not one for another that differs only in case.
    spelled = {_plain(name): word for name, word in words.items() if name not in classes}
    spelled = STAND_INS.get(frozenset(map(_plain, classes)), {}) | spelled
    below = _below(wnids)
    senses = _senses(below)
    found: list[str] = []
    missing: dict[str, str] = {}
    for name in classes:
        word = words.get(name) or spelled.get(_plain(name), name)
        entry = next((form for form in _forms(word) if form in senses), None)
        if entry is None:
            missing[name] = word
        else:
            found.append(entry)
    if missing:
        raise NoImageNetClassError(_no_word(missing, senses))
    members = [np.concatenate([below[wnid] for wnid in senses[word]]) for word in found]
    return ImageNetGrouping(
        words=tuple(found),
        synsets=tuple(senses[word] for word in found),
        members=tuple(np.unique(indices) for indices in members),
    )


def check_words(classes: Sequence[str], words: Mapping[str, str]) -> None:
    """Refuse a word that is meant for a class the data set does not have.

    Raises ConfigError naming the key that is no class.
    """
    known = {_plain(name) for name in classes}
    for name in words:
        if _plain(name) not in known:
            raise ConfigError(
                f"baseline.words.{name}: expected one of the data set's classes, but there is no "
                f"{name!r} among them{near_names(name, classes)}"
            )


@cache
def _wordnet() -> tuple[tuple[str, ...], dict[str, _Synset]]:
    packed = resources.files("seewhy.models").joinpath("imagenet_wordnet.json.gz").read_bytes()
    content = json.loads(gzip.decompress(packed))
    synsets = {
        wnid: _Synset(tuple(entry["lemmas"]), tuple(entry["parents"]))
        for wnid, entry in content["synsets"].items()
    }
    return tuple(content["classes"]), synsets


def _below(wnids: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Map each synset that is in `wnids` or above to the indices below it, ascending."""
    _, synsets = _wordnet()
    below: dict[str, list[int]] = defaultdict(list)
    for index, wnid in enumerate(wnids):
        seen: set[str] = set()
        waiting = [wnid] if wnid in synsets else []
        while waiting:
            kind = waiting.pop()
            if kind not in seen:
                seen.add(kind)
                below[kind].append(index)
                waiting += synsets[kind].parents
    return {kind: np.array(indices, dtype=np.int64) for kind, indices in below.items()}


def _senses(wnids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Map each word, and each WordNet id, to the synsets that carry it."""
    _, synsets = _wordnet()
    senses: dict[str, set[str]] = defaultdict(set)
    for wnid in wnids:
        senses[wnid].add(wnid)
        for lemma in synsets[wnid].lemmas:
            senses[_plain(lemma)].add(wnid)
    return {word: tuple(sorted(carriers)) for word, carriers in senses.items()}


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[_-]", " ", name).lower().split())


def _forms(name: str) -> Iterable[str]:
    """Yield the word itself, then the singulars it may be the plural of."""
    word = _plain(name)
    yield word
    for ending, singular in _PLURALS:
        if word.endswith(ending):
            yield word.removesuffix(ending) + singular


def _no_word(missing: Mapping[str, str], senses: Mapping[str, object]) -> str:
    known = [word for word in senses if not _WNID.fullmatch(word)]
    named = [
        f"{name!r}" if word == name else f"{name!r} (looked up as {word!r})"
        for name, word in missing.items()
    ]
    name, word = next(iter(missing.items()))
    stand_in = STAND_INS[CIFAR10_CLASSES].get(_plain(name), "WORD")
    listed = listing(named) if len(named) <= MOST_NAMED else some(named, MOST_NAMED)
    return (
        f"the classifier's ImageNet classes hold nothing that WordNet calls {listed}; give another "
        f"word, as in --set {shlex.quote(f'baseline.words.{name}={stand_in}')}"
        f"{near_names(_plain(word), known, count=3)}"
    )
