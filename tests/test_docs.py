"""The documentation: links lead somewhere, public names are described, files are listed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import seewhy

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", heading.lower(), flags=re.ASCII).strip()
        found.add(re.sub(r"[\s-]+", "-", plain))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for place, anchor in LINK.findall(page.read_text("utf-8")):
        target = (page.parent / place).resolve() if place else page
        known = target.exists() and (not anchor or anchor in anchors(target))
        if not known:
            broken.append(f"{place}#{anchor}")
    assert broken == []


def test_every_public_name_has_an_entry() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        hooks = importlib.import_module("docs_hooks")
    assert hooks.undocumented_names() == []
    reference = hooks.command_reference()
    assert "## seewhy run SOURCE" in reference
    assert "| `--seed` | " in reference
    # The table above the commands has them all.
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")
    for name in re.findall(r"^## seewhy (\w+)", reference, re.MULTILINE):
        assert f"| `seewhy {name}" in page, name


def test_the_citation_and_the_package_agree() -> None:
    assert f"version: {seewhy.__version__}" in (ROOT / "CITATION.cff").read_text("utf-8")
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{seewhy.__version__}"' in project


def test_every_picture_names_its_source() -> None:
    """Photographs of others have their licence beside them; all others were drawn by seewhy."""
    used = {
        name
        for page in PAGES
        for name in re.findall(r"images/([\w.-]+)\)", page.read_text("utf-8"))
    }
    assert used == {path.name for path in (ROOT / "docs" / "images").iterdir()}
    explaining = (ROOT / "docs" / "explaining.md").read_text("utf-8")
    assert explaining.count("CC0") == 2
    assert "public domain" in explaining
