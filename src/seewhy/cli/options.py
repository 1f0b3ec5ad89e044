"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from seewhy.errors import SeewhyError

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="demo, paper, cifar10.2, a folder of class folders, a table (.csv, .tsv, .jsonl, "
        ".json, .parquet), an .npz file or a .toml file.",
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory of a study.")]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Run directory of a finished study, timm:NAME or local-dir:PATH.",
    ),
]
TestOption = Annotated[
    str | None, typer.Option("--test", help="Test images: a folder, a table or an .npz file.")
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        help="Random seed: the same seed gives the same numbers.",
        show_default="0, or as configured",
    ),
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a configuration key; repeatable."),
]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        help="Weights for timm:NAME: pretrained, none or local-dir:PATH.",
        show_default="pretrained",
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        help="The network's input in pixels: its side, or HEIGHTxWIDTH.",
        show_default="as in training",
    ),
]
ResizeOption = Annotated[
    str | None,
    typer.Option(
        help="How an image of other proportions becomes the input: crop, pad or squash.",
        show_default="as in the study, else crop",
    ),
]
BackboneOption = Annotated[
    str | None, typer.Option(help="Backbone of the study.", show_default="its first")
]
StageOption = Annotated[
    str | None,
    typer.Option(help="Stage of the study: adaptation or finetuning.", show_default="finetuning"),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print results only, no progress.")
]


def read_size(size: str | None) -> int | tuple[int, int] | None:
    """Return the value of ``--size``.

    Raises
    ------
    SeewhyError
        If it is neither a number nor two.
    """
    if size is None:
        return None
    found = [int(side) for side in size.lower().split("x") if side.isascii() and side.isdigit()]
    if len(found) != size.lower().count("x") + 1 or len(found) > 2 or 0 in found:
        raise SeewhyError(f"--size: expected a side such as 224, or 192x256, but got {size!r}")
    return found[0] if len(found) == 1 else (found[0], found[1])


def check_resize(resize: str | None) -> Literal["crop", "pad", "squash"] | None:
    """Return the value of ``--resize``.

    Raises
    ------
    SeewhyError
        If it is none of the three.
    """
    if resize not in (None, "crop", "pad", "squash"):
        raise SeewhyError(f"--resize: expected crop, pad or squash, but got {resize!r}")
    return cast(Literal["crop", "pad", "squash"] | None, resize)


def check_stage(stage: str | None) -> Literal["adaptation", "finetuning"] | None:
    """Return the value of ``--stage``.

    Raises
    ------
    SeewhyError
        If it is not a stage.
    """
    if stage not in (None, "adaptation", "finetuning"):
        raise SeewhyError(f"--stage: expected adaptation or finetuning, but got {stage!r}")
    return cast(Literal["adaptation", "finetuning"] | None, stage)
