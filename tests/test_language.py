"""No banned phrase in the texts of package, report, benchmarks and tools, nor in documentation.

DESIGN.md's glossary says which term stands for what; here are the words that it replaced, and
others that readers with another first language did not understand.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each as a pattern, without regard to case, beside what to write in its place.
BANNED = {
    r"wrong reasons?": "shortcut",
    r"transplant\w*": "insertion",
    r"givers?": "donor",
    r"takers?": "recipient",
    r"suspects?": "label issue, outlier, candidate",
    r"foreign images?": "outlier",
    r"mend(s|ed|ing)?": "mitigate, mitigation",
    r"(take|takes|taken|taking|took) up( again)?": "resume",
    r"(hang|hangs|hung) on": "depends on",
    r"behind the cut": "after the cut, the tail",
    r"anew": "again",
    r"begun(?!\.json)": "started",
}
PATTERNS = {re.compile(rf"\b{one}\b", re.IGNORECASE): term for one, term in BANNED.items()}
# History keeps the words of its time.
HISTORY = {"docs/log.md", "CHANGELOG.md"}


def checked() -> list[Path]:
    """Return every file whose texts are held to the glossary."""
    package = ROOT / "src" / "seewhy"
    found = [*package.rglob("*.py"), *package.glob("report/templates/*"), ROOT / "Makefile"]
    for folder in ("benchmarks", "tools", "examples"):
        found += (ROOT / folder).rglob("*.py")
    found += [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(one for one in found if name_of(one) not in HISTORY)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what a file says, with its lines: of a module strings and comments, else all."""
    whole = path.read_text("utf-8")
    if path.suffix != ".py":
        yield 1, whole
        return
    for node in ast.walk(ast.parse(whole)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(whole).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def phrases(path: Path) -> list[str]:
    """Return the banned phrases of a file, each with its line and what to write."""
    found = []
    for line, text in texts(path):
        # A phrase may be broken over two lines.
        flat = re.sub(r"\s", " ", text)
        for pattern, term in PATTERNS.items():
            for hit in pattern.finditer(flat):
                number = line + text[: hit.start()].count("\n")
                found.append(f"{name_of(path)}:{number}: {hit[0]!r}; write {term}")
    return found


@pytest.mark.parametrize("path", checked(), ids=name_of)
def test_no_banned_phrase(path: Path) -> None:
    found = phrases(path)
    assert not found, "\n".join(found)


def test_a_phrase_is_found_over_a_line_end_and_with_its_line(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""First.\n\nIt hangs\non this."""\nname = "a wrong reason"\n', "utf-8")
    said = [text for _, text in texts(module)]
    assert sum(bool(p.search(re.sub(r"\s", " ", t))) for t in said for p in PATTERNS) == 2
