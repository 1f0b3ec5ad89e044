"""The records as Markdown: a table per budget, peers beside each other, and seewhy minus each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev

from scipy import stats

from benchmarks.peers.plan import METRICS, PEERS, SIZES, Record

OWN = "seewhy"
# By budget, peer, data set and seed.
Values = dict[tuple[int, str, str, int], Record]


def table(records: Iterable[Record], reasons: Mapping[str, str]) -> str:
    """Return all tables, and a line for each peer that was not measured."""
    found: Values = {(r["budget"], r["peer"], r["data_set"], r["seed"]): r for r in records}
    budgets = sorted({budget for budget, *_ in found})
    parts = [_of_budget(budget, found) for budget in budgets]
    parts += [f"{PEERS[peer].title}: not measured: {why}" for peer, why in sorted(reasons.items())]
    return "\n\n".join(parts)


def _of_budget(budget: int, found: Values) -> str:
    mine = {key[1:]: record for key, record in found.items() if key[0] == budget}
    peers = [name for name in PEERS if any(peer == name for peer, *_ in mine)]
    sets = [name for name in SIZES if any(one == name for _, one, _ in mine)]
    heads = [f"{name}, {METRICS.get(name, 'accuracy').replace('_', ' ')}" for name in sets]
    rows = [
        ["", *heads, "head within 3 points of the probe", "seconds, most", "peak MiB, most"],
        ["---"] * (len(sets) + 4),
    ]
    for peer in peers:
        own = [record for (name, *_), record in mine.items() if name == peer]
        cells = [spread(list(_by_seed(mine, peer, name).values())) for name in sets]
        seconds = max(record["seconds"] for record in own)
        peak = max(record["peak_rss_mib"] for record in own)
        title = f"{PEERS[peer].title} {own[0]['version']}"
        rows.append([title, *cells, within(own), f"{seconds:.0f}", f"{peak:.0f}"])
    for peer in peers:
        if peer != OWN and OWN in peers:
            pairs = [(_by_seed(mine, OWN, name), _by_seed(mine, peer, name)) for name in sets]
            cells = [spread(differences(*pair), "+.3f") for pair in pairs]
            rows.append([f"seewhy − {PEERS[peer].title}", *cells, "", "", ""])
    return "\n".join([f"Budget {budget} s", "", *(f"| {' | '.join(row)} |" for row in rows)])


def _by_seed(
    mine: Mapping[tuple[str, str, int], Record], peer: str, data_set: str
) -> dict[int, float]:
    metric = METRICS.get(data_set, "accuracy")
    return {
        seed: record[metric]
        for (name, one, seed), record in sorted(mine.items())
        if (name, one) == (peer, data_set)
    }


def differences(own: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """Return own minus other, of the seeds that both have."""
    return [own[seed] - other[seed] for seed in own if seed in other]


def spread(values: Sequence[float], style: str = ".3f") -> str:
    """Return the mean with Student's 95 % interval, over seeds."""
    if not values:
        return "–"
    middle = mean(values)
    if len(values) == 1:
        return f"{middle:{style}} (1 seed, no interval)"
    half = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return f"{middle:{style}} [{middle - half:{style}}, {middle + half:{style}}]"


def within(records: Iterable[Record]) -> str:
    """Say in how many runs the head alone reached what a linear probe does, less 3 points."""
    known = [record["within_3_points"] for record in records]
    known = [one for one in known if one is not None]
    return f"{sum(known)} of {len(known)}" if known else "–"
