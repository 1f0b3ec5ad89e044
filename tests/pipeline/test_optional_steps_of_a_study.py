"""An optional step that fails costs its own result, never the study; through the command line."""

from __future__ import annotations

import errno
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from seewhy.config import load_config
from seewhy.data import prepare
from seewhy.errors import DataError, RunError
from seewhy.pipeline.data_check import check_images
from seewhy.runtime.progress import Silent
from seewhy.storage.optional_steps import Failures
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.summary import FailedStep, Step

from .conftest import draw_folder, save_local

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Stops = Callable[[int], Silent]
SLUG = "resnet10t"
# Each optional step by a function that it cannot do without.
BREAKS: dict[Step, str] = {
    "data checks": "seewhy.data.prepare:find_faults",
    "folds": "seewhy.pipeline.backbone:repeat_stages",
    "label issues": "seewhy.pipeline.backbone:find_quality_issues",
    "map choice": "seewhy.pipeline.map_choice:_measured",
    "faithfulness": "seewhy.pipeline.faithfulness:measure_faithfulness",
    "audit": "seewhy.pipeline.backbone:audit_stage",
    "evaluation": "seewhy.pipeline.evaluation:evaluate",
    "comparison": "seewhy.pipeline.evaluation:compare",
    "provenance": "seewhy.pipeline.study:provenance",
    "report": "seewhy.pipeline.study:build_report",
}
RUN = ["run", "colours", "--backbone", f"local-dir:{SLUG}", "--out", "out", "--quiet",
       "--device=cpu", "--set=input.size=32", "--set=adaptation.epochs=2", "--set=head.units=[8]",
       "--set=finetuning.epochs=1", "--set=search.trials=0", "--set=data.folds=2",
       "--set=explanation.faithfulness=2"]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures of two classes and a small network."""
    place = tmp_path_factory.mktemp("failures")
    draw_folder(place / "colours", ("green", "red"), size=(32, 32), tint=60)
    save_local(place / SLUG, SLUG, 32)
    return place


def broken(*steps: Step, kind: str = "ValueError") -> str:
    return " ".join(f"{BREAKS[step]}={kind}" for step in steps)


def failed(root: Path) -> dict[str, str]:
    summary = json.loads((root / "summary.json").read_text("utf-8"))
    return {one["step"]: one["reason"] for one in summary["failed"]}


def page(root: Path) -> str:
    text = (root / "report" / "index.html").read_text("utf-8")
    body = re.sub(r"<(script|style).*?</\1>", " ", text, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


@pytest.fixture(scope="module")
def without_any(place: Path, seewhy: CommandLine) -> subprocess.CompletedProcess[str]:
    """A study all of whose optional steps fail, and what it said."""
    steps = [step for step in BREAKS if step != "comparison"]
    return seewhy(*RUN, cwd=place, BREAK=broken(*steps))


def test_a_study_ends_without_any_of_its_optional_steps(
    place: Path, without_any: subprocess.CompletedProcess[str]
) -> None:
    done, root = without_any, place / "out"
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert SLUG in done.stdout
    assert "report:" not in done.stdout
    found = failed(root)
    # Without an evaluation there is nothing to compare.
    reasons = {step: f"ValueError: {BREAKS[step].partition(':')[2]} is broken on purpose"
               for step in BREAKS}  # fmt: skip
    reasons["comparison"] = "no backbone could be evaluated"
    assert found == reasons
    lines = done.stderr.splitlines()
    assert len(lines) == len(BREAKS)
    assert (
        f"seewhy: the audit of fine-tuning of {SLUG} failed: {reasons['audit']}; run `seewhy audit "
        f"out --backbone {SLUG}` to repeat it; see out/study.log for details" in lines
    )
    log = (root / "study.log").read_text("utf-8")
    assert log.count("Traceback (most recent call last)") == len(BREAKS)
    for path in ("adaptation/metrics.json", "finetuning/predictions.csv",
                 "explanations/finetuning/maps.npz",
                 "finetuning/model.safetensors", "summary.json"):  # fmt: skip
        assert (root / "backbones" / SLUG / path).is_file()


def test_what_failed_can_be_done_afterwards_and_the_report_says_why_the_rest_is_missing(
    place: Path, without_any: subprocess.CompletedProcess[str], seewhy: CommandLine
) -> None:
    root = place / "out"
    done = seewhy("report", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "report" not in failed(root)
    words = page(root)
    assert "This study is incomplete: the checks of the data, choosing the method and" in words
    for said in (
        "Missing, because the checks of the data failed: ValueError: find_faults is broken",
        "Missing, because the evaluation of resnet10t failed",
        "Missing, because the comparison failed: no backbone could be evaluated. `seewhy evaluate",
        "Missing, because measuring the faithfulness of the maps of resnet10t failed",
        "Missing, because the search for label issues and outliers of resnet10t failed",
        "Missing, because the audit of fine-tuning of resnet10t failed",
    ):
        assert said in words, said
    assert "older than" not in words
    assert "no evaluation.json" not in words
    for command in (("evaluate", "out"), ("audit", "out", "--device=cpu")):
        done = seewhy(*command, "--quiet", cwd=place)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "report: out/report/index.html"
    left = {"data checks", "folds", "label issues", "map choice", "faithfulness", "provenance"}
    assert set(failed(root)) == left
    words = page(root)
    assert "Test performance" in words
    assert "Missing, because the training on folds and with further seeds of resnet10t" in words
    assert "Missing, because the audit" not in words
    # The command that made it says once more what it lacks, and does nothing.
    done = seewhy(*RUN, cwd=place)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 6
    assert "report: out/report/index.html" in done.stdout


def test_an_evaluation_that_fails_again_is_one_sentence(
    place: Path, without_any: subprocess.CompletedProcess[str], seewhy: CommandLine
) -> None:
    done = seewhy("evaluate", "out", "--quiet", cwd=place, BREAK=broken("comparison"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("seewhy: out: the comparison failed: ValueError: compare is broken")


@pytest.mark.soak
@pytest.mark.parametrize("step", BREAKS)
@pytest.mark.parametrize("kind", ["ValueError", "MemoryError", "OSError"])
def test_one_step_fails_alone(place: Path, seewhy: CommandLine, step: Step, kind: str) -> None:
    whole = place / "whole"
    if not whole.is_dir():
        done = seewhy(*RUN, "--out", "whole", cwd=place)
        assert done.returncode == 0, done.stderr
    name = f"{step}-{kind}".replace(" ", "-")
    done = seewhy(*RUN, "--out", name, cwd=place, BREAK=broken(step, kind=kind))
    assert done.returncode == 0, done.stderr
    expected = {step, "comparison"} if step == "evaluation" else {step}
    assert set(failed(place / name)) == expected
    assert len(done.stderr.splitlines()) == len(expected)
    # Nothing else is other than it would have been.
    for path in ("adaptation/predictions.csv", "finetuning/predictions.csv",
                 "finetuning/model.safetensors"):  # fmt: skip
        ours, theirs = (root / "backbones" / SLUG / path for root in (place / name, whole))
        assert ours.read_bytes() == theirs.read_bytes(), path


@pytest.mark.soak
def test_a_stop_in_an_optional_step_stops_the_study(place: Path, seewhy: CommandLine) -> None:
    words = [*RUN, "--out", "stopped"]
    done = seewhy(*words, cwd=place, BREAK=broken("audit", kind="KeyboardInterrupt"))
    assert done.returncode == 130
    assert not (place / "stopped" / "summary.json").exists()
    done = seewhy(*words, cwd=place)
    assert (done.returncode, failed(place / "stopped")) == (0, {})


def test_a_section_that_cannot_be_drawn_does_not_cost_the_page(
    place: Path, without_any: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    from seewhy.report import build

    run = RunDirectory(place / "out")
    failures = Failures(run, Silent())
    with pytest.MonkeyPatch.context() as patch:
        for name in ("comparison_section", "search_section"):
            patch.setattr(build, name, lambda *_: 1 / 0)
        patch.setattr(build.pictures, "write_contact_sheet", lambda *_: 1 / 0)
        build.build_report(run, run.summary.read(), failures)
        with pytest.raises(ZeroDivisionError):
            build.redraw_report(run.root)
    assert [one.reason for one in failures.found] == [
        "the section Search: ZeroDivisionError: division by zero",
        "the section Comparison: ZeroDivisionError: division by zero",
        "the contact sheet: ZeroDivisionError: division by zero",
    ]
    words = page(run.root)
    assert (
        words.count(
            "Missing, because this section could not be drawn: the section Comparison: Zero"
        )
        == 1
    )
    assert "Provenance" in words


def test_checks_that_fail_are_an_error_where_they_are_all_that_was_asked_for(place: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "find_faults", lambda *_: 1 / 0)
        with pytest.raises(DataError, match=r"could not be checked \(ZeroDivisionError: "):
            check_images(load_config(str(place / "colours")))


def test_which_errors_are_written_down_and_which_pass(tmp_path: Path, stopping: Stops) -> None:
    run, told = RunDirectory(tmp_path), stopping(-1)
    failures = Failures(run, told)
    for error in (
        RunError("x: is damaged"),
        MemoryError(),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyError(),
        RuntimeError("first\nsecond"),
    ):
        with failures.optional("audit", "net", "adaptation"):
            raise error
    assert [one.reason for one in failures.of("net")] == [
        "x: is damaged",
        "not enough memory",
        "no space left on the disk",
        "KeyError",
        "RuntimeError: first",
    ]
    assert told.said[0] == (  # type: ignore[attr-defined]
        "the audit of adaptation of net failed: x: is damaged; the study continues, study.log has "
        "the details"
    )
    assert (tmp_path / "study.log").read_text().count("Traceback") == 5
    for stop in (KeyboardInterrupt, SystemExit):
        with pytest.raises(stop), failures.optional("audit"):
            raise stop
    with pytest.raises(RunError), failures.optional("audit", refusals=False):
        raise RunError("passes")
    assert len(failures.found) == 5


def test_a_folder_that_is_gone_is_no_further_error(tmp_path: Path) -> None:
    failures = Failures(RunDirectory(tmp_path / "gone"), Silent())
    with failures.optional("report"):
        raise ValueError("broken")
    assert failures.found == [FailedStep(step="report", reason="ValueError: broken")]
