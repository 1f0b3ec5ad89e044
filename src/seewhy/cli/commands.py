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
from typing import IO, Annotated, Literal, NoReturn, cast

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

from seewhy import __version__
from seewhy.cli.console import SafeStream, fit_encoding
from seewhy.config import load_config
from seewhy.errors import SeewhyError
from seewhy.runtime.interruption import stopping_gently
from seewhy.runtime.progress import Advance, Silent
from seewhy.storage.schemas.audit import Audit
from seewhy.storage.schemas.data_checks import DataChecks, DataFindings
from seewhy.storage.schemas.dataset import SPLITS
from seewhy.storage.schemas.summary import FailedStep
from seewhy.storage.titles import failure, remedy
from seewhy.wording import plain

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Fine-tune image classifiers on your images and see why they decide as they do.",
)
# Of what `check` finds: groups of duplicates, and paths in a row of its table.
SHOWN, EXAMPLES = 10, 3
# Classes in its other table: 210 of them would fill several screens.
CLASSES = 20
# Rich takes anything that can be written to for a file.
out = Console(file=cast(IO[str], SafeStream("stdout", forgiving=False)), soft_wrap=True)
err = Console(file=cast(IO[str], SafeStream("stderr", forgiving=True)), soft_wrap=True)


class _ProgressBars:
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
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A finished study's run directory, timm:NAME or local-dir:PATH."
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        help="For timm:NAME: pretrained, none or local-dir:PATH.", show_default="pretrained"
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(min=1, help="Side of the network's input; default what it was trained with."),
]
BackboneOption = Annotated[
    str | None, typer.Option(help="Which of the study's backbones; default its first.")
]
StageOption = Annotated[
    str | None,
    typer.Option(help="Of a study: adaptation or finetuning.", show_default="finetuning"),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results.")]


def _examples(*lines: str) -> str:
    """Put examples below a command's help, a paragraph each."""
    return "\n\n".join(("Examples:", *lines))


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"seewhy {__version__}", markup=False, highlight=False)
        raise typer.Exit


