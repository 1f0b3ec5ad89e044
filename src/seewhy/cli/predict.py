"""``seewhy predict``: predictions of any classifier for images without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seewhy.cli.console import print_message, print_result
from seewhy.cli.options import (
    DeviceOption,
    ModelArgument,
    QuietOption,
    ResizeOption,
    SizeOption,
    StageOption,
    WeightsOption,
    check_resize,
    check_stage,
    read_size,
)
from seewhy.cli.progress_bars import choose_progress
from seewhy.errors import SeewhyError
from seewhy.wording import count

EXAMPLES = (
    "seewhy predict runs/demo new_photos/",
    "seewhy predict runs/demo new_photos/ --backbone all   (the mean of all backbones)",
    "seewhy predict runs/demo new_photos.csv --out answers.csv --maps maps/",
    "seewhy predict runs/photos exports/list.csv --root photos/",
    "seewhy predict timm:tf_efficientnet_lite0 cat.jpg dog.png",
)

ImagesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGE...", help="Image files, folders of them, or tables with a column of paths."
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="CSV file for the predictions.")]
MapsOption = Annotated[
    Path | None,
    typer.Option("--maps", help="Folder for maps and overlays, as `seewhy explain` writes them."),
]
PathColumnOption = Annotated[
    str | None,
    typer.Option(help="The tables' column of paths.", show_default="found by its content"),
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Folder that relative paths in tables start from.",
        show_default="the table's folder",
    ),
]
BackboneOption = Annotated[
    str | None,
    typer.Option(
        help="Backbone of the study, or all: the mean of all of them.", show_default="its first"
    ),
]
MirrorOption = Annotated[
    bool, typer.Option("--mirror", help="Average over each image and its mirror image.")
]
UncalibratedOption = Annotated[
    bool, typer.Option("--uncalibrated", help="Write probabilities as the network gives them.")
]


def predict(
    model: ModelArgument,
    images: ImagesArgument,
    out_file: OutOption = Path("predictions.csv"),
    maps: MapsOption = None,
    path_column: PathColumnOption = None,
    root: RootOption = None,
    uncalibrated: UncalibratedOption = False,
    weights: WeightsOption = None,
    size: SizeOption = None,
    resize: ResizeOption = None,
    backbone: BackboneOption = None,
    mirror: MirrorOption = False,
    stage: StageOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 32,
    device: DeviceOption = None,
    quiet: QuietOption = False,
) -> None:
    """Predict images without labels.

    Writes a CSV file with a line per image: path, predicted class, confidence, a probability per
    class, the table's further columns, and why an image could not be read. Where the study has a
    threshold (evaluation.abstain_error), the column abstain says which predictions are below it.
    """
    from seewhy.inference.classifiers import NamedClassifier, open_classifier
    from seewhy.inference.ensembles import NamedEnsemble, open_ensemble, stands_for_all
    from seewhy.inference.predict_pictures import explain_predicted, predict_pictures

    classifier: NamedClassifier | NamedEnsemble
    if stands_for_all(model, backbone):
        of_one = {"weights": weights, "size": size, "resize": resize, "stage": check_stage(stage)}
        _check_all(of_one, uncalibrated, maps)
        classifier = open_ensemble(model, device or "auto")
    else:
        classifier = open_classifier(
            model,
            weights=weights,
            size=read_size(size),
            resize=check_resize(resize),
            backbone=backbone,
            stage=check_stage(stage),
            device=device or "auto",
        )
    if mirror and maps is not None:
        raise SeewhyError("--maps: a map explains one pass of an image; leave out --mirror")
    progress = choose_progress(quiet)
    found = predict_pictures(
        classifier,
        images,
        out_file,
        calibrated=not uncalibrated,
        mirrored=mirror,
        batch_size=batch_size,
        path_column=path_column,
        root=root,
        without=maps,
        progress=progress,
    )
    if found.failed:
        print_message(
            f"seewhy: {count(found.failed, 'image')} could not be read; the column error of "
            f"{out_file} says why"
        )
    abstained = "" if found.abstained is None else f", {found.abstained:,} of them abstained"
    print_result(f"{out_file}: {count(found.predicted, 'prediction')}{abstained}")
    if maps is not None and isinstance(classifier, NamedClassifier):
        drawn = explain_predicted(classifier, images, maps, path_column, root, progress)
        print_result(f"{maps}: maps of {count(drawn, 'image')}")


def _check_all(of_one: dict[str, str | None], uncalibrated: bool, maps: Path | None) -> None:
    """Refuse what only one classifier has, where all backbones of a study are to be averaged."""
    given = [name for name, value in of_one.items() if value not in (None, "finetuning")]
    given += [name for name, is_set in (("uncalibrated", uncalibrated), ("maps", maps)) if is_set]
    if given:
        raise SeewhyError(
            f"--{given[0]}: does not go with --backbone all, the mean of the calibrated "
            "probabilities of a study's fine-tuned backbones; name one of them"
        )
