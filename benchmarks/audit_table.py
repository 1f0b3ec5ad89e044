"""The results of the audit's benchmarks: lines of JSON in a file, and Markdown made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from seewhy.storage.schemas.audit import Audit

# A planting is harmful from this loss of recall on; below the second there is nothing to win back.
HARM, LOSS = 0.1, 0.05


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the result as Markdown: the rates, then a line a planting, misses marked."""
    planted = [line for line in lines if line["kind"] != "clean"]
    harmful = [line for line in planted if _harmful(line)]
    found = [line for line in harmful if line["verdicts"][line["class"]] == "shortcut"]
    suspected = [line for line in harmful if line["verdicts"][line["class"]] != "none"]
    clean = [
        (line, name, verdict)
        for line in lines
        for name, verdict in line["verdicts"].items()
        if line["kind"] == "clean" or name != line["class"]
    ]
    control = [one for one in clean if one[0]["kind"] == "clean"]
    controls = [line for line in lines if line["kind"] == "clean"]
    text = [
        f"{len(planted)} plantings, {len(harmful)} harmful, {len(found)} of these found "
        f"(recall {_rate(len(found), len(harmful))}); {len(suspected)} with those that "
        f"need judgement ({_rate(len(suspected), len(harmful))}).",
        _alarms("clean controls", control),
        _alarms("unplanted classes of all runs", clean),
        *_mitigation(planted, controls),
        "",
        "| setting | kind | place | class | rate | with | without | verdict | by | won back | |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in planted:
        verdict = line["verdicts"][line["class"]]
        kinds = [one["kind"] for one in line["findings"] if one["class"] == line["class"]]
        missed = "**missed**" if _harmful(line) and verdict != "shortcut" else ""
        note = missed or ("" if _harmful(line) else "harmless")
        lost = line.get("mitigation") and _harmful(line) and _lost(line) >= LOSS
        back = f"{_won_back(line):.2f}" if lost else "–"
        text.append(
            f"| {line['setting']} | {line['kind']} | {line['place']} | {line['class']} | "
            f"{line['rate']:g} | {line['with']:.2f} | {line['without']:.2f} | {verdict} | "
            f"{', '.join(kinds)} | {back} | {note} |"
        )
    return "\n".join(text)


def _mitigation(planted: Sequence[dict[str, Any]], controls: Sequence[dict[str, Any]]) -> list[str]:
    """Say what mitigation wins back where something was lost, and what it costs."""
    harmful = [line for line in planted if _harmful(line) and line.get("mitigation")]
    losing = [line for line in harmful if _lost(line) >= LOSS]
    back = [_won_back(line) for line in losing]
    alarmed = [line for line in controls if line.get("mitigation")]
    return [
        f"Harmful plantings mitigated: {len(harmful)}; {len(losing)} had lost {LOSS:g} or more on "
        f"unmarked images of their class; won back (median): {_median(back)}.",
        f"Accuracy on all unmarked images, mitigated less first (median): {_moved(harmful)}.",
        f"Controls mitigated without cause: {len(alarmed)}; "
        f"their accuracy (median): {_moved(alarmed)}.",
    ]


def _lost(line: dict[str, Any]) -> float:
    """Return what the planting costs on unmarked images of its class."""
    return float(line["mitigation"]["clean"][0] - line["mitigation"]["first"][0]) + 1e-9


def _won_back(line: dict[str, Any]) -> float:
    """Return which part of the loss mitigation won back."""
    return float(line["mitigation"]["mitigated"][0] - line["mitigation"]["first"][0]) / _lost(line)


def _moved(lines: Sequence[dict[str, Any]]) -> str:
    return _median(
        [line["mitigation"]["mitigated"][1] - line["mitigation"]["first"][1] for line in lines]
    )


def _median(values: Sequence[float]) -> str:
    return f"{np.median(values):+.3f}" if len(values) else "–"


def _alarms(where: str, verdicts: Sequence[tuple[dict[str, Any], str, str]]) -> str:
    false = sum(verdict == "shortcut" for _, _, verdict in verdicts)
    doubtful = sum(verdict == "needs judgement" for _, _, verdict in verdicts)
    return (
        f"False alarms in {where}: {false} of {len(verdicts)} class verdicts "
        f"({_rate(false, len(verdicts))}); needs judgement: {doubtful}."
    )


def _rate(part: int, whole: int) -> str:
    """Return a share with its exact binomial 95 % interval (Clopper and Pearson 1934)."""
    if not whole:
        return "–"
    interval = binomtest(part, whole).proportion_ci(0.95, "exact")
    return f"{part / whole:.3f}, {interval.low:.3f} … {interval.high:.3f}"


def _harmful(line: dict[str, Any]) -> bool:
    # Recalls are shares of a hundred images or so: a rounding error must not decide.
    return bool(line["with"] - line["without"] >= HARM - 1e-9)


def rates_of_clean_data(lines: Sequence[dict[str, Any]]) -> str:
    """Return how many class verdicts accuse a class of clean data, for each set and setting."""
    text = [
        "| data | setting | classifiers | accuracy | class verdicts | shortcut | needs judgement |",
        "|---|---|---|---|---|---|---|",
    ]
    for setting, data in dict.fromkeys((line["setting"], line["data"]) for line in lines):
        some = [line for line in lines if (line["setting"], line["data"]) == (setting, data)]
        accuracy = np.mean([line["accuracy"] for line in some])
        text.append(f"| {data} | {setting} | {len(some)} | {accuracy:.2f} | {_counts(some)} |")
    text.append(f"| all | | {len(lines)} | | {_counts(lines)} |")
    return "\n".join(text)


def _counts(lines: Sequence[dict[str, Any]]) -> str:
    verdicts = [verdict for line in lines for verdict in line["verdicts"].values()]
    accused = verdicts.count("shortcut")
    return (
        f"{len(verdicts)} | {accused} ({_rate(accused, len(verdicts))}) | "
        f"{verdicts.count('needs judgement')}"
    )


def findings_of(record: Audit) -> list[dict[str, Any]]:
    """Return an audit's findings as plain values, one after the other."""
    return [
        {
            "class": one.name,
            "kind": finding.kind,
            "verdict": finding.verdict,
            "change": round(finding.insertion.change, 4),
            "p": finding.insertion.p,
            "ablation": round(finding.ablation.change, 4) if finding.ablation else None,
            "range": round(finding.range, 4),
            "usual": finding.usual and round(finding.usual, 4),
            "sentence": finding.sentence,
        }
        for one in record.classes
        for finding in one.findings
    ]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read what has been measured so far; nothing where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Add one result to a file."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")
