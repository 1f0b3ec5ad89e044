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
from seewhy.records import DataChecks, DataFindings
from seewhy.stopping import stopping_gently

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Fine-tune image classifiers on your images and see why they decide as they do.",
)
# Of what `check` finds: groups of duplicates, and paths in a row of its table.
SHOWN, EXAMPLES = 10, 3
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


SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="demo, paper, cifar10.2, a folder of class folders, an .npz file, a .toml file.",
    ),
]
TestOption = Annotated[
    str | None, typer.Option("--test", help="The test part: an .npz file or a folder.")
]
SeedOption = Annotated[int | None, typer.Option(help="Same seed, same numbers; default 0.")]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any config key; repeatable."),
]
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
    source: SourceArgument,
    test: TestOption = None,
    backbone: Annotated[
        list[str] | None, typer.Option(help="A timm name or local-dir:PATH; repeatable.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="The run directory; default runs/NAME.")
    ] = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    settings: SettingsOption = None,
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


@app.command(
    epilog=_examples(
        "seewhy check my_photos/",
        "seewhy check train.npz --test test.npz --out checked/",
        "seewhy check my_photos/ --strict --set data.near_duplicates=0.9",
    )
)
def check(
    source: SourceArgument,
    test: TestOption = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Where checks.json and contact_sheet.png go.")
    ] = None,
    seed: SeedOption = None,
    settings: SettingsOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 where something is found.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Look at the images before a study: faults, duplicates, leaks between splits, balance.

    Writes nothing unless --out says where. A study makes the same checks.
    """
    config = load_config(source, test=test, seed=seed, settings=settings or ())
    from seewhy.checking import check_images

    checked = check_images(config, out_dir, Silent() if quiet else _Bars())
    findings = checked.findings
    out.print(_checks_table(checked.checks, findings))
    for sentence in findings.sentences or ["Nothing wrong was found."]:
        out.print(sentence, markup=False, highlight=False)
    worst = [g for g in findings.duplicates.first if len(g.splits) > 1 or len(g.labels) > 1]
    for group in worst[:SHOWN]:
        members = "  =  ".join(f"{one.path} ({one.split}, {one.label})" for one in group.images)
        out.print(f"  {members}", markup=False, highlight=False)
    if len(worst) > SHOWN:
        more = "" if out_dir else "; --out FOLDER lists more"
        out.print(f"  … and {len(worst) - SHOWN} groups more{more}", markup=False, highlight=False)
    for file in checked.files:
        out.print(f"written: {file}", markup=False, highlight=False)
    if strict and findings.sentences:
        raise typer.Exit(1)


def _checks_table(checks: DataChecks, findings: DataFindings) -> Table:
    """Put counts and the first examples into a table."""
    found = findings.duplicates
    rows = [("set aside", len(checks.set_aside), [one["path"] for one in checks.set_aside])]
    rows += [(one.fault, one.count, [image.path for image in one.first]) for one in findings.faults]
    for name, number, kind in (
        ("exact copies, groups", found.exact, "exact"),
        ("near duplicates, groups", found.near, "near"),
    ):
        groups = [group for group in found.first if group.kind == kind]
        rows.append((name, number, [group.images[0].path for group in groups]))
    rows.append(("duplicates across splits, groups", found.leaking, []))
    rows.append(("one picture, several labels, groups", found.conflicting, []))
    images = f"{findings.images:,} images, {len(checks.counts['train'])} classes"
    table = Table("check", "found", "for example", title=images)
    for name, number, examples in rows:
        table.add_row(name, f"{number:,}", escape(", ".join(examples[:EXAMPLES])))
    return table


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


@app.command(epilog=_examples("seewhy report runs/demo", "seewhy report runs/demo --format md"))
def report(
    run_dir: RunArgument,
    form: Annotated[
        str, typer.Option("--format", help="html, or md: Markdown for pasting into a paper.")
    ] = "html",
) -> None:
    """Draw a finished study's report again, from its records alone.

    Tables (CSV) and figures (SVG) are written beside it.
    """
    from seewhy.report.build import redraw_report, write_as_markdown

    forms = {"html": redraw_report, "md": write_as_markdown}
    if form not in forms:
        raise SeewhyError(f"--format: expected html or md, but got {form!r}")
    out.print(f"report: {forms[form](run_dir)}", markup=False, highlight=False)


@app.command(
    epilog=_examples(
        "seewhy compare runs/vgg16 runs/resnet50",
        "seewhy compare runs/a runs/b runs/c --out compared.json",
        "seewhy compare runs/a runs/b --format md > compared.md",
    )
)
def compare(
    run_dirs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Run directories, two or more.")
    ],
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.json", help="Write the comparison too.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="text, or md: Markdown for pasting into a paper.")
    ] = "text",
) -> None:
    """Compare the classifiers of finished studies that have the same test images.

    Accuracies with intervals, McNemar's test of every pair, how alike answers and maps are.
    """
    if form not in ("text", "md"):
        raise SeewhyError(f"--format: expected text or md, but got {form!r}")
    from seewhy.comparing import compare_studies
    from seewhy.report.tables import as_markdown, cell, markdown_text

    found = compare_studies(run_dirs, out_file)
    for table in found.tables:
        if form == "md":
            out.print(as_markdown(table), markup=False, highlight=False)
            continue
        shown = Table(title=table.title)
        for column in table.columns:
            shown.add_column(column, overflow="fold")
        for row in table.rows:
            shown.add_row(*(escape(cell(value)) for value in row))
        out.print(shown)
    for sentence in found.comparison.sentences:
        text = f"- {markdown_text(sentence.text)}" if form == "md" else sentence.text
        out.print(text, markup=False, highlight=False)
    if out_file:
        err.print(f"written: {out_file}", markup=False, highlight=False)


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
