"""Studies side by side: matched by their test images, or refused in one sentence."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seewhy.errors import RunError
from seewhy.pipeline.comparison import compare_studies
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.comparison import Comparison

from ..report.conftest import CLASSES, make_run  # noqa: F401, the fixture

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def studies(make_run: Callable[..., object], tmp_path: Path) -> Path:  # noqa: F811
    """Three studies of the same images: two of one backbone, one of both; in a folder."""
    for name, backbones in (("a", ["net_a"]), ("b", ["net_b"]), ("both", ["net_a", "net_b"])):
        make_run(backbones=backbones, searched=())
        (tmp_path / "run").rename(tmp_path / name)
    return tmp_path


def test_two_studies_are_compared_as_two_backbones_of_one_are(studies: Path) -> None:
    found = compare_studies([studies / "a", studies / "b"]).comparison
    assert list(found.names) == ["a", "b"]
    (pair,) = (pair for pair in found.pairs if pair.stage == "finetuning")
    # net_a names six of eight rightly, net_b five: see ANSWERS.
    assert pair.difference.value == pytest.approx(1 / 8)
    assert (pair.first_only, pair.second_only, pair.both_right) == (2, 1, 4)
    assert pair.maps is not None
    assert "After fine-tuning a reaches an accuracy of 0.750" in found.sentences[0].text


def test_groups_of_one_study_hold_for_all_in_any_order(studies: Path) -> None:
    run = RunDirectory(studies / "b")
    data = run.data.read()
    days = tuple(str(k // 3) for k in range(len(data.ids)))
    run.data.write(replace(data, metadata={"day": days}, group_by=("day",)))
    found = [
        next(
            pair
            for pair in compare_studies([studies / name for name in names]).comparison.pairs
            if pair.stage == "finetuning"
        )
        for names in (("a", "b"), ("b", "a"))
    ]
    assert found[0].test == found[1].test == "sign-flip"
    assert found[0].p == found[1].p
    first, second = found[0].difference, found[1].difference
    assert (first.value, first.low, first.high) == pytest.approx(
        (-second.value, -second.high, -second.low)
    )


def test_studies_of_several_backbones_are_told_apart(studies: Path) -> None:
    found = compare_studies([studies / "a", studies / "both"])
    assert list(found.comparison.names) == ["a/net_a", "both/net_a", "both/net_b"]
    assert len(found.comparison.pairs) == 6
    same = found.comparison.pairs[3]
    assert (same.stage, same.agreement, same.p) == ("finetuning", 1, 1)
    classifiers, pairs = found.tables
    assert [row[0] for row in classifiers.rows] == ["a/net_a", "both/net_a", "both/net_b"]
    assert len(pairs.rows) == 6


def test_classes_in_another_order_are_put_right(
    studies: Path,
    make_run: Callable[..., object],  # noqa: F811
) -> None:
    """The same answers, with classes and labels renumbered, compare as equal."""
    root = studies / "a"
    other = studies / "turned"
    make_run(backbones=["net_a"], searched=())
    (studies / "run").rename(other)
    _renumber(other)
    found = compare_studies([root, other]).comparison
    for pair in found.pairs:
        assert (pair.agreement, pair.both_right + pair.both_wrong) == (1, 8)
        assert pair.maps is not None
        assert pair.maps.pearson is not None
        assert pair.maps.pearson.value == pytest.approx(1)


def _renumber(root: Path) -> None:
    """Turn the classes of a run round, in every file that has an order of classes."""
    run = RunDirectory(root)
    summary = run.summary.read()
    turned = list(reversed(CLASSES))
    summary.data.classes[:] = turned
    run.summary.write(summary)
    checks = root / "data" / "checks.json"
    text = checks.read_text("utf-8")
    swapped = text.replace('"cat"', '"@"').replace('"frog"', '"cat"').replace('"@"', '"frog"')
    checks.write_text(swapped)
    for path in root.rglob("maps.npz"):
        with np.load(path) as stored:
            arrays = dict(stored)
        arrays["explained"] = 2 - arrays["explained"]
        np.savez_compressed(path, **arrays)


@pytest.mark.parametrize(
    ("change", "kept"),
    [(("cat", "dog"), 5), (("photo9.jpg", "photo99.jpg"), 7), (("id009", "id099"), 7)],
)
def test_other_test_images_are_refused(studies: Path, change: tuple[str, str], kept: int) -> None:
    index = studies / "b" / "data" / "index.csv"
    lines = index.read_text("utf-8").splitlines()
    index.write_text("\n".join(one.replace(*change) if "test" in one else one for one in lines))
    with pytest.raises(RunError, match=f"its test images are not .*: {kept} of 8 have the same"):
        compare_studies([studies / "a", studies / "b"])


def test_other_classes_one_run_and_none_are_refused(studies: Path) -> None:
    checks = studies / "b" / "data" / "checks.json"
    index = studies / "b" / "data" / "index.csv"
    for path in (checks, index):
        path.write_text(path.read_text("utf-8").replace("frog", "toad"))
    with pytest.raises(RunError, match="has other classes than"):
        compare_studies([studies / "a", studies / "b"])
    with pytest.raises(RunError, match="two or more"):
        compare_studies([studies / "a"])
    with pytest.raises(RunError, match="is named twice"):
        compare_studies([studies / "a", studies / "both" / ".." / "a"])
    with pytest.raises(RunError, match="no such run directory"):
        compare_studies([studies / "a", studies / "nothing"])


def test_the_command_prints_tables_and_sentences_and_writes_json(
    studies: Path, seewhy: CommandLine
) -> None:
    done = seewhy("compare", "a", "b", "--out", "both.json", cwd=studies, COLUMNS="160")
    assert done.returncode == 0, done.stderr
    assert "0.750 (" in done.stdout
    assert "a − b" in done.stdout
    assert "After fine-tuning a reaches an accuracy of 0.750 on 8 test images" in done.stdout
    written = Comparison.model_validate_json((studies / "both.json").read_bytes())
    assert written == compare_studies([studies / "a", studies / "b"]).comparison
    shown = seewhy("compare", "a", "b", "--format", "md", cwd=studies)
    assert "| a |" in shown.stdout
    assert "\n- After fine-tuning a reaches" in shown.stdout
    refused = seewhy("compare", "a", "b", "--format", "pdf", cwd=studies)
    assert refused.returncode == 2
    assert refused.stderr.strip() == "seewhy: --format: expected text or md, but got 'pdf'"
    alone = seewhy("compare", "a", cwd=studies)
    assert alone.returncode == 2
    assert "two or more run directories" in alone.stderr
