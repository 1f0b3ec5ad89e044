"""Validation accuracy over time, a panel per data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks.peers.plan import PEERS, SIZES, Record


def over_time(records: Sequence[Record], budget: int | None = None) -> Figure:
    """Draw the curves of all seeds at one budget, by default the largest.

    Raises
    ------
    ValueError
        Where no record has that budget.
    """
    budgets = {record["budget"] for record in records}
    chosen = max(budgets, default=0) if budget is None else budget
    if chosen not in budgets:
        raise ValueError(f"no record with a budget of {chosen} s")
    shown = [record for record in records if record["budget"] == chosen]
    sets = [name for name in SIZES if any(record["data_set"] == name for record in shown)]
    figure, panels = plt.subplots(1, len(sets), figsize=(4 * len(sets), 3.5), squeeze=False)
    for panel, name in zip(panels[0], sets, strict=True):
        for number, peer in enumerate(PEERS):
            label = PEERS[peer].title
            for record in shown:
                if (record["peer"], record["data_set"]) == (peer, name):
                    seconds, accuracies = zip(*record["curve"], strict=True)
                    panel.plot(seconds, accuracies, ".-", color=f"C{number}", label=label)
                    label = "_"  # a name once, whatever the number of seeds
        panel.set(title=name, xlabel="seconds", xlim=(0, None))
    panels[0][0].set_ylabel("validation accuracy")
    panels[0][0].legend()
    figure.tight_layout()
    return figure


def save(records: Sequence[Record], path: Path) -> None:
    """Draw and write a file; its suffix says which format."""
    figure = over_time(records)
    figure.savefig(path, dpi=150)
    plt.close(figure)
