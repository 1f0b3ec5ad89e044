"""The notebooks run from their first cell to their last, on small input, and keep no outputs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
EXAMPLES = Path(__file__).parents[1] / "examples"
# Instead of the cell that is tagged "parameters".
SMALL = {
    "maps_of_a_timm_model": None,
    "maps_of_a_hugging_face_model": 'NAME = "nowhere/no-such-model"',
    "a_study_and_its_audit": (
        'SETTINGS = ["data.demo_train=10", "data.demo_test=4", "data.demo_size=96", '
        '"input.size=64", "search.trials=0", "adaptation.epochs=2", "finetuning.epochs=1", '
        '"explanation.faithfulness=0"]\nOUT = "out"'
    ),
}


def read(name: str) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads((EXAMPLES / f"{name}.ipynb").read_text("utf-8"))
    return notebook


def script(notebook: dict[str, Any], parameters: str | None) -> str:
    """Return the code cells as one program."""
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            given = "parameters" in cell["metadata"].get("tags", ()) and parameters
            cells.append(given or "".join(cell["source"]))
    return "\n\n".join(cells)


def test_every_notebook_is_known_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_a_notebook_is_stored_without_outputs(name: str) -> None:
    cells = [cell for cell in read(name)["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert len({cell["id"] for cell in cells}) == len(cells)


def run(name: str, folder: Path, seewhy: CommandLine) -> list[str]:
    """Run a notebook as a program in `folder`; return the lines it prints."""
    program = folder / "notebook.py"
    program.write_text(script(read(name), SMALL[name]), "utf-8")
    done = seewhy(program, cwd=folder, MPLBACKEND="Agg")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_maps_of_a_timm_model(tmp_path: Path, seewhy: CommandLine) -> None:
    said = run("maps_of_a_timm_model", tmp_path, seewhy)
    assert "daisy" in said[0]
    assert "palace" in said[1]
    assert said[-1] == "eigencam rank correlation, output layer shuffled: 1.0"


def test_maps_of_a_hugging_face_model(tmp_path: Path, seewhy: CommandLine) -> None:
    said = run("maps_of_a_hugging_face_model", tmp_path, seewhy)
    assert said[0].startswith("nowhere/no-such-model is not available")
    assert said[-2].startswith("layer: encoder")
    assert "encoder.0" in said[-1]


def test_a_study_and_its_audit(tmp_path: Path, seewhy: CommandLine) -> None:
    said = run("a_study_and_its_audit", tmp_path, seewhy)
    assert said[0] == str(Path("out", "report", "index.html"))
    assert (tmp_path / said[0]).is_file()
    assert any("'boat': " in line for line in said)
    page = (EXAMPLES.parent / "docs" / "reference" / "files.md").read_text("utf-8")
    written = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    listed = {name for name in written if not re.search(r"\.lock|\.(csv|svg)$", name)}
    assert {name for name in listed if f"{name}`" not in page} == set()
