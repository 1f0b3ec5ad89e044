"""A virtual environment per peer, made from its file of requirements."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.peers.plan import PEERS

REQUIREMENTS = Path(__file__).parent / "requirements"


class CannotInstallError(RuntimeError):
    """A peer's environment cannot be made; the text says why in one line."""


def python_of(peer: str, folder: Path) -> Path:
    """Return the interpreter that runs a peer, after installing it where that is missing.

    Parameters
    ----------
    peer : str
        A name in `PEERS`.
    folder : Path
        Where the environments are.

    Raises
    ------
    CannotInstallError
    """
    name = PEERS[peer].environment
    if name is None:
        return Path(sys.executable)
    root, wanted = folder / name, REQUIREMENTS / f"{name}.txt"
    python = root / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = root / ".installed"
    if stamp.is_file() and stamp.read_text("utf-8") == wanted.read_text("utf-8"):
        return python
    print(f"installing {name} into {root}", flush=True)
    if not python.exists():
        venv.create(root, with_pip=True)
    install = [python, "-m", "pip", "install", "--quiet", "-r", wanted]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode:
        raise CannotInstallError(last_line(done.stderr) or "pip failed")
    # Written last, so that an interrupted installation is repeated.
    stamp.write_text(wanted.read_text("utf-8"), "utf-8")
    return python


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
