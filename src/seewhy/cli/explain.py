"""``seewhy explain``: class activation maps of any classifier on image files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seewhy.cli.console import print_message, print_result
from seewhy.cli.options import (
    BackboneOption,
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

if TYPE_CHECKING:
    from seewhy.inference.manifest import Picture

EXAMPLES = (
    "seewhy explain runs/demo cat.jpg dog.png --out maps/",
    "seewhy explain timm:tf_efficientnet_lite0 photos/ --classes top3",
    "seewhy explain timm:resnet50 wide.jpg --size 160x320 --resize pad",
    "seewhy explain timm:resnet50 cat.jpg --weights local-dir:my_weights --method gradcam "
    "--method layercam",
    "seewhy explain timm:tf_efficientnet_lite0 dog.jpg --classes collie --against borzoi",
)

ImagesArgument = Annotated[
    list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.")
]
OutOption = Annotated[
    Path, typer.Option("--out", help="Folder for overlays, maps and manifest.json.")
]
ClassesOption = Annotated[
    list[str] | None,
    typer.Option(
        help="predicted, topN such as top3, all, or a class name or number; repeatable.",
        show_default="predicted",
    ),
]
MethodOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Method, such as gradcam or layercam; repeat it to compare methods on one sheet.",
        show_default="the study's, else gradcam",
    ),
]
LayerOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A name from `seewhy layers`; several layers are combined in one map.",
        show_default="the study's, else auto",
    ),
]
AgainstOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Contrast class: what speaks for the class rather than for this one; repeatable."
    ),
]
OpacityOption = Annotated[float, typer.Option(help="Opacity of the map over the image, 0 to 1.")]
WhiteOption = Annotated[
    float | None,
    typer.Option(
        help="Value of white in images with more than 8 bits per channel.",
        show_default="as in the study",
    ),
]
BlackOption = Annotated[
    float | None,
    typer.Option(help="Value of black in such images.", show_default="as in the study"),
]


def explain(
    model: ModelArgument,
    images: ImagesArgument,
    out_dir: OutOption = Path("explained"),
    classes: ClassesOption = None,
    method: MethodOption = None,
    layer: LayerOption = None,
    against: AgainstOption = None,
    opacity: OpacityOption = 0.5,
    weights: WeightsOption = None,
    size: SizeOption = None,
    resize: ResizeOption = None,
    backbone: BackboneOption = None,
    stage: StageOption = None,
    batch_size: Annotated[int, typer.Option(help="Images in memory at once.")] = 16,
    white: WhiteOption = None,
    black: BlackOption = None,
    device: DeviceOption = None,
    quiet: QuietOption = False,
) -> None:
    """Show where a classifier looks in your images.

    Writes STEM-overlay.png and STEM-map.npy per image, in the image's own size; STEM-sheet.png if
    an image has several maps; and, last, manifest.json, which lists all files.
    """
    from seewhy.inference.classifiers import open_classifier
    from seewhy.inference.explain_pictures import explain_pictures
    from seewhy.inference.explanation_request import ExplanationRequest

    classifier = open_classifier(
        model,
        weights=weights,
        size=read_size(size),
        resize=check_resize(resize),
        backbone=backbone,
        stage=check_stage(stage),
        device=device or "auto",
    )
    request = ExplanationRequest(
        classes=tuple(classes or ("predicted",)),
        methods=tuple(method or ()),
        layers=tuple(layer or ()),
        against=tuple(against or ()),
        opacity=opacity,
        batch_size=batch_size,
        white=white,
        black=black,
    )
    explained = explain_pictures(classifier, images, out_dir, request, choose_progress(quiet))
    for picture in explained.pictures:
        print_result(_line(picture, out_dir))
    for failed in explained.failed:
        print_message(f"seewhy: {failed.path}: {failed.reason}")
    if explained.failed:
        raise typer.Exit(2)


def _line(picture: Picture, out_dir: Path) -> str:
    """Return an image's prediction, how many of its maps are empty, and where to look at them."""
    predicted = picture.predicted
    prediction = "" if predicted is None else f"{predicted} {picture.probability:.3f}"
    if picture.abstains:
        prediction = f"do not know ({predicted}, calibrated confidence {picture.calibrated:.3f})"
    empty = sum(cam.empty for cam in picture.maps)
    note = ""
    if empty:
        note = f" ({empty} of {len(picture.maps)} maps are empty)"
        if len(picture.maps) == 1:
            note = " (empty map: nothing in the image speaks for the class)"
    file = out_dir / (picture.sheet or picture.maps[0].overlay)
    return f"{picture.path}: {prediction}{note} -> {file}"
