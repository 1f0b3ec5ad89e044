"""What the checks find among the images before a training: checks.json.

Plain values. How they are found is in ``data/quality/``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from seewhy.storage.schemas.base import Rate, Record
from seewhy.storage.schemas.dataset import Split
from seewhy.storage.schemas.input_size import InputSize
from seewhy.storage.schemas.levels import ValueLevel

Fault = Literal["odd-shaped", "small", "blank", "dark", "blurred"]


class FlaggedImage(Record):
    """One image that the checks name.

    `value` is what was measured (see `ImageFault.rule`), `reason` says it in words, as in
    "dark: 99 % of it are darker than 12 of 255".
    """

    id: str
    path: str
    label: str
    split: Split
    value: float
    reason: str


class ImageFault(Record):
    """All images with one fault: how many (0 too), and the first of them, the worst first.

    `rule` says in a sentence what counts as the fault.
    """

    fault: Fault
    rule: str
    count: int
    first: list[FlaggedImage]


class DuplicateImage(Record):
    """One member of a group of duplicates."""

    id: str
    path: str
    label: str
    split: Split


class DuplicateGroup(Record):
    """Images that are the same or nearly alike.

    `kind` is "exact" where all members have the same pixels at the working size. `similarity` is
    the least one that holds the group together, 1 for exact copies. `labels` and `splits` are those
    of all `size` members, each once; `images` the first members, at least one of each label and
    split where there is room. `divided` says why a draw that keeps duplicates together could not
    keep these.
    """

    kind: Literal["exact", "near"]
    size: int
    similarity: float
    labels: list[str]
    splits: list[Split]
    images: list[DuplicateImage]
    divided: str | None = None


class DuplicatesRecord(Record):
    """Groups of duplicates: how many, and the first of them.

    Attributes
    ----------
    threshold : float
        Similarity from which two images count as near duplicates (``data.near_duplicates``).
    images, groups, exact, near : int
        Images in groups; groups in all, of exact copies alone, and others.
    leaking, conflicting : int
        Groups with members in several splits; with several labels.
    seen : dict of str to int
        For "validation": its images that have a duplicate among the training images. For "test":
        those that have one among the training or validation images.
    kept_together : int
        Groups within one split, where a split was drawn with duplicates kept together; else 0.
    first : list of DuplicateGroup
        The leaking ones first, then the conflicting ones, then the others.
    """

    threshold: float
    images: int
    groups: int
    exact: int
    near: int
    leaking: int
    conflicting: int
    seen: dict[str, int]
    kept_together: int
    first: list[DuplicateGroup]


class ClassBalance(Record):
    """How evenly the training images are spread over the classes.

    `ratio` is that of the `largest` class to the `smallest`; `few` names the classes (the first
    of them) with less than `few_below` training images.
    """

    largest: str
    smallest: str
    ratio: float
    few_below: int
    few: list[str]


class OtherFiles(Record):
    """Files beside the pictures that were not read, of one kind.

    `suffix` is theirs, empty where they have none; `first` are the places of the first of them.
    """

    suffix: str
    count: int
    first: list[str]


class DataFindings(Record):
    """What the checks found among the images; lists are bounded, counts are not.

    `sentences` say in plain words what is wrong, one thing each; empty where nothing is. `notes`
    say how the source was read: which folder is which split, what was not read; and which values of
    the images are black and white. `other_files` are files that are no pictures, the most frequent
    kind first. `cropped`, `padded` and `stretched` are what it costs to bring the images to the
    input's proportions, see `seewhy.data.quality.resizing.ResizingCost`.
    """

    images: int
    faults: list[ImageFault]
    duplicates: DuplicatesRecord
    balance: ClassBalance
    sentences: list[str]
    notes: list[str] = Field(default_factory=list)
    other_files: list[OtherFiles] = Field(default_factory=list)
    cropped: Rate = 0.0
    padded: Rate = 0.0
    stretched: float = 1.0


class DataChecks(Record):
    """checks.json: what the data look like before anything is trained.

    `findings` is None where the checks failed, and `failed` says why. `levels` are empty where no
    image has more than 8 bits per value; `group_by` are the columns whose equal values kept images
    together.
    """

    source: str
    working_size: InputSize
    counts: dict[str, dict[str, int]]
    set_aside: list[dict[str, str]]
    masks: bool
    findings: DataFindings | None = None
    failed: str | None = None
    levels: list[ValueLevel] = Field(default_factory=list)
    group_by: list[str] = Field(default_factory=list)
