"""What several test packages share."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.maps import Maps

# Two test processes on two cores: more threads would only wait for each other. Set before any
# test imports PyTorch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

COMMAND_LINE = Path(__file__).with_name("command_line.py")
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the project; tests skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"reference data are not there ({SHARED})")
    return SHARED


@pytest.fixture(scope="session")
def two_maps() -> Callable[[Stage], Maps]:
    """Two images' maps: the first rightly predicted, the second's empty for what was predicted."""

    def of(stage: Stage) -> Maps:
        return Maps(
            ids=("d", "f"),
            maps=np.array([[[0, 1.5]], [[0, 0]]], dtype=np.float16),
            label_maps=np.array([[[0, 1.5]], [[1.25, 0]]], dtype=np.float16),
            explained=np.array([0, 2]),
            scales=np.array([2, 1], dtype=np.float32),
            label_scales=np.array([2, 0.25], dtype=np.float32),
            empty=np.array([False, True]),
            label_empty=np.array([False, False]),
            method="gradcam",
            layer="bn2",
            stage=stage,
        )

    return of


@pytest.fixture(scope="session")
def command_line() -> Iterator[subprocess.Popen[str]]:
    """A process that has imported seewhy and forks for each command; see its own file."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        [sys.executable, str(COMMAND_LINE)],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="session")
def seewhy(
    command_line: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line as a user runs it, in a process of its own, away from any network.

    A path that ends in ``.py`` as the first argument is run as a program instead.
    """
    said = tmp_path_factory.mktemp("said")

    def run(
        *arguments: str | Path, cwd: Path, seconds: int = 240, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        asked = {
            "arguments": words,
            "cwd": str(cwd),
            "environment": {
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "HF_HUB_OFFLINE": "1",
                "SEEWHY_CACHE": str(cwd / "cache"),
                "SEEWHY_CIFAR102_URL": "http://127.0.0.1:9/",
                **environment,
            },
            "stdout": str(said / "stdout"),
            "stderr": str(said / "stderr"),
            "seconds": seconds,
        }
        assert command_line.stdin is not None
        assert command_line.stdout is not None
        command_line.stdin.write(json.dumps(asked) + "\n")
        command_line.stdin.flush()
        code = int(command_line.stdout.readline())
        texts = [(said / name).read_text("utf-8") for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(["seewhy", *words], code, *texts)

    return run


@pytest.fixture(scope="session")
def write_old_run() -> Callable[[Path, bool], None]:
    """Write a run directory as seewhy 0.1 did, its study finished or interrupted."""

    def write(root: Path, finished: bool) -> None:
        files = {
            "config.toml": 'name = "demo"\n[data]\nsource = "demo"\n',
            "begun.json": '{"device": "cpu", "starts": 1}',
            "study.log": "device cpu",
            "data/mended.json": "{}",
            "backbones/net/suspects.json": '{"label_errors": {}, "foreign": {}}',
        }
        if finished:
            files["summary.json"] = '{"schema_version": 1, "name": "demo", "backbones": {}}'
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, "utf-8")

    return write


class Stopping:
    """Progress that ends the work after so many of its steps, as Ctrl-C does; keeps what is said.

    Parameters
    ----------
    steps : int
        How many there are; negative: it never ends the work.
    """

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.said: list[str] = []

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Count down with every step of a task."""

        def advance(steps: int) -> None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

        yield advance

    def say(self, message: str) -> None:
        """Keep a message."""
        self.said.append(message)


@pytest.fixture(scope="session")
def stopping() -> type[Stopping]:
    """Return the progress that ends the work by itself: a test module cannot import this one."""
    return Stopping


class TooLong(BaseException):
    """A case took longer than it may; no `except Exception` of the code under test catches this."""


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise TooLong(f"longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def within() -> Callable[[float], AbstractContextManager[None]]:
    """A context that fails what takes longer than so many seconds."""
    return _within


def _mutate(content: bytes, rng: random.Random) -> bytes:
    """Damage a file's content: bits, bytes, numbers of a header, a piece cut out or put in."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        size = max(len(data), 1)
        # Half of the damage is where headers do.
        place = rng.randrange(min(size, 80)) if rng.random() < 0.5 else rng.randrange(size)
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[place] = rng.randrange(256)
        elif kind == 2:
            number = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 65536))
            data[place : place + 4] = number.to_bytes(4, rng.choice(("little", "big")))
        elif kind == 3:
            del data[place:]
        elif kind == 4:
            del data[place : place + rng.randrange(1, 40)]
        elif kind == 5:
            data[place:place] = rng.randbytes(rng.randrange(1, 40))
        else:
            other = rng.randrange(size)
            data[place : place + 16] = data[other : other + 16]
    return bytes(data)


@pytest.fixture(scope="session")
def mutate() -> Callable[[bytes, random.Random], bytes]:
    """Damage a file's content at random."""
    return _mutate
