"""The command line as a whole: help, groups, completion, versions, errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Function = Callable[..., None]
SEEWHY = [sys.executable, "-c", "from seewhy.cli.app import main; main()"]
COMMANDS = {
    "Studies": ["run", "check", "audit", "report", "evaluate", "compare"],
    "Any classifier": ["predict", "explain", "layers"],
    "Information": ["models"],
}


def test_a_full_disk_is_one_sentence(
    tmp_path: Path, refused: Function, write_image: Function
) -> None:
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a disk of one megabyte needs root on Linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    for name in ("cat", "dog"):
        for number in range(20):
            write_image(tmp_path / "pictures" / name / f"{number}.png", side=128)
    probe = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size=1m none {disk}"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this system does not let us mount a small disk")
    command = " ".join(
        [
            f"'{SEEWHY[0]}' -c '{SEEWHY[2]}'",
            "run pictures --quiet --device=cpu",
            f"--out {disk}/out",
        ]
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size=1m none {disk} && {command}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    refused(done, "no space left on the disk")


def test_help_lists_commands_in_groups(tmp_path: Path, seewhy: CommandLine) -> None:
    done = seewhy("--help", cwd=tmp_path, COLUMNS="140")
    assert (done.returncode, done.stderr) == (0, "")
    groups: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("╭─"):
            title = line.strip("╭─╮ ")
        elif line.startswith("│ ") and title != "Options":
            groups.setdefault(title, []).append(line.split()[1])
    assert groups == COMMANDS
    assert "Usage: seewhy [OPTIONS] COMMAND [ARGS]..." in done.stdout


@pytest.mark.parametrize("command", [name for names in COMMANDS.values() for name in names])
def test_help_of_each_command_has_examples(
    tmp_path: Path, seewhy: CommandLine, command: str
) -> None:
    done = seewhy(command, "--help", cwd=tmp_path, COLUMNS="140")
    assert (done.returncode, done.stderr) == (0, "")
    examples = [line.strip() for line in done.stdout.partition("Examples:")[2].splitlines()]
    examples = [line for line in examples if line]
    assert examples
    assert all(line.startswith(f"seewhy {command}") for line in examples), examples


@pytest.mark.parametrize("heavy", ["torch", "numpy", "pydantic"])
def test_the_command_line_starts_without_heavy_packages(heavy: str) -> None:
    # Each Tab in a shell with completion imports this module.
    code = f"import sys, seewhy.cli.app; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_shells_complete_commands_and_options(tmp_path: Path, seewhy: CommandLine) -> None:
    def complete(line: str) -> list[str]:
        words = {"_SEEWHY_COMPLETE": "complete_bash", "COMP_WORDS": line}
        done = seewhy(cwd=tmp_path, COMP_CWORD=str(line.count(" ")), **words)
        return done.stdout.split()

    assert complete("seewhy e") == ["evaluate", "explain"]
    assert complete("seewhy run --mit") == ["--mitigate"]
    assert "--install-completion" in complete("seewhy --")


def test_version_names_torch_timm_and_the_device(tmp_path: Path, seewhy: CommandLine) -> None:
    done = seewhy("--version", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    expected = f"seewhy 0.2.0, torch {torch.__version__}, timm {timm.__version__}, device cpu\n"
    assert (done.returncode, done.stdout) == (0, expected)


@pytest.mark.parametrize("command", ["explain", "report"])
def test_what_is_no_run_is_named(
    tmp_path: Path, seewhy: CommandLine, command: str, refused: Function
) -> None:
    extra = ["x.png"] if command == "explain" else []
    refused(seewhy(command, "nothing", *extra, cwd=tmp_path), "no such run directory")


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "words",
    [
        "run photos --out old",
        "run photos --out old --mitigate",
        "report old",
        "report old --format md",
        "audit old",
        "evaluate old",
        "compare old new",
        "compare new old",
        "explain old x.png",
        "layers old",
    ],
)
def test_a_run_of_version_0_1_is_refused(
    tmp_path: Path,
    seewhy: CommandLine,
    refused: Function,
    write_old_run: Function,
    words: str,
    finished: bool,
) -> None:
    write_old_run(tmp_path / "old", finished)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "summary.json").write_text('{"schema_version": 2}')
    before = {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()}
    done = seewhy(*words.split(), cwd=tmp_path)
    refused(done)
    assert done.stderr == (
        "seewhy: old: was written with schema version 1, but this seewhy reads only schema version "
        "2; open or resume it with seewhy 0.1, or run the study again with --out in another folder "
        "or with --fresh, which deletes the old run\n"
    )
    after = {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()}
    assert {path: after[path] for path in after if not path.name.startswith(".lock")} == before
