"""A study with object masks, by the command line: what is measured, drawn and said of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.storage.run_directory import RunDirectory
from tests.pipeline.conftest import draw_folder, save_local

MIDDLE = slice(10, 30)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, seewhy: Callable) -> Path:
    """Run a study whose blue and green pictures have masks, one of them damaged; return it."""
    root = tmp_path_factory.mktemp("masked")
    draw_folder(root / "photos", each=18, size=(40, 40))
    for name in ("blue", "green"):
        (root / "masks" / name).mkdir(parents=True)
        for number in range(18):
            mask = np.zeros((40, 40), np.uint8)
            mask[MIDDLE, MIDDLE] = 255
            Image.fromarray(mask).save(root / "masks" / name / f"{number:02}.png")
    (root / "masks" / "blue" / "00.png").write_bytes(b"\x89PNG nothing more")
    save_local(root / "small", "resnet10t")
    settings = ["search.trials=0", "input.size=64", "adaptation.epochs=2", "finetuning.epochs=1",
                "head.kind=network",
                "explanation.faithfulness=4", 'audit.stages=["finetuning"]']  # fmt: skip
    done = seewhy(
        "run", "photos", "--backbone", "local-dir:small", "--out", "run",
        *(word for one in settings for word in ("--set", one)), cwd=root, seconds=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split()) + " ".join(done.stderr.split())
    assert "1 object mask cannot be used: blue/00.png: its mask 00.png cannot be read" in said
    return root / "run"


def test_the_masks_are_measured_on_all_test_images(study: Path) -> None:
    run = RunDirectory(study)
    data, found = run.data.read(), run.localisation.read("small")
    assert found is not None
    assert json.loads((study / "summary.json").read_text())["failed"] == []
    test = data.where("test")
    assert data.masks is not None
    counted = dict.fromkeys(data.classes, (0, 0))
    for k in test:
        name = data.classes[data.labels[k]]
        images, without = counted[name]
        counted[name] = (images + 1, without + (not data.masks[k].any()))
    assert counted["red"][0] == counted["red"][1] > 0
    assert [stage.stage for stage in found.stages] == ["adaptation", "finetuning"]
    for stage in found.stages:
        assert {s.label: (s.images, s.without_mask) for s in stage.classes} == counted
        energy = stage.everything.measures["energy_inside"]
        assert 0 < energy.maps.value < 1
        assert stage.everything.area == pytest.approx(0.25, abs=0.02)
    faithfulness = run.explanations.read_faithfulness("small")
    assert faithfulness is not None
    assert faithfulness.masked <= 4


def test_the_report_shows_them(study: Path) -> None:
    run = RunDirectory(study)
    page = run.report.path.read_text("utf-8")
    assert '<h3 id="localisation">Maps and object masks</h3>' in page
    data = run.data.read()
    outlines = {line.split('"')[1] for line in page.splitlines() if '<path id="outline-' in line}
    assert outlines
    for name in outlines:
        assert data.labels[int(name.removeprefix("outline-"))] != data.classes.index("red")
    assert "1 object mask cannot be used: blue/00.png" in page


def test_the_audit_leaves_out_what_has_no_mask(study: Path) -> None:
    audit = RunDirectory(study).audit.read("small", "finetuning")
    assert audit is not None
    outside = {one.name: one.evidence.outside for one in audit.classes if one.evidence}
    assert {"blue", "green", "red"} == set(outside)
    assert outside["red"] is None
    assert 0 < outside["blue"] < 1


def test_evaluated_again_it_has_the_same_numbers(study: Path, seewhy: Callable) -> None:
    path = RunDirectory(study).localisation.path("small")
    before = path.read_bytes()
    path.unlink()
    assert seewhy("evaluate", study, cwd=study.parent).returncode == 0
    assert path.read_bytes() == before
