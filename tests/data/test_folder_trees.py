"""Folder trees drawn at random, each from a meaning that is known: read so, or refused."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from seewhy.data.sources.folder import list_folder
from seewhy.errors import DataError

TREES, CHECKED = 500, 120
LIMIT = 10
CommandLine = Callable[..., subprocess.CompletedProcess[str]]


def _encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


CONTENT = {kind: _encoded(kind) for kind in ("PNG", "JPEG", "PPM", "TGA", "BMP", "WEBP")}
CONTENT["none"] = b"P6 is no picture"
# Suffixes of pictures, with what is in the file: its own kind or another one, or nothing of use.
PICTURES = {
    ".png": "PNG", ".PNG": "PNG", ".jpg": "JPEG", ".JPeG": "JPEG", ".ppm": "PPM", ".tga": "TGA",
    ".bmp": "BMP", ".webp": "WEBP", ".gif": "PNG", "": "JPEG",
}  # fmt: skip
OTHERS = (".txt", ".csv", ".mp4", ".json", ".npy", "")
# Kinds of trees that have to be read where nothing odd is in them.
READ = ("classes", "splits", "wrapped", "with test", "flat test")
KNOWN = {
    "train": ("train", "Training", "train_set", "TRAIN", "trainset", "train-images", "train2017"),
    "validation": ("val", "valid", "Validation", "dev", "validate", "val_set", "VAL"),
    "test": ("test", "Testing", "test_set", "TEST", "testset", "holdout", "test2017"),
}
ODD = (
    "a\nb", "-rf", "--help", "...", ".hidden", " lead", "trail ", "tab\t", "x" * 255, "e\u0301",
    "\u00e9", "Cat", "cat", "CAT", "10", "9", "010", "-1", "$(reboot)", "`id`", "'", '"', "\\",
    "\\xff", "[red]", "%s{0}", "\x1b[31m", "train", "test", "val", "fold0", "fold_1", "images",
    "data", "con", "\u202egnp", "\U0001f408", "a:b", "*", "?", "~", "#recycle", "@eaDir",
)  # fmt: skip

plain_names = st.text("abcdefghijklmno", min_size=3, max_size=8).map(lambda text: f"{text}k")
odd_text = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=12)
odd_bytes = st.binary(min_size=1, max_size=12).map(
    lambda raw: os.fsdecode(raw.replace(b"/", b"_").replace(b"\0", b"_"))
)
names = st.one_of(plain_names, plain_names, st.sampled_from(ODD), odd_text, odd_bytes).filter(
    lambda name: name not in (".", "..")
)


@dataclass
class Tree:
    """What to make, and what it means.

    `files` are places and what is in them, `links` places and targets; `meaning` counts the
    pictures of each class and split. `clean` trees must be read.
    """

    files: dict[tuple[str, ...], str] = field(default_factory=dict)
    links: dict[tuple[str, ...], str] = field(default_factory=dict)
    folders: set[tuple[str, ...]] = field(default_factory=set)
    pipes: set[tuple[str, ...]] = field(default_factory=set)
    meaning: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    clean: bool = True
    kind: str = ""
    test: bool = False


def named(folder: str) -> str:
    return unicodedata.normalize("NFC", os.fsencode(folder).decode("utf-8", "backslashreplace"))


def hidden(*place: str) -> bool:
    system = ("__MACOSX", "@eaDir", "#recycle")
    return any(part.startswith((".", *system)) for part in place)


@st.composite
def fill(
    draw: st.DrawFn,
    tree: Tree,
    place: tuple[str, ...],
    label: str,
    split: str | None,
    calm: bool,
    least: int = 0,
) -> None:
    """Put pictures, other files and links into a class folder."""
    tree.folders.add(place)
    count = draw(st.integers(max(least, int(calm)), least + 5))
    for number in range(count):
        inside = draw(st.lists(plain_names if calm else names, max_size=0 if calm else 2))
        suffix = draw(st.sampled_from(list(PICTURES)))
        base = f"{number}{'' if calm else draw(names)}"
        if not suffix:
            base = base.replace(".", "_")
        base = base.encode("utf-8", "surrogateescape")[:200].decode("utf-8", "surrogateescape")
        where = (*place, *inside, base + suffix)
        if _is_taken(tree, where):
            continue
        tree.files[where] = PICTURES[suffix]
        if not hidden(*where):
            tree.meaning[named(label), split] += 1
    if calm:
        return
    for number in range(draw(st.integers(0, 2))):
        where = (*place, f"other{number}{draw(st.sampled_from(OTHERS))}")
        tree.files[where] = "none"
    kind = draw(st.sampled_from(["none", "none", "cycle", "up", "dangling", "long", "pipe", "out"]))
    where = (*place, f"link {draw(plain_names)}.png")
    if kind == "pipe":
        tree.pipes.add(where)
    elif kind != "none":
        target = {
            "cycle": ".", "up": "..", "dangling": "nowhere", "long": "x" * 300,
            "out": "/".join([".."] * (len(place) + 1) + ["outside"]),
        }[kind]  # fmt: skip
        tree.links[where] = target
        # Links to nothing are pictures that cannot be read; the folder outside holds two.
        if not hidden(*where):
            tree.meaning[named(label), split] += {"dangling": 1, "long": 1, "out": 2}.get(kind, 0)


def _is_taken(tree: Tree, where: tuple[str, ...]) -> bool:
    """Tell whether a file, or a folder above, is there as something else."""
    above = [where[:k] for k in range(1, len(where))]
    return (
        where in tree.files
        or where in tree.folders
        or any(one in tree.files or one in tree.links or one in tree.pipes for one in above)
        or any(place[: len(where)] == where for place in tree.files)
    )


@st.composite
def trees(draw: st.DrawFn, least: int = 0) -> Tree:
    """Draw a tree; a class folder has at least so many pictures, and one where nothing is odd."""
    kind = draw(
        st.sampled_from(
            ["classes", "classes", "splits", "splits", "wrapped", "parts", "inverted", "stray",
             "with test", "loose test", "flat test", "soup"]
        )
    )  # fmt: skip
    calm = draw(st.booleans())
    tree = Tree(kind=kind, clean=calm and kind in READ)
    pool = plain_names if calm else names
    classes = draw(st.lists(pool, min_size=2, max_size=5, unique=True))
    known = [draw(st.sampled_from(KNOWN[split])) for split in KNOWN]
    split_of = dict(zip(known, KNOWN, strict=True))
    chosen = draw(st.sampled_from([known, [known[0], known[2]], known[:2]]))
    if kind == "classes":
        for name in classes:
            draw(fill(tree, (name,), name, None, calm, least))
    elif kind in ("splits", "wrapped"):
        for part in chosen:
            inside = (part, part) if kind == "wrapped" else (part,)
            for name in classes:
                draw(fill(tree, (*inside, name), name, split_of[part], calm, least))
    elif kind == "parts":
        for part in draw(st.lists(pool.filter(_no_split), min_size=2, max_size=4, unique=True)):
            for name in classes:
                draw(fill(tree, (part, name), name, split_of.get(part, part), True))
    elif kind == "inverted":
        for name in classes:
            for part in chosen:
                draw(fill(tree, (name, part), name, split_of[part], True))
    elif kind == "stray":
        for name in classes:
            draw(fill(tree, (name,), name, None, calm, least))
        stray = draw(st.sampled_from(KNOWN["test"]))
        if stray not in classes:
            tree.files[stray, "1.png"] = "PNG"
            tree.meaning["", "unlabelled"] += 1
    elif kind in ("with test", "loose test"):
        tree.test = True
        for name in classes:
            draw(fill(tree, (name,), name, None, calm, least))
            if kind == "with test":
                draw(fill(tree, ("held apart", name), name, "test", calm, least))
        if kind == "loose test":
            tree.files["held apart", "1.png"] = "PNG"
            tree.meaning["", "refuse"] += 1
    elif kind == "flat test":
        for name in classes:
            draw(fill(tree, (known[0], name), name, "train", calm, least))
        tree.files[known[2], "1.png"] = "PNG"
    else:
        for number in range(draw(st.integers(0, 8))):
            where = tuple(draw(st.lists(names, min_size=1, max_size=4)))
            draw(fill(tree, (*where, str(number)), "", "soup", False))
    if not calm and draw(st.booleans()):
        tree.files[("cover.png",)] = "PNG"
        tree.files[("labels.csv",)] = "none"
    # Names that mean splits by themselves, or leave less than two classes, mean nothing certain.
    visible = {name for name in classes if not hidden(name)}
    if len({named(name) for name in visible}) < 2 or not all(map(_no_split, visible)):
        tree.kind = "soup"
    return tree


def _no_split(name: str) -> bool:
    return name not in ("train", "test", "val")


def make(tree: Tree, place: Path) -> Path:
    """Make a tree below a folder; return the source."""
    root = place / "source"
    (place / "outside").mkdir()
    for name in ("1.png", "2.png"):
        (place / "outside" / name).write_bytes(CONTENT["PNG"])
    root.mkdir()

    def at(parts: tuple[str, ...]) -> Path:
        path = root.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    for parts in tree.folders:
        at(parts).mkdir(exist_ok=True)
    for parts, kind in tree.files.items():
        at(parts).write_bytes(CONTENT[kind])
    for parts, target in tree.links.items():
        at(parts).symlink_to(target)
    for parts in tree.pipes:
        os.mkfifo(at(parts))
    return root


@contextmanager
def limited() -> Iterator[None]:
    """End what takes longer than anyone waits."""

    def late(*_: object) -> None:
        raise TimeoutError(f"took more than {LIMIT} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def holds(tree: Tree, root: Path) -> str:
    """Read a tree, and hold what is read against its meaning; return what became of it."""
    try:
        with limited():
            found = list_folder(root, root / "held apart" if tree.test else None, 100)
    except DataError as error:
        assert len(str(error).splitlines()) == 1, error
        str(error).encode("utf-8")
        assert not tree.clean, error
        return "refused"
    if tree.kind == "soup":
        return "read"
    read = Counter(
        (found.classes[label], split)
        for label, split in zip(found.labels.tolist(), found.splits, strict=True)
    )
    assert read == +tree.meaning
    assert set(found.classes) == {name for name, _ in +tree.meaning}
    if tree.kind == "flat test":
        assert any("1 picture in no class folders" in note for note in found.notes)
    return "read"


SETTINGS = settings(
    deadline=None, database=None, derandomize=True, phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck), print_blob=False,
)  # fmt: skip


@settings(SETTINGS, max_examples=15)
@given(trees())
def test_a_tree_is_read_as_it_is_meant_or_refused(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as place:
        holds(tree, make(tree, Path(place)))


@pytest.mark.soak
def test_many_trees() -> None:
    became: Counter[str] = Counter()
    slowest = 0.0

    @settings(SETTINGS, max_examples=TREES)
    @given(trees())
    def look(tree: Tree) -> None:
        nonlocal slowest
        with tempfile.TemporaryDirectory() as place:
            root = make(tree, Path(place))
            start = time.monotonic()
            became[f"{tree.kind}{', clean' * tree.clean}: {holds(tree, root)}"] += 1
            slowest = max(slowest, time.monotonic() - start)

    look()
    report(became, slowest)
    assert sum(became.values()) >= TREES


@pytest.mark.soak
def test_what_the_command_line_says_of_trees(seewhy: CommandLine, tmp_path: Path) -> None:
    became: Counter[str] = Counter()
    slowest = 0.0

    @settings(SETTINGS, max_examples=CHECKED)
    @given(trees(least=3))
    def look(tree: Tree) -> None:
        nonlocal slowest
        with tempfile.TemporaryDirectory(dir=tmp_path) as place:
            root = make(tree, Path(place))
            listed = holds(tree, root)
            test = ("--test", root / "held apart") if tree.test else ()
            for _ in range(3):
                start = time.monotonic()
                done = seewhy(
                    *("check", root, *test, "--set=input.size=32", "--quiet"), cwd=Path(place)
                )
                took = time.monotonic() - start
                # What hangs hangs again; a busy machine need not be slow twice.
                if took < LIMIT:
                    break
            slowest = max(slowest, took)
        assert done.returncode in (0, 2), done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        if done.returncode == 2:
            assert len(done.stderr.splitlines()) == 1, done.stderr
            assert done.stderr.startswith("seewhy: ")
        else:
            assert listed == "read"
        became[f"{tree.kind}: {listed}, exit code {done.returncode}"] += 1

    look()
    report(became, slowest)
    assert slowest < LIMIT


def report(became: Counter[str], slowest: float) -> None:
    lines = [f"{sum(became.values())} trees, the slowest in {slowest:.1f} s"]
    lines += [f"{what}: {number}" for what, number in sorted(became.items())]
    sys.stdout.write("\n".join(["", *lines, ""]))
