"""Runs seewhy's command line or programs, each time in a forked process of its own.

    python tests/command_line.py

Reads one JSON object a line: ``arguments``, ``cwd``, ``environment``, the files ``stdout`` and
``stderr`` go to, and ``seconds`` after which the process is killed; answers with a line that holds
the exit code, negative for a signal. Where the first argument is a path that ends in ``.py``, that
program runs with the others instead of the command line. Forking spares each of them the imports,
which take longer than most of what the tests ask of it.

``BREAK`` in the environment names functions that are to fail in that process, as in
``seewhy.pipeline.study:build_report=OSError
seewhy.pipeline.backbone:find_quality_issues=ValueError``.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import runpy
import signal
import sys
from typing import Any

# What most commands import; done once here.
for name in (
    "seewhy.cli.app",
    "seewhy.inference.predict_pictures",
    "seewhy.pipeline.comparison",
    "seewhy.pipeline.data_check",
    "seewhy.pipeline.mitigation",
):
    importlib.import_module(name)


def run(asked: dict[str, Any]) -> int:
    """Run one command in a forked process; return its exit code."""
    process = os.fork()
    if process == 0:
        signal.alarm(int(asked["seconds"]))
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        for number, name in ((0, os.devnull), (1, asked["stdout"]), (2, asked["stderr"])):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(name, flags), number)
        sys.argv = ["seewhy", *asked["arguments"]]
        # As Python itself does it at its start.
        encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(0),
            os.fdopen(1, "w", encoding=encoding),
            os.fdopen(2, "w", encoding=encoding, errors="backslashreplace"),
        )
        os._exit(_command())
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def _command() -> int:
    """Run the command line or a program; return what its process would exit with."""
    code: Any = 0
    program = sys.argv[1].endswith(".py") if sys.argv[1:] else False
    for broken in os.environ.get("BREAK", "").split():
        _break(*broken.partition("=")[::2])
    # Imported again, since its consoles read the environment when they are created.
    for name in [name for name in sys.modules if name.startswith("seewhy.cli")]:
        del sys.modules[name]
    try:
        if program:
            sys.argv = sys.argv[1:]
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            importlib.import_module("seewhy.cli.app").main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0 if code is None else 1


def _break(place: str, kind: str) -> None:
    """Let a function, by its module and name, raise an error of a built-in kind."""
    module, name = place.split(":")

    def fail(*arguments: Any, **named: Any) -> Any:
        raise getattr(builtins, kind)(f"{name} is broken on purpose")

    assert hasattr(sys.modules[module], name), place
    setattr(sys.modules[module], name, fail)


def main() -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        sys.__stdout__.write(f"{run(json.loads(line))}\n")
        sys.__stdout__.flush()


if __name__ == "__main__":
    main()
