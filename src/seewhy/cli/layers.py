"""``seewhy layers``: the layers of a network that maps can be made for."""

from __future__ import annotations

from seewhy.cli.console import print_result
from seewhy.cli.options import (
    BackboneOption,
    ModelArgument,
    SizeOption,
    StageOption,
    check_stage,
    read_size,
)

EXAMPLES = ("seewhy layers timm:resnet50", "seewhy layers runs/demo")


def layers(
    model: ModelArgument,
    size: SizeOption = None,
    backbone: BackboneOption = None,
    stage: StageOption = None,
) -> None:
    """List the layers of a network in execution order, with their output shapes.

    "map" marks the layers that `seewhy explain --layer` can explain; "auto" marks what is
    explained by default.
    """
    from seewhy.inference.classifiers import describe_layers
    from seewhy.storage.schemas.input_size import shown_size

    network = describe_layers(
        model, size=read_size(size), backbone=backbone, stage=check_stage(stage)
    )
    rows = [("layer", "type", "output shape", "explained")]
    for layer in network.layers:
        if layer.name or layer.is_map:
            note = "auto" if layer.name in network.chosen else "map" if layer.is_map else ""
            rows.append((layer.name, layer.kind, " × ".join(map(str, layer.shape)), note))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Plain lines: a Rich table would cut or fold names in a narrow terminal or a pipe.
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_result(line.rstrip())
    print_result(f"{network.name}, for one image of {shown_size(network.size)}")
