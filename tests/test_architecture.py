"""Imports go one way: the table of docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "seewhy"
BASE = {"errors"}
RECORDS = BASE | {
    "faithfulness_records",
    "levels",
    "arguments",
    "config",
    "records",
    "check_records",
    "audit_records",
    "backbone_records",
    "evaluation_records",
    "files",
    "progress",
    "render",
    "wording",
    "reference",
}
RUNS = RECORDS | {"rundir"}
PARTS = RUNS | {"data", "models", "explanation"}
EVERYTHING = PARTS | {"audit", "training", "evaluation", "report", "provenance"}
# What each may import, beside its own package.
ALLOWED = {
    "errors": set(),
    "progress": set(),
    "console": set(),
    "arguments": BASE | {"progress"},
    "config": BASE | {"arguments"},
    "faithfulness_records": set(),
    "levels": BASE,
    "records": BASE | {"faithfulness_records", "levels"},
    "check_records": {"records", "levels"},
    "audit_records": {"records"},
    "backbone_records": {"records", "check_records", "audit_records", "faithfulness_records"},
    "evaluation_records": BASE | {"records"},
    "wording": BASE | {"records"},
    "reference": BASE | {"records"},
    "files": BASE
    | {"arguments", "progress", "records", "check_records", "audit_records", "levels"},
    "rundir": BASE
    | {"config", "records", "check_records", "audit_records", "backbone_records"}
    | {"evaluation_records", "faithfulness_records", "files"},
    "render": BASE,
    "failures": BASE | {"progress", "records", "rundir", "wording"},
    "data": RUNS | {"failures"},
    "models": RECORDS,
    "explanation": RECORDS,
    "training": RECORDS | {"data", "models"},
    "audit": PARTS | {"evaluation"},
    "evaluation": RECORDS | {"data", "models"},
    "provenance": RECORDS | {"models"},
    "report": RUNS | {"failures"},
    "pictures": PARTS,
    "checking": RUNS | {"data", "report"},
    "comparing": RUNS | {"evaluation", "report"},
    "same_study": BASE | {"config", "data", "progress", "rundir"},
    "taking_up": BASE | {"config", "files", "rundir", "same_study"},
    "stopping": {"progress"},
    "work": RUNS | {"failures", "models"},
    "evaluating": RUNS | {"evaluation", "failures", "report", "taking_up"},
    "backbone_folds": EVERYTHING - {"report", "provenance"} | {"work"},
    "backbone_maps": EVERYTHING - {"report", "provenance"} | {"work"},
    "backbone_faithfulness": EVERYTHING - {"report", "provenance"} | {"work", "backbone_maps"},
    "backbone_study": EVERYTHING - {"report", "provenance"}
    | {"work", "backbone_folds", "backbone_maps", "backbone_faithfulness"},
    "study": EVERYTHING
    | {"work", "backbone_study", "same_study", "taking_up", "failures", "evaluating"},
    "mitigated_study": EVERYTHING
    | {"work", "backbone_study", "study", "same_study", "taking_up", "failures"},
    "cli": RUNS
    | {
        "console",
        "study",
        "mitigated_study",
        "stopping",
        "pictures",
        "checking",
        "comparing",
        "evaluating",
        "audit",
        "report",
    }
    | {"models"},
    "__init__": {
        "config",
        "errors",
        "explanation",
        "mitigated_study",
        "models",
        "pictures",
        "report",
        "study",
    },
}
# explain serves people who never run a study, and the report is drawn without PyTorch.
FOREIGN = dict.fromkeys(RUNS | {"report"}, "torch")


def _room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(SOURCE)) for p in FILES])
def test_imports_go_one_way(path: Path) -> None:
    room = _room(path)
    assert room in ALLOWED, f"{room}: add it to the table here and in docs/architecture.md"
    ours = {name.split(".")[1] for name in _imported(path) if name.startswith("seewhy.")}
    assert ours - {room} <= ALLOWED[room]
    foreign = {name.split(".")[0] for name in _imported(path)}
    assert FOREIGN.get(room) not in foreign


def test_nothing_is_called_utils() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "helpers", "common", "misc")]
