"""Imports go one way: the table of docs/architecture.md is held against the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "seewhy"
FILES = sorted(SOURCE.rglob("*.py"))
# `seewhy report` and `seewhy --help` must not wait for PyTorch.
WITHOUT_TORCH = {"runtime/progress", "config", "storage", "wording", "report", "cli"}
LONGEST_CHAIN = 9
MOST_ROOT_FILES = 5


def _package(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imported(path: Path, first: bool = False) -> set[str]:
    """Return the modules that a file imports; with `first` only those imported along with it."""
    names: set[str] = set()
    module = ast.parse(path.read_text("utf-8"))
    for node in module.body if first else ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def _imported_packages(path: Path) -> set[str]:
    ours = {name.split(".")[1] for name in _imported(path) if name.startswith("seewhy.")}
    return ours - {_package(path)}


@cache
def _table() -> dict[str, set[str]]:
    """Read the table of docs/architecture.md: what each package may import."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = page.split("| package | may import |\n|---|---|\n")[1].split("\n\n")[0].splitlines()
    found: dict[str, set[str]] = {}
    for row in rows:
        package, allowed = (cell.strip() for cell in row.strip("|").split("|"))
        names = set(re.findall(r"`(\w+)`", allowed))
        assert names <= set(found), f"{package}: may import only packages above it"
        found[package.strip("`")] = names
    return found


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(SOURCE)) for p in FILES])
def test_imports_follow_the_table(path: Path) -> None:
    package = _package(path)
    if package == "__init__":
        return  # the public API, which may name any package
    assert package in _table(), f"{package}: add it to the table of docs/architecture.md"
    assert _imported_packages(path) <= _table()[package]
    inside = str(path.relative_to(SOURCE).with_suffix(""))
    if {package, inside} & WITHOUT_TORCH:
        assert "torch" not in {name.split(".")[0] for name in _imported(path, first=True)}


def test_the_table_names_what_is_there_and_used() -> None:
    there = {_package(path) for path in FILES} - {"__init__"}
    assert set(_table()) == there
    used: dict[str, set[str]] = {package: set() for package in there}
    for path in FILES:
        if _package(path) != "__init__":
            used[_package(path)] |= _imported_packages(path)
    assert used == _table()


def test_chains_of_packages_are_short() -> None:
    @cache
    def longest(package: str) -> int:
        return 1 + max((longest(one) for one in _table()[package]), default=0)

    assert longest("cli") <= LONGEST_CHAIN


def test_the_root_holds_packages_and_few_files() -> None:
    assert len(list(SOURCE.glob("*.py"))) <= MOST_ROOT_FILES


def test_nothing_is_called_utils() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "helpers", "common", "misc")]