@app.callback()
def _begin(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    pass


@app.command(
    epilog=_examples(
        "seewhy run demo",
        "seewhy run my_photos/ --backbone resnet50 --set input.size=160",
        "seewhy run train.npz --test test.npz --backbone vgg16 --backbone tf_efficientnet_lite0",
        "seewhy run paper --out runs/paper",
        "seewhy run my_photos/ --set search.trials=0   (no search: the head as configured)",
        "seewhy run my_photos/ --mitigate   (trains again without the shortcuts that are found)",
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
    mitigate: Annotated[
        bool,
        typer.Option(
            "--mitigate",
            help="Where the audit proves a shortcut, make and audit a second classifier without "
            "it; also for a study that has ended.",
        ),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Run a study: images in; baseline, search, two-stage fine-tuning, maps and a report out.

    The same command goes on with a study that was interrupted (Ctrl-C, a kill, a power cut). Where
    an optional step fails (an audit, say), the study ends without it, says so and exits with 0.
    """
    config = load_config(
        source,
        test=test,
        backbones=backbone or (),
        seed=seed,
        device=device,
        settings=settings or (),
    )
    from seewhy.pipeline.mitigation import check_mitigation, mitigate_run
    from seewhy.pipeline.study import run_folder, run_study
    from seewhy.storage.run_directory import RunDirectory

    if mitigate:
        check_mitigation(config, run_folder(config, out_dir), fresh)
    try:
        with stopping_gently(Silent() if quiet else _ProgressBars()) as progress:
            study = run_study(config, out_dir, progress, sys.argv, fresh)
            mitigated = mitigate_run(study.root, progress, sys.argv) if mitigate else {}
    except KeyboardInterrupt:
        _stopped(run_folder(config, out_dir))
    failed = RunDirectory(study.root).summary.read().failed
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
    unmitigated = {one.backbone for one in failed if one.step == "mitigation"}
    for slug, record in mitigated.items():
        if record is None and slug in unmitigated:
            continue
        nothing = ["no shortcut was proven, so there is nothing to mitigate"]
        for sentence in record.sentences if record else nothing:
            out.print(f"{slug}: {sentence}", markup=False, highlight=False)
    if study.report:
        out.print(f"report: {study.report}", markup=False, highlight=False)
    for one in failed:
        _say_failed(one, study.root)


def _say_failed(failed: FailedStep, root: Path) -> None:
    """Say which optional step of a finished study failed, and how to do it again."""
    from seewhy.storage.run_directory import RunDirectory

    again = remedy(failed, shlex.quote(str(root)))
    how = f"; `{again}` does it again" if again else ""
    line = f"seewhy: {failure(failed)}{how}; {RunDirectory(root).layout.log} has the details"
    err.print(line, markup=False, highlight=False)


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
    from seewhy.pipeline.data_check import check_images

    checked = check_images(config, out_dir, Silent() if quiet else _ProgressBars())
    findings = checked.findings
    for table in (_classes_table(checked.checks), _checks_table(checked.checks, findings)):
        out.print(table)
    for sentence in (*findings.notes, *(findings.sentences or ["Nothing wrong was found."])):
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


def _classes_table(checks: DataChecks) -> Table:
    """Put the images of each class and split into a table; of many classes the first."""
    counts = checks.counts
    names = list(counts["train"])
    title = f"{len(names):,} classes"
    if len(names) > CLASSES + 1:
        names, title = names[:CLASSES], f"{title}, the first {CLASSES} of them"
    table = Table("class", "training", "validation", "test", title=title)
    for name in names:
        table.add_row(escape(plain(name, 60)), *(f"{counts[split][name]:,}" for split in SPLITS))
    totals = (f"{sum(counts[split].values()):,}" for split in SPLITS)
    table.add_row("all", *totals, style="bold")
    return table


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
    rows.append(("duplicates with several labels, groups", found.conflicting, []))
    rows += [
        (f"other files: {one.suffix or 'no suffix'}", one.count, one.first)
        for one in findings.other_files
    ]
    images = f"{findings.images:,} images, {len(checks.counts['train'])} classes"
    table = Table("check", "found", "for example", title=images)
    for name, number, examples in rows:
        table.add_row(name, f"{number:,}", escape(", ".join(examples[:EXAMPLES])))
    return table


@app.command(
    epilog=_examples(
        "seewhy explain runs/demo cat.jpg dog.png --out looked/",
        "seewhy explain timm:tf_efficientnet_lite0 photos/ --classes top3",
        "seewhy explain timm:resnet50 cat.jpg --weights local-dir:my_weights --method gradcam "
        "--method layercam",
        "seewhy explain timm:tf_efficientnet_lite0 dog.jpg --classes collie --against borzoi",
    )
)
def explain(
    model: ModelArgument,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Picture files, and folders of them."),
    ],
    out_dir: Annotated[
        Path, typer.Option("--out", help="Where overlays, maps and manifest.json go.")
    ] = Path("explained"),
    classes: Annotated[
        list[str] | None,
        typer.Option(
            help="predicted, top3 (any number), all; or a class's name or number, repeatable.",
            show_default="predicted",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="How maps are made; several make a sheet to compare them.",
            show_default="gradcam",
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="A name from `seewhy layers`; several make one map.", show_default="auto"
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Ask why the class rather than this one; repeatable."),
    ] = None,
    opacity: Annotated[float, typer.Option(help="Of the map over the picture, 0 to 1.")] = 0.5,
    weights: WeightsOption = None,
    size: SizeOption = None,
    backbone: BackboneOption = None,
    stage: StageOption = None,
    batch_size: Annotated[int, typer.Option(help="Pictures held in memory at once.")] = 16,
    white: Annotated[
        float | None,
        typer.Option(
            help="White in pictures of more than 8 bits a value.", show_default="as in the study"
        ),
    ] = None,
    black: Annotated[
        float | None, typer.Option(help="Black in them.", show_default="as in the study")
    ] = None,
    device: DeviceOption = None,
    quiet: QuietOption = False,
) -> None:
    """Show where a classifier looks in pictures of yours.

    Writes STEM-overlay.png and STEM-map.npy for each picture, at the picture's own size; a
    STEM-sheet.png where it has several maps; and manifest.json, which lists them, last.
    """
    from seewhy.inference.classifiers import open_classifier
    from seewhy.inference.explain_pictures import explain_pictures
    from seewhy.inference.explanation_request import ExplanationRequest

    classifier = open_classifier(
        model,
        weights=weights,
        size=size,
        backbone=backbone,
        stage=_stage(stage),
        device=device or "auto",
    )
    asking = ExplanationRequest(
        classes=tuple(classes or ("predicted",)),
        methods=tuple(method or ("gradcam",)),
        layers=tuple(layer or ()),
        against=tuple(against or ()),
        opacity=opacity,
        batch_size=batch_size,
        white=white,
        black=black,
    )
    progress = Silent() if quiet else _ProgressBars()
    done = explain_pictures(classifier, images, out_dir, asking, progress)
    for picture in done.pictures:
        says = "" if picture.predicted is None else f"{picture.predicted} {picture.probability:.3f}"
        empty = sum(one.empty for one in picture.maps)
        note = "empty map: nothing in it speaks for the class"
        if len(picture.maps) > 1:
            note = f"{empty} of {len(picture.maps)} maps are empty"
        place = out_dir / (picture.sheet or picture.maps[0].overlay)
        line = f"{picture.path}: {says}{f' ({note})' if empty else ''} -> {place}"
        out.print(line, markup=False, highlight=False)
    for failed in done.failed:
        err.print(f"seewhy: {failed.path}: {failed.reason}", markup=False, highlight=False)
    if done.failed:
        raise typer.Exit(2)


@app.command(
    epilog=_examples("seewhy audit runs/demo", "seewhy audit runs/demo --stage adaptation")
)
def audit(
    run_dir: RunArgument,
    stage: StageOption = None,
    backbone: Annotated[
        str | None, typer.Option(help="One of the study's backbones; default all.")
    ] = None,
    device: DeviceOption = None,
    quiet: QuietOption = False,
) -> None:
    """Look for shortcuts in a study's classifiers, confirm them, and redraw its report."""
    from seewhy.audit.stage_audit import audit_run
    from seewhy.report.build import redraw_report
    from seewhy.storage.lock import under_lock
    from seewhy.storage.run_directory import RunDirectory

    @under_lock  # of both, so that nobody comes between them
    def audited(root: Path | str) -> tuple[dict[str, Audit], Path]:
        progress = Silent() if quiet else _ProgressBars()
        found = audit_run(root, _stage(stage) or "finetuning", backbone, device or "auto", progress)
        for slug in found:
            RunDirectory(Path(root)).summary.remove_failed(
                ("audit",), slug, _stage(stage) or "finetuning"
            )
        return found, redraw_report(root)

    found, report = audited(run_dir)
    for slug, record in found.items():
        for sentence in record.sentences or ["no shortcut found. " + record.searched]:
            out.print(f"{slug}: {sentence}", markup=False, highlight=False)
    out.print(f"report: {report}", markup=False, highlight=False)


@app.command(epilog=_examples("seewhy layers timm:resnet50", "seewhy layers runs/demo"))
def layers(
    model: ModelArgument,
    size: SizeOption = None,
    backbone: BackboneOption = None,
    stage: StageOption = None,
) -> None:
    """List the layers of a network in the order they run, with the shapes they put out.

    "map" marks those that `seewhy explain --layer` can explain, "auto" the one it takes by itself.
    """
    from seewhy.inference.classifiers import describe_layers

    found = describe_layers(model, size=size, backbone=backbone, stage=_stage(stage))
    rows = [("layer", "kind", "output", "explained")]
    for one in found.layers:
        if one.name or one.is_map:
            note = "auto" if one.name == found.chosen else "map" if one.is_map else ""
            rows.append((one.name, one.kind, " × ".join(map(str, one.shape)), note))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Plain lines: a table would cut names, or fold them, to fit a narrow terminal or a pipe.
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out.print(line.rstrip(), markup=False, highlight=False)
    side = f"{found.size}×{found.size}"
    out.print(f"{found.name}, for one image of {side}", markup=False, highlight=False)


def _stage(word: str | None) -> Literal["adaptation", "finetuning"] | None:
    if word not in (None, "adaptation", "finetuning"):
        raise SeewhyError(f"--stage: expected adaptation or finetuning, but got {word!r}")
    return cast(Literal["adaptation", "finetuning"] | None, word)


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


@app.command(epilog=_examples("seewhy evaluate runs/demo"))
def evaluate(run_dir: RunArgument, quiet: QuietOption = False) -> None:
    """Evaluate and compare a finished study's backbones again, and redraw its report.

    From the predictions that it kept; needed where that failed, or for a study of an older version.
    """
    from seewhy.pipeline.evaluation import evaluate_run
    from seewhy.storage.run_directory import RunDirectory

    found = evaluate_run(run_dir, Silent() if quiet else _ProgressBars())
    for sentence in found.sentences:
        out.print(sentence.text, markup=False, highlight=False)
    out.print(f"report: {RunDirectory(run_dir).report.path}", markup=False, highlight=False)


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
    from seewhy.pipeline.comparison import compare_studies
    from seewhy.report.text.tables import as_markdown, cell, markdown_text

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
    """Run the command line; what the user can mitigate becomes one sentence and exit code 2."""
    fit_encoding()
    try:
        app()
    except SeewhyError as error:
        _fail(str(error))
    except UnicodeEncodeError as error:
        _fail(
            f"the name {error.object!a} cannot be a file's name in this system's encoding "
            f"({error.encoding}); set PYTHONUTF8=1"
        )
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
            "finetuning.keep=recompute; with explain, a smaller --batch-size or --size"
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
