"""Make ``src/seewhy/models/imagenet_wordnet.json.gz`` from WordNet 3.0's own files.

``python tools/make_imagenet_wordnet.py --wordnet /usr/share/wordnet`` (Debian: wordnet-base) reads
``data.noun``, keeps the 1000 ImageNet-1k synsets and everything above them, and writes lemmas and
parents of each. The same input gives the same JSON to the last byte; WordNet's licence, which has
to be on every copy, goes with it. The layout of ``data.noun`` is described in WordNet's wndb(5WN).
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

from timm.data import ImageNetInfo

PLACE = Path(__file__).parent.parent / "src" / "seewhy" / "models" / "imagenet_wordnet.json.gz"
# '@' is the pointer to a hypernym, '@i' to an instance's hypernym.
UPWARD = ("@", "@i")


def main() -> None:
    """Read the arguments and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordnet", type=Path, required=True, help="folder that holds data.noun")
    parser.add_argument("--out", type=Path, default=PLACE, help="file to write")
    arguments = parser.parse_args()
    write(arguments.wordnet / "data.noun", arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")


def write(nouns: Path, out: Path) -> None:
    """Write the grouping file `out` from WordNet's `nouns`."""
    licence, synsets = read_nouns(nouns)
    classes = [str(wnid) for wnid in ImageNetInfo("imagenet-1k").label_names()]
    kept = with_ancestors(classes, synsets)
    content = {
        "licence": licence,
        "classes": classes,
        "synsets": {wnid: synsets[wnid] for wnid in kept},
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n"
    # No file name and no time in the header, so that nothing but the content decides the bytes.
    with (
        out.open("wb") as stream,
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=stream, mtime=0) as packed,
    ):
        packed.write(text.encode("ascii"))


def read_nouns(path: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the licence in front of `path` and its synsets, ``{wnid: {lemmas, parents}}``."""
    licence: list[str] = []
    synsets: dict[str, dict[str, Any]] = {}
    for line in path.read_text("ascii").splitlines():
        if line.startswith("  "):
            licence.append(line.strip().partition(" ")[2].strip())
            continue
        # offset, file, type, count (hexadecimal), count × (lemma, number), pointers, … | gloss
        fields = line.partition(" | ")[0].split()
        end = 4 + 2 * int(fields[3], 16)
        # A pointer is four fields: symbol, offset, part of speech, source/target.
        pointers = fields[end + 1 : end + 1 + 4 * int(fields[end])]
        synsets[f"n{fields[0]}"] = {
            "lemmas": [lemma.replace("_", " ") for lemma in fields[4:end:2]],
            "parents": [
                f"n{offset}"
                for symbol, offset in zip(pointers[::4], pointers[1::4], strict=True)
                if symbol in UPWARD
            ],
        }
    return "\n".join(licence), synsets


def with_ancestors(wnids: list[str], synsets: dict[str, dict[str, Any]]) -> set[str]:
    """Return `wnids` and everything above them."""
    kept: set[str] = set()
    waiting = list(wnids)
    while waiting:
        wnid = waiting.pop()
        if wnid not in kept:
            kept.add(wnid)
            waiting += synsets[wnid]["parents"]
    return kept


if __name__ == "__main__":
    main()
