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
    int | None,
    typer.Option(
        min=1, help="Side of the network's input, in pixels.", show_default="as in training"
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
