"""A study whose classifier goes by a planted mark is mitigated; stopped, it continues."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seewhy.audit.stage_audit import audit_run
from seewhy.config import StudyConfig, load_config
from seewhy.errors import ConfigError, RunError
from seewhy.pipeline.mitigation import check_mitigation, mitigate_run
from seewhy.pipeline.run_opening import opened_run
from seewhy.pipeline.study import Prepare, run_study
from seewhy.report.build import redraw_report, write_as_markdown
from seewhy.runtime.progress import Silent
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.audit import Audit
from seewhy.storage.schemas.mitigation import MitigationRecord

from .conftest import save_local

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Stops = Callable[[int], Any]
CONFIG = """
name = "planted"
device = "cpu"
[data]
source = "train.npz"
test = "test.npz"
validation = 0.3
[[backbone]]
name = "local-dir:resnet10t"
[input]
size = 64
[search]
trials = 0
[head]
units = [16]
learning_rate = 0.01
[adaptation]
epochs = 40
patience = 20
[finetuning]
epochs = 1
[explanation]
faithfulness = 0
"""
MARK = slice(24, 32), slice(0, 8)
SLUG = "resnet10t"


def save_images(path: Path, count: int, marked: int, seed: int) -> None:
    """Write two classes that differ in how coarse their middles are; one has a mark too."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], count)
    images = rng.integers(40, 120, (2 * count, 32, 32, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        grain = 1 if label else 4
        parts = rng.integers(0, 256, (16 // grain, 16 // grain, 3), dtype=np.uint8)
        image[8:24, 8:24] = parts.repeat(grain, 0).repeat(grain, 1)
    images[count : count + marked, MARK[0], MARK[1]] = (250, 240, 10)
    np.savez(path, images=images, labels=labels, label_names=np.array(["coarse", "fine"]))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with images, a backbone, and a study that has ended; the tests stand in it."""
    place = tmp_path_factory.mktemp("mitigated")
    save_images(place / "train.npz", 60, 48, 0)
    save_images(place / "test.npz", 20, 10, 1)
    save_local(place / SLUG, SLUG)
    (place / "planted.toml").write_text(CONFIG)
    with chdir(place):
        run_study(load_config("planted.toml"), "ended")
        yield place


@pytest.fixture(scope="module")
def mitigated(place: Path, seewhy: CommandLine) -> tuple[Path, str]:
    """The same study, mitigated by the command line without an interruption, and what that said."""
    shutil.copytree("ended", "whole")
    done = seewhy("run", "planted.toml", "--out", "whole", "--mitigate", "--quiet", cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "whole", done.stdout


def record_of(root: Path) -> MitigationRecord:
    found = RunDirectory(root).mitigation.read(SLUG)
    assert found is not None
    return found


def test_the_second_classifier_does_without_the_mark(mitigated: tuple[Path, str]) -> None:
    root, said = mitigated
    one = next(one for one in record_of(root).classes if one.name == "fine")
    # 48 of 60 training and validation images carry the mark; as many others got a hole.
    assert (one.done.taken_out, one.done.likewise) == (48, 48)
    assert one.images == 20
    assert (one.before.with_it.images, one.before.without_it.images) == (10, 10)
    assert one.before.verdict == "shortcut"
    assert one.before.with_it.accuracy == 1
    assert one.before.freed <= 0.6
    assert one.after.freed >= one.before.freed + 0.3
    assert one.after.verdict == "none"
    assert f"{SLUG}: {one.sentence}" in said.splitlines()
    assert "trained with the detail in the lower left corner ablated from 48 images" in one.sentence
    assert "with the same change to 48 images of other classes" in one.sentence


def test_the_mitigated_study_is_a_study(mitigated: tuple[Path, str]) -> None:
    root, _ = mitigated
    before, after = RunDirectory(root), RunDirectory.open(root / "backbones" / SLUG / "mitigated")
    data, changed = before.data.read(), after.data.read()
    test = data.where("test")
    assert np.array_equal(data.pixels[test], changed.pixels[test])
    assert (data.ids, data.splits) == (changed.ids, changed.splits)
    assert 72 <= (data.pixels != changed.pixels).any(axis=(1, 2, 3)).sum() < 120
    assert after.summary.read().name == "planted, mitigated"
    assert after.mitigation.read_data() is not None
    assert after.report.path.is_file()
    assert after.audit.read(SLUG, "finetuning") is not None
    # The numbers of the record are those of the two studies.
    record = record_of(root)
    summaries = before.summary.read(), after.summary.read()
    accuracies = [one.backbones[SLUG].finetuning.accuracy for one in summaries]
    assert accuracies == pytest.approx([record.accuracy_before, record.accuracy_after])


def test_a_mitigated_study_is_audited_on_the_images_as_they_were(
    mitigated: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = mitigated
    asked, smallest = [], []

    def audit_stage(*given: Any) -> None:
        asked.append(given[5])
        smallest.append(float(torch.tensor(1e-30) * 1e-10))

    monkeypatch.setattr("seewhy.audit.stage_audit.audit_stage", audit_stage)
    audit_run(root / "backbones" / SLUG / "mitigated")
    assert np.array_equal(asked[0].pixels, RunDirectory(root).data.read().pixels)
    # A study's audit computes so; the same answers come of it alone.
    assert smallest == [0]


def test_the_report_shows_both(mitigated: tuple[Path, str]) -> None:
    root, _ = mitigated
    record = record_of(root)
    page = (root / "report" / "index.html").read_text("utf-8")
    lead = page[page.index('<p class="lead">') : page.index('<table class="scores">')]
    escaped = [one.sentence.replace("'", "&#39;") for one in record.classes]
    assert all(f'<p class="warning">{one}</p>' in lead for one in escaped)
    section = page[page.index('<section id="shortcuts">') :]
    assert all(f"<p>{one}</p>" in section for one in escaped)
    link = re.search(r'<a href="(\S+)">the report of the mitigated classifier', section)
    assert link is not None
    assert (root / "report" / link[1]).resolve().is_file()
    text = write_as_markdown(root).read_text("utf-8")
    assert "## Shortcuts" in text
    assert "**Before and after mitigation**" in text
    assert (root / "report" / "tables" / f"mitigation-{SLUG}.csv").is_file()


def kept(root: Path) -> dict[str, bytes]:
    """Return the files of a mitigated study that have no times in them."""
    timed = {"history.csv", "features.json", "summary.json", "provenance.json", "audit.json"}
    timed |= {"fingerprint.json", "study.log", "index.html", ".lock"}
    paths = [path for path in (root / "backbones").rglob("*") if path.is_file()]
    return {str(p.relative_to(root)): p.read_bytes() for p in paths if p.name not in timed}


def test_mitigation_that_was_stopped_anywhere_ends_as_the_uninterrupted_one(
    mitigated: tuple[Path, str], stopping: Stops
) -> None:
    whole, _ = mitigated
    shutil.copytree("ended", "stopped")
    chance, stops = random.Random(0), 0
    while True:
        progress = stopping(1 if not stops else chance.randrange(10, 90))
        try:
            found = mitigate_run("stopped", progress)
            break
        except KeyboardInterrupt:
            stops += 1
            assert not (Path("stopped") / "backbones" / SLUG / "mitigation.json").exists()
    assert stops > 2
    assert "mitigated: resuming an interrupted study" in progress.said
    assert kept(Path("stopped")) == kept(whole)
    assert "mitigated/data/pixels.npy" in "".join(kept(whole))
    # What has been mitigated stays as it is.
    again = stopping(-1)
    assert mitigate_run("stopped", again) == found
    assert f"{SLUG}: had been mitigated" in again.said


def test_object_masks_go_along(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(shutil.copytree("ended", tmp_path / "masked"))
    run = RunDirectory(root)
    data = run.data.read()
    masks = np.random.default_rng(0).random(data.pixels.shape[:3]) < 0.5
    np.save(run.data.masks_path, masks)
    run.data.write(replace(data, masks=masks))
    made = []

    def prepare_only(
        config: StudyConfig, mitigated: RunDirectory, prepare: Prepare, *_: Any
    ) -> None:
        made.append(prepare(config, 64, mitigated, Silent()))
        raise KeyboardInterrupt

    monkeypatch.setattr("seewhy.pipeline.mitigation.conduct_study", prepare_only)
    with pytest.raises(KeyboardInterrupt):
        mitigate_run(root)
    assert made[0].masks is not None
    assert np.array_equal(made[0].masks, masks)


@pytest.fixture
def copied(place: Path, tmp_path: Path) -> RunDirectory:
    """A copy of the study that has ended, to spoil."""
    return RunDirectory(Path(shutil.copytree(place / "ended", tmp_path / "copied")))


def audit_of(run: RunDirectory) -> Audit:
    found = run.audit.read(SLUG, "finetuning")
    assert found is not None
    return found


def test_where_no_shortcut_was_proven_nothing_is_mitigated(
    copied: RunDirectory, seewhy: CommandLine, place: Path
) -> None:
    audit = audit_of(copied)
    for one in audit.classes:
        one.findings, one.verdict = [], "none"
    audit.sentences = []
    copied.audit.write(SLUG, audit, {}, {})
    files = {path for path in copied.root.rglob("*") if path.name != ".lock"}
    done = seewhy("run", "planted.toml", "--out", copied.root, "--mitigate", "--quiet", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{SLUG}: no shortcut was confirmed, so there is nothing to mitigate" in done.stdout
    assert {path for path in copied.root.rglob("*") if path.name != ".lock"} == files


def test_mitigation_that_fails_costs_nothing_and_is_named(place: Path, seewhy: CommandLine) -> None:
    shutil.copytree("ended", "failing")
    command = ("run", "planted.toml", "--out", "failing", "--mitigate", "--quiet")
    done = seewhy(*command, cwd=place, BREAK="seewhy.pipeline.mitigation:mitigate=ValueError")
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    reason = "ValueError: mitigate is broken on purpose"
    assert line.startswith(f"seewhy: the mitigation of {SLUG} failed: {reason}; ")
    assert "no shortcut was confirmed" not in done.stdout
    run = RunDirectory(place / "failing")
    (failed,) = run.summary.read().failed
    assert (failed.step, failed.backbone, failed.reason) == ("mitigation", SLUG, reason)
    assert "Traceback" in run.layout.log.read_text("utf-8")
    assert f"Missing, because the mitigation of {SLUG} failed" in run.report.path.read_text("utf-8")
    # Nor can be mitigated what a failed audit has not found.
    run.audit.path(SLUG, "finetuning").unlink()
    summary = run.summary.read()
    summary.failed = [failed.model_copy(update={"step": "audit", "stage": "finetuning"})]
    run.summary.write(summary)
    assert mitigate_run(run.root) == {SLUG: None}
    assert [one.step for one in run.summary.read().failed] == ["audit", "mitigation"]


def test_what_has_not_been_audited_cannot_be_mitigated(
    copied: RunDirectory, seewhy: CommandLine, place: Path
) -> None:
    copied.audit.path(SLUG, "finetuning").with_name("audit-details.npz").unlink()
    done = seewhy("run", "planted.toml", "--out", copied.root, "--mitigate", "--quiet", cwd=place)
    assert done.returncode == 2
    assert "; audit the classifier again with `seewhy audit" in (done.stderr)
    copied.audit.path(SLUG, "finetuning").unlink()
    with pytest.raises(RunError, match=rf"the fine-tuned {SLUG} has not been audited"):
        mitigate_run(copied.root)
    assert not copied.mitigation.folder(SLUG).exists()


def test_what_was_mitigated_for_other_findings_is_not_taken_up(
    mitigated: tuple[Path, str], tmp_path: Path
) -> None:
    run = RunDirectory(Path(shutil.copytree(mitigated[0], tmp_path / "copied")))
    audit = audit_of(run)
    for one in audit.classes:
        if one.name == "coarse":
            one.findings, one.verdict = [], "none"
        one.findings = [each.model_copy(update={"kind": "texture"}) for each in one.findings]
    run.audit.write(SLUG, audit, {}, {})
    with pytest.raises(RunError, match=r"was mitigated for other findings .*fine: detail.*texture"):
        mitigate_run(run.root)
    (run.mitigation.folder(SLUG) / "data" / "mitigation_data.json").unlink()
    with pytest.raises(
        RunError, match=r"mitigated: is not as seewhy writes it \(no data/mitigation_data\.json"
    ):
        mitigate_run(run.root)


@pytest.fixture
def spoilt(mitigated: tuple[Path, str], tmp_path: Path) -> RunDirectory:
    """A copy of the study that was mitigated, to spoil."""
    return RunDirectory(Path(shutil.copytree(mitigated[0], tmp_path / "copied")))


def test_details_that_look_otherwise_are_other_findings(spoilt: RunDirectory) -> None:
    audit = audit_of(spoilt)
    details = spoilt.audit.read_details(SLUG, "finetuning", audit)
    assert mitigate_run(spoilt.root)[SLUG] == record_of(spoilt.root)
    changed = {
        name: {**arrays, "look": 255 - arrays["look"]} if "look" in arrays else arrays
        for name, arrays in details.items()
    }
    spoilt.audit.write(SLUG, audit, {}, changed)
    same = r"was mitigated for other findings of the same kinds .*; delete that folder to"
    with pytest.raises(RunError, match=same):
        mitigate_run(spoilt.root)
    # Early versions did not write down what findings looked like.
    spoilt.audit.write(SLUG, audit, {}, details)
    mitigated = RunDirectory(spoilt.mitigation.folder(SLUG))
    made = mitigated.mitigation.read_data()
    assert made is not None
    mitigated.mitigation.write_data(made.model_copy(update={"reasons": []}))
    with pytest.raises(RunError, match=same):
        mitigate_run(spoilt.root)


def test_what_was_said_of_a_deleted_classifier_goes_with_it(
    spoilt: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    own_report = "the report of the mitigated classifier"
    assert own_report in spoilt.report.path.read_text("utf-8")
    shutil.rmtree(spoilt.mitigation.folder(SLUG))
    page = redraw_report(spoilt.root).read_text("utf-8")
    assert "Before and after mitigation" in page
    assert own_report not in page
    monkeypatch.setattr("seewhy.pipeline.mitigation.conduct_study", stop)
    with pytest.raises(KeyboardInterrupt):
        mitigate_run(spoilt.root)
    assert spoilt.mitigation.read(SLUG) is None


def test_where_nothing_is_proven_any_more_nothing_is_told_of_mitigation(
    spoilt: RunDirectory,
) -> None:
    audit = audit_of(spoilt)
    for one in audit.classes:
        one.findings, one.verdict = [], "none"
    audit.sentences = []
    spoilt.audit.write(SLUG, audit, {}, {})
    assert mitigate_run(spoilt.root) == {SLUG: None}
    assert spoilt.mitigation.read(SLUG) is None
    page = spoilt.report.path.read_text("utf-8")
    assert "Mitigation" not in page[page.index('<section id="shortcuts">') :]


def test_what_would_not_be_audited_is_refused_before_it_is_trained(
    place: Path, seewhy: CommandLine
) -> None:
    done = seewhy("run", "planted.toml", "--out", "unaudited", "--mitigate", "--quiet",
                  "--set", "audit.stages=['adaptation']", cwd=place)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(
        "seewhy: audit.stages: ['adaptation'] leaves out finetuning, whose audit says what is to "
    )
    assert not (place / "unaudited").exists()
    # What has ended may have been audited since; mitigation itself says if it was not.
    config = load_config("planted.toml", settings=["audit.stages=[]"])
    check_mitigation(config, place / "ended")
    with pytest.raises(ConfigError, match=r"^audit\.stages: \[\] leaves out"):
        check_mitigation(config, place / "ended", fresh=True)


def test_a_mitigated_study_is_neither_mitigated_nor_started_over(spoilt: RunDirectory) -> None:
    mitigated = RunDirectory(spoilt.mitigation.folder(SLUG))
    config, before = mitigated.config.read(), kept(spoilt.root)
    for refused in (mitigate_run, lambda root: check_mitigation(config, root)):
        with pytest.raises(RunError, match=r"mitigated: is a mitigated study itself"):
            refused(mitigated.root)
    with (
        pytest.raises(RunError, match=r"mitigated: is the mitigated study of the one around it"),
        opened_run(mitigated.root, config, fresh=True),
    ):
        pass
    assert kept(spoilt.root) == before


@pytest.mark.parametrize("what", ["configuration", "device"])
def test_a_mitigated_study_begun_otherwise_does_not_cost_the_one_around_it(
    spoilt: RunDirectory, what: str
) -> None:
    mitigated = RunDirectory(spoilt.mitigation.folder(SLUG))
    mitigated.summary.path.unlink()
    begun = mitigated.fingerprint.read()
    assert begun is not None
    if what == "device":
        mitigated.fingerprint.write(begun.model_copy(update={"device": "cuda"}))
    else:
        mitigated.config.write(mitigated.config.read().model_copy(update={"seed": 9}))
    with pytest.raises(RunError, match=rf"mitigated: .* with another {what} ") as caught:
        mitigate_run(spoilt.root)
    assert str(caught.value).endswith("; delete that folder to mitigate again")
    assert "--fresh" not in str(caught.value)


def test_a_mitigated_study_away_from_its_place_is_not_audited(spoilt: RunDirectory) -> None:
    stays = (
        r": was mitigated from another study's images and is audited on those; it must stay where"
    )
    moved = RunDirectory(spoilt.root.with_name("moved"))
    shutil.copytree(spoilt.mitigation.folder(SLUG), moved.root)
    with pytest.raises(RunError, match=rf"moved{stays}"):
        audit_run(moved.root)
    # In another study's folder.
    mitigated, data = RunDirectory(spoilt.mitigation.folder(SLUG)), spoilt.data.read()
    assert np.array_equal(mitigated.audit.read_images().pixels, data.pixels)
    spoilt.data.write(replace(data, splits=(*data.splits[1:], data.splits[0])))
    with pytest.raises(RunError, match=rf"mitigated{stays}"):
        audit_run(mitigated.root)
