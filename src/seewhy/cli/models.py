"""``seewhy models``: backbones to choose from."""

from __future__ import annotations

from rich.table import Table

from seewhy.cli.console import out

EXAMPLES = ("seewhy models",)


def models() -> None:
    """List backbones: parameters, weighted layers and published accuracy on ImageNet.

    Any other timm network with a spatial feature map works too.
    """
    from seewhy.models.catalogue import catalogue

    table = Table()
    for heading in ("backbone", "short name", "parameters", "weighted layers", "top-1 %", "input"):
        # A name that is cut off cannot be typed, so narrow terminals fold it.
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
