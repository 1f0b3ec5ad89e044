"""The command line: arguments -> config -> study. The only module that prints or exits.

Every error of ours is one sentence on standard error and exit code 2.
"""

from __future__ import annotations

import errno
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, NoReturn, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from seewhy.config import load_config
from seewhy.errors import SeewhyError
from seewhy.progress import Advance, Silent
from seewhy.stopping import stopping_gently

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Fine-tune image classifiers on your images and see why they decide as they do.",
)
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)


class _Bars:
    """Shows progress on standard error: bars with the time left, or a line a task in a file."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        if not err.is_terminal:
            started = time.monotonic()
            yield lambda steps: None
            self.say(f"{name}: {time.monotonic() - started:.0f} s")
            return
        bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
        )
        with bars:
            number = bars.add_task(escape(name), total=total)
            yield lambda steps: bars.advance(number, steps)

    def say(self, message: str) -> None:
        err.print(escape(message))


RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results.")]


def _examples(*lines: str) -> str:
    """Put examples below a command's help, a paragraph each."""
    return "\n\n".join(("Examples:", *lines))


@app.command(
    epilog=_examples(
        "seewhy run demo",
        "seewhy run my_photos/ --backbone resnet50 --set input.size=160",
        "seewhy run train.npz --test test.npz --backbone vgg16 --backbone tf_efficientnet_lite0",
        "seewhy run paper --out runs/paper",
        "seewhy run my_photos/ --set search.trials=0   (no search: the head as configured)",
    )
)
def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="demo, paper, cifar10.2, a folder of class folders, an .npz file, a .toml file.",
        ),
    ],
    test: Annotated[
        str | None, typer.Option(help="The test part: an .npz file or a folder.")
    ] = None,
    backbone: Annotated[
        list[str] | None, typer.Option(help="A timm name or local-dir:PATH; repeatable.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="The run directory; default runs/NAME.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same numbers; default 0.")] = None,
    device: DeviceOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any config key; repeatable."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete the study that is there, and start over.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Run a study: images in; baseline, search, two-stage fine-tuning, maps and a report out.

    The same command goes on with a study that was interrupted (Ctrl-C, a kill, a power cut).
    """
    config = load_config(
        source,
        test=test,
        backbones=backbone or (),
        seed=seed,
        device=device,
        settings=settings or (),
    )
    from seewhy.study import run_folder, run_study

    try:
        with stopping_gently(Silent() if quiet else _Bars()) as progress:
            study = run_study(config, out_dir, progress, sys.argv, fresh)
    except KeyboardInterrupt:
        _stopped(run_folder(config, out_dir))
    table = Table("backbone", "baseline", "adaptation", "fine-tuning", title="test accuracy")
    for slug, part in study.summary.backbones.items():
        base = getattr(part.baseline, "accuracy", None)
        table.add_row(
            escape(slug),
            "skipped" if base is None else f"{base:.3f}",
            f"{part.adaptation.accuracy:.3f}",
            f"{part.finetuning.accuracy:.3f}",
        )
    out.print(table)
    for slug, part in study.summary.backbones.items():
        reason = getattr(part.baseline, "skipped", None)
        if reason:
            out.print(f"{slug}: no baseline: {reason}", markup=False, highlight=False)
    out.print(f"report: {study.report}", markup=False, highlight=False)


@app.command(epilog=_examples("seewhy explain runs/demo cat.jpg dog.png --out looked/"))
def explain(
    run_dir: RunArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Picture files.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Where overlays and maps go.")] = Path(
        "explained"
    ),
    backbone: Annotated[
        str | None, typer.Option(help="Which of the study's backbones; default its first.")
    ] = None,
    stage: Annotated[str, typer.Option(help="adaptation or finetuning.")] = "finetuning",
    device: DeviceOption = None,
) -> None:
    """Show where a study's classifier looks in pictures of yours.

    Writes STEM-overlay.png and STEM-map.npy for the predicted class of each picture.
    """
    if stage not in ("adaptation", "finetuning"):
        raise SeewhyError(f"--stage: expected adaptation or finetuning, but got {stage!r}")
    from seewhy.pictures import explain_pictures

    explained, failed = explain_pictures(
        run_dir,
        images,
        out_dir,
        backbone,
        cast(Literal["adaptation", "finetuning"], stage),
        device or "auto",
        _Bars(),
    )
    for picture in explained:
        note = " (empty map: nothing in it speaks for the class)" if picture.empty else ""
        line = f"{picture.path}: {picture.predicted} {picture.confidence:.3f}{note}"
        out.print(f"{line} -> {picture.overlay}", markup=False, highlight=False)
    for error in failed:
        err.print(f"seewhy: {error}", markup=False, highlight=False)
    if failed:
        raise typer.Exit(2)


@app.command(epilog=_examples("seewhy report runs/demo"))
def report(run_dir: RunArgument) -> None:
    """Draw a finished study's report again, from its records alone."""
    from seewhy.report.build import redraw_report

    out.print(f"report: {redraw_report(run_dir)}", markup=False, highlight=False)


@app.command(epilog=_examples("seewhy models"))
def models() -> None:
    """List backbones: parameters, weighted layers, published accuracy on ImageNet.

    Any other timm name with a spatial feature map works too.
    """
    from seewhy.models.catalogue import catalogue

    table = Table()
    for heading in ("backbone", "short name", "parameters", "weighted layers", "top-1 %", "input"):
        # A name that is cut off cannot be typed: narrow terminals fold it instead.
        table.add_column(heading, overflow="fold")
    for row in catalogue():
        table.add_row(
            row.name,
            row.short or "",
            f"{row.parameters / 1e6:.1f} M",
            str(row.weighted_layers),
            "–" if row.top1 is None else f"{row.top1:.1f}",
            str(row.input_size),
        )
    out.print(table)


def main() -> None:
    """Run the command line; what the user can mend becomes one sentence and exit code 2."""
    try:
        app()
    except SeewhyError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail("no space left on the disk; free some, or choose another place with --out")
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    except (MemoryError, RuntimeError) as error:
        # PyTorch says so in words: CUDA's is an OutOfMemoryError, the CPU's a RuntimeError.
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        _fail(
            "the memory does not suffice; try a smaller head.batch_size or input.size, or "
            "finetuning.keep=recompute"
        )


def _stopped(root: Path) -> NoReturn:
    """Say what Ctrl-C left and how the study goes on."""
    words = [argument for argument in sys.argv[1:] if argument != "--fresh"]
    command = shlex.join(["seewhy", *words])
    line = f"stopped; all finished steps are kept in {root}. This goes on from there: {command}"
    if not root.is_dir():
        line = "stopped; nothing had been begun"
    err.print(f"seewhy: {line}", markup=False, highlight=False)
    sys.exit(130)


def _fail(sentence: str) -> NoReturn:
    err.print(f"seewhy: {sentence}", markup=False, highlight=False)
    sys.exit(2)
