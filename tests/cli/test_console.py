"""What the command line prints reaches any encoding, and ends with no reader."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.cli.console import SafeStream, fit_encoding
from seewhy.cli.progress_bars import ProgressBars

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
SEEWHY = [sys.executable, "-c", "from seewhy.cli.app import main; main()"]


class Failing(io.StringIO):
    """A stream whose writing fails."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", "0.9 +/- 0.1, 2x3..., gr\\xf6\\xdfe \\U0001f600"),
        ("cp1252", "0.9 ± 0.1, 2×3…, größe \\U0001f600"),
        ("utf-8", "0.9 ± 0.1, 2×3…, größe 😀"),
    ],
)
def test_letters_that_an_encoding_lacks(
    encoding: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(held, encoding=encoding))
    fit_encoding()
    stream = SafeStream("stdout", forgiving=False)
    assert stream.encoding == encoding
    stream.write("0.9 ± 0.1, 2×3…, größe 😀")
    stream.flush()
    assert held.getvalue().decode(encoding) == expected
    # What a file's name has that is no UTF-8.
    stream.write("\udcff")
    stream.flush()
    assert held.getvalue().endswith(b"\\udcff")


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO])
def test_progress_is_dropped_where_it_cannot_be_shown(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Failing(number))
    bars = ProgressBars()
    bars.say("a line ± more")
    with bars.task("a task", 3) as advance:
        advance(1)


def test_results_that_cannot_be_written_are_an_error_but_no_reader_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = SafeStream("stdout", forgiving=False)
    monkeypatch.setattr(sys, "stdout", Failing(errno.EPIPE))
    assert stream.write("text") == 4
    monkeypatch.setattr(sys, "stdout", Failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        stream.write("text")
    closed = io.StringIO()
    closed.close()
    for gone in (closed, None):
        monkeypatch.setattr(sys, "stdout", gone)
        assert stream.write("text") == 4
        stream.flush()
        assert not stream.isatty()


def test_a_pipe_that_nobody_reads_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*SEEWHY, "--version"], stdout=writer, stderr=subprocess.PIPE, timeout=120, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_names_with_umlauts_in_ascii(tmp_path: Path, seewhy: CommandLine) -> None:
    rng = np.random.default_rng(0)
    for name in ("größe 😀", "b"):
        (tmp_path / "d" / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "d" / name / f"{number}.png")
    done = seewhy("check", "d", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert r"'gr\xf6\xdfe \U0001f600'" in done.stdout
    for command in ("run", "check", "explain", "audit", "layers", "report", "compare", "models"):
        done = seewhy(command, "--help", cwd=tmp_path, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stdout.isascii(), done.stderr) == (0, True, ""), command
