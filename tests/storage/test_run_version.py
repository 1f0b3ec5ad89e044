"""Run directories of other schema versions are refused, whatever opens them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seewhy.audit.stage_audit import audit_run
from seewhy.config import load_config
from seewhy.errors import RunError
from seewhy.inference.classifiers import describe_layers, load_classifier, open_classifier
from seewhy.pipeline.comparison import compare_studies
from seewhy.pipeline.evaluation import evaluate_run
from seewhy.pipeline.mitigation import mitigate_run
from seewhy.pipeline.run_opening import opened_run
from seewhy.pipeline.study import run_study
from seewhy.report.build import redraw_report, write_as_markdown
from seewhy.storage.run_version import refuse_other_version
from seewhy.storage.schemas.summary import Summary

WriteOldRun = Callable[[Path, bool], None]
SENTENCE = (
    "old: was written with schema version {}, but this seewhy reads only schema version 2; open or "
    "resume it with {}, or run the study again with --out in another folder or with --fresh, which "
    "deletes the old run"
)
FUNCTIONS: dict[str, Callable[[Path], Any]] = {
    "run_study": lambda root: run_study("photos", root),
    "mitigate_run": mitigate_run,
    "redraw_report": redraw_report,
    "write_as_markdown": write_as_markdown,
    "audit_run": audit_run,
    "evaluate_run": evaluate_run,
    "compare_studies": lambda root: compare_studies([root, root.parent]),
    "load_classifier": load_classifier,
    "open_classifier": lambda root: open_classifier(str(root)),
    "describe_layers": lambda root: describe_layers(str(root)),
}


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_refuse_a_run_of_version_0_1(
    tmp_path: Path, write_old_run: WriteOldRun, function: str, finished: bool
) -> None:
    write_old_run(tmp_path / "old", finished)
    sentence = re.escape(str(tmp_path / SENTENCE.format(1, "seewhy 0.1")))
    with pytest.raises(RunError, match=f"^{sentence}$"):
        FUNCTIONS[function](tmp_path / "old")


def test_a_later_schema_version_is_refused_too(tmp_path: Path) -> None:
    root = tmp_path / "old"
    root.mkdir()
    (root / "summary.json").write_text('{"schema_version": 3}')
    sentence = re.escape(SENTENCE.format(3, "the seewhy that wrote it"))
    with pytest.raises(RunError, match=f"{sentence}$"):
        refuse_other_version(root)


@pytest.mark.parametrize("content", [None, "", "[]", "{", "{}", '{"schema_version": 2}'])
def test_what_has_no_other_version_is_not_refused_for_it(
    tmp_path: Path, content: str | None
) -> None:
    assert Summary.model_fields["schema_version"].default == 2
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    refuse_other_version(tmp_path)
    refuse_other_version(tmp_path / "nothing")


@pytest.mark.parametrize("finished", [True, False])
def test_fresh_deletes_a_run_of_version_0_1(
    tmp_path: Path, write_old_run: WriteOldRun, finished: bool
) -> None:
    write_old_run(tmp_path / "old", finished)
    (tmp_path / "old" / "notes.txt").write_text("the user's")
    with opened_run(tmp_path / "old", load_config("demo"), fresh=True):
        pass
    # Not refused any more.
    with opened_run(tmp_path / "old", load_config("demo")):
        pass
    left = {path.name for path in (tmp_path / "old").iterdir()} - {".lock"}
    assert left == {"config.toml", "notes.txt"}


def test_no_other_command_writes_over_a_run_of_version_0_1(
    tmp_path: Path, write_old_run: WriteOldRun
) -> None:
    write_old_run(tmp_path / "old", False)
    file = tmp_path / "old" / "comparison.json"
    with pytest.raises(RunError, match=r"belongs to the study in .*old; choose another place"):
        compare_studies([tmp_path, tmp_path / "old"], file)
    assert not file.exists()
