"""What `make docs` adds to the pages: the command line's options, and links into the repository.

MkDocs calls the functions named ``on_…``. An undocumented public name or a link to a file that
does not exist ends the build.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer

import seewhy

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
API_PAGE = DOCS / "reference" / "python.md"
COMMANDS = "<!-- commands -->"
# A Markdown link to a file of the repository outside docs/, `](../tools/small_vit.py)`.
OUTSIDE = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]+)?\)")


def undocumented_names() -> list[str]:
    """Return the names of ``seewhy.__all__`` that have no entry on the page of the API."""
    documented = set(re.findall(r"^::: seewhy\.(\w+)$", API_PAGE.read_text("utf-8"), re.MULTILINE))
    return sorted(set(seewhy.__all__) - documented)


def command_reference() -> str:
    """Return every command with its arguments and options, as Markdown."""
    (entry,) = entry_points(group="console_scripts", name="seewhy")
    entry.load()
    group: Any = typer.main.get_command(sys.modules[entry.module].app)
    return "\n\n".join(_command(name, one) for name, one in sorted(group.commands.items()))


def _command(name: str, command: Any) -> str:
    """Return one command: what it does, its parameters as a table, its examples."""
    arguments = [_typed(one) for one in command.params if one.param_type_name == "argument"]
    rows = [
        f"| `{_typed(one)}` | {_cell(getattr(one, 'help', None))} | {_default(one)} |"
        for one in command.params
    ]
    parts = [f"## seewhy {' '.join([name, *arguments])}", command.help or ""]
    if rows:
        parts.append(
            "\n".join(["| argument or option | meaning | default |", "|---|---|---|", *rows])
        )
    examples = [line for line in (command.epilog or "").split("\n") if line.startswith("seewhy ")]
    if examples:
        parts.append("\n".join(["```", *examples, "```"]))
    return "\n\n".join(part for part in parts if part)


def _typed(parameter: Any) -> str:
    """Return what a person types: an option's names, an argument's placeholder."""
    if parameter.param_type_name == "option":
        return ", ".join(parameter.opts)
    return str(parameter.metavar or parameter.name.upper())


def _cell(text: str | None) -> str:
    """Return a text fit for a cell of a table."""
    return (text or "").replace("|", r"\|").replace("\n", " ")


def _default(parameter: Any) -> str:
    """Return a parameter's default in words; empty where it has none."""
    if parameter.required:
        return "required"
    shown = getattr(parameter, "show_default", None)
    value = shown if isinstance(shown, str) else parameter.default
    return "" if value in (None, (), [], False) else f"`{value}`"


def on_config(config: Any) -> Any:
    """Refuse to build while a public name is undocumented."""
    missing = undocumented_names()
    if missing:
        raise SystemExit(f"{API_PAGE}: no entry for {', '.join(missing)}")
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in the commands, and lead links out of docs/ to the repository."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, command_reference())
    folder = (DOCS / page.file.src_uri).parent

    def outside(link: re.Match[str]) -> str:
        target = (folder / link[1]).resolve()
        if target.is_relative_to(DOCS):
            return link[0]
        if not target.exists():
            raise SystemExit(f"{page.file.src_uri}: links to {link[1]}, which does not exist")
        where = target.relative_to(ROOT).as_posix()
        kind = "tree" if target.is_dir() else "blob"
        return f"]({config.repo_url.rstrip('/')}/{kind}/main/{where}{link[2] or ''})"

    return OUTSIDE.sub(outside, markdown)
