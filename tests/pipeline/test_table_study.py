"""Studies of tables: the same as of folders, groups and columns followed to the report."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from seewhy import run_study
from seewhy.config import load_config
from seewhy.errors import OtherStudyError
from seewhy.pipeline.evaluation import evaluate_run
from seewhy.pipeline.study import Study
from seewhy.statistics.bootstrap import mean_interval
from seewhy.storage.run_directory import RunDirectory
from tests.pipeline.conftest import draw_folder, save_local

SMALL = {
    "search.trials": 0,
    "input.size": 64,
    "adaptation.epochs": 2,
    "finetuning.epochs": 1,
    "audit.stages": [],
    "explanation.faithfulness": 0,
}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("backbones") / "small"
    save_local(folder, "resnet10t")
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pictures in class folders, and a table beside them in the same order."""
    root = tmp_path_factory.mktemp("pictures")
    draw_folder(root / "all", each=18)
    lines = ["file;species;camera;day"]
    for k, file in enumerate(sorted((root / "all").glob("*/*.png"))):
        label = file.parent.name
        lines.append(f"all/{label}/{file.name};{label};{'AB'[k % 2]};{k // 6}")
    (root / "photos.csv").write_text("\n".join(lines))
    return root / "photos.csv"


def _study(source: Path, out: Path, backbone: str, **settings: object) -> Study:
    config = load_config(str(source), backbones=[backbone], settings={**SMALL, **settings})
    return run_study(config, out)


def _rows(study: Study) -> list[dict[str, str]]:
    (file,) = study.root.glob("backbones/*/finetuning/predictions.csv")
    return list(csv.DictReader(file.open(encoding="utf-8", newline="")))


def test_a_table_and_its_folders_are_the_same_study(
    table: Path, backbone: str, tmp_path: Path
) -> None:
    by_table = _study(table, tmp_path / "table", backbone, **{"data.breakdown": ["camera"]})
    by_folder = _study(table.parent / "all", tmp_path / "folder", backbone)
    rows, others = _rows(by_table), _rows(by_folder)
    # Byte for byte, but for the columns that only a table has.
    assert [{k: v for k, v in row.items() if not k.startswith("data.")} for row in rows] == others
    assert set(rows[0]) - set(others[0]) == {"data.camera", "data.day"}
    (maps,) = by_table.root.glob("backbones/*/explanations/finetuning/maps.npz")
    assert maps.read_bytes() == (by_folder.root / maps.relative_to(by_table.root)).read_bytes()
    run = RunDirectory(by_table.root)
    found = run.breakdown.read("small")
    assert found is not None
    cameras = np.array([row["data.camera"] for row in rows])
    right = np.array([row["label"] == row["predicted"] for row in rows])
    for one in found.columns[0].values:
        assert one.images == (cameras == one.value).sum()
        assert one.accuracy.value == pytest.approx(right[cameras == one.value].mean())
    page = run.report.path.read_text("utf-8")
    assert "Test performance by camera" in page
    assert RunDirectory(by_folder.root).breakdown.read("small") is None
    # Evaluated again without columns, nothing out of date stays.
    text = run.config.path.read_text("utf-8")
    assert 'breakdown = [\n    "camera",\n]' in text
    run.config.path.write_text(text.replace('breakdown = [\n    "camera",\n]', "breakdown = []"))
    evaluate_run(by_table.root)
    assert run.breakdown.read("small") is None


def test_groups_are_whole_everywhere_and_a_value_is_left_out(
    table: Path, backbone: str, tmp_path: Path
) -> None:
    out = tmp_path / "grouped"
    settings = {"data.group": "day", "data.leave_out": "camera"}
    study = _study(table, out, backbone, **settings)
    run = RunDirectory(study.root)
    data = run.data.read()
    days, splits = np.array(data.metadata["day"]), np.array(data.splits)
    assert all(len(set(splits[days == day])) == 1 for day in set(days))
    folds = run.repetitions.read("small")
    assert folds is not None
    assert folds.left_out == "camera"
    repeats = folds.stages["adaptation"].folds
    assert repeats is not None
    assert [one.name for one in repeats.repeats] == ["camera A", "camera B"]
    # Intervals draw whole days: the same from predictions.csv alone.
    rows = _rows(study)
    labels = np.unique([row["label"] for row in rows], return_inverse=True)[1]
    right = [row["label"] == row["predicted"] for row in rows]
    day = np.unique([row["data.day"] for row in rows], return_inverse=True)[1]
    drawn = mean_interval(right, labels, 1000, 0, day)
    evaluated = run.evaluation.read("small")
    assert evaluated is not None
    assert evaluated.stages["finetuning"].accuracy == drawn
    compared = run.evaluation.read_comparison()
    assert compared is not None
    assert compared.changes["small"].test == "sign-flip"
    page = run.report.path.read_text("utf-8")
    assert "Accuracy of adaptation on each value of &#39;camera&#39;, left out of training" in page
    assert (
        "With each value of &#39;camera&#39; left out of training, accuracy of adaptation on the "
        "images left out is " in page
    )


def test_a_table_that_changed_is_not_resumed(table: Path, backbone: str, tmp_path: Path) -> None:
    copy = table.parent / "copy.csv"
    copy.write_text(table.read_text())
    study = _study(copy, tmp_path / "run", backbone)
    copy.write_text(table.read_text().replace("all/red/17.png;red;B", "all/red/17.png;red;A"))
    with pytest.raises(OtherStudyError, match=r"1 changed; the first: "):
        _study(copy, study.root, backbone)
