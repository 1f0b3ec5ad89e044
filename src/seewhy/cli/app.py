"""The ``seewhy`` command: its groups of commands, ``--version``, and exit codes.

Every error of ours is one sentence on standard error and exit code 2. The modules imported here
import neither torch nor NumPy nor pydantic at the top, so that help and shell completion are quick.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from importlib.metadata import version as installed_version
from typing import Annotated, NoReturn

import typer

from seewhy import __version__
from seewhy.cli import (
    audit,
    check,
    compare,
    evaluate,
    explain,
    layers,
    models,
    predict,
    report,
    run,
)
from seewhy.cli.console import fit_encoding, print_message, print_result
from seewhy.errors import SeewhyError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Fine-tune image classifiers on your images and see why they decide as they do.",
    epilog="Start with: seewhy run demo",
)


def main() -> None:
    """Run the command line; an error that the user can fix is one sentence and exit code 2."""
    fit_encoding()
    try:
        app(prog_name="seewhy")
    except SeewhyError as error:
        _fail(str(error))
    except UnicodeEncodeError as error:
        _fail(
            f"{error.object!a} cannot be a file name in this system's encoding "
            f"({error.encoding}); set PYTHONUTF8=1"
        )
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail("no space left on the disk; free some, or choose another place with --out")
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    except (MemoryError, RuntimeError) as error:
        # PyTorch's message names memory: an OutOfMemoryError on CUDA, a RuntimeError on the CPU.
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        _fail(
            "not enough memory; try a smaller head.batch_size or input.size, or "
            "finetuning.keep=recompute; with explain or predict, a smaller --batch-size or --size"
        )


def _fail(sentence: str) -> NoReturn:
    print_message(f"seewhy: {sentence}")
    raise SystemExit(2)


def _print_versions(requested: bool) -> None:
    """Print what an issue report should name, and exit."""
    if not requested:
        return
    import torch

    from seewhy.runtime.device import choose_compute

    device = choose_compute("auto", "float32").name
    print_result(
        f"seewhy {__version__}, torch {torch.__version__}, timm {installed_version('timm')}, "
        f"device {device}"
    )
    raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_versions,
            is_eager=True,
            help="Print the versions of seewhy, torch and timm, and the device.",
        ),
    ] = False,
) -> None:
    """Options that need no command."""


def _add(group: str, command: Callable[..., None], examples: tuple[str, ...]) -> None:
    """Add a command to a group of ``seewhy --help``, with examples below its own help."""
    epilog = "\n\n".join(("Examples:", *examples))
    app.command(rich_help_panel=group, epilog=epilog)(command)


_add("Studies", run.run, run.EXAMPLES)
_add("Studies", check.check, check.EXAMPLES)
_add("Studies", audit.audit, audit.EXAMPLES)
_add("Studies", report.report, report.EXAMPLES)
_add("Studies", evaluate.evaluate, evaluate.EXAMPLES)
_add("Studies", compare.compare, compare.EXAMPLES)
_add("Any classifier", predict.predict, predict.EXAMPLES)
_add("Any classifier", explain.explain, explain.EXAMPLES)
_add("Any classifier", layers.layers, layers.EXAMPLES)
_add("Information", models.models, models.EXAMPLES)
