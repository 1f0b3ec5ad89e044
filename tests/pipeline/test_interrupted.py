"""A study that was interrupted continues, and ends as if it had not been; nobody's work is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seewhy.config import StudyConfig, load_config
from seewhy.errors import RunError
from seewhy.pipeline.run_opening import opened_run
from seewhy.pipeline.study import run_study
from seewhy.training import feature_cache as features
from seewhy.training.memory_plan import MemoryBudget

from .conftest import draw_folder, save_local

KILLING = Path(__file__).parents[1] / "killing.py"
SEEWHY = [sys.executable, "-c", "from seewhy.cli.app import main; main()"]
CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Stops = Callable[[int], Any]
CONFIG = """
name = "small"
seed = 5
device = "cpu"
[data]
source = "colours"
folds = 2
folds_stages = "both"
[[backbone]]
name = "local-dir:resnet10t"
[[backbone]]
name = "local-dir:mobilenetv2_035"
[input]
size = 64
augmentation = "crop+flip"
[head]
kind = "network"
[search]
trials = 4
max_layers = 2
batch_size = [8, 16]
units = [4, 32]
[adaptation]
epochs = 4
[finetuning]
epochs = 2
views = 2
average = 0.9
cutmix = 1.0
[evaluation]
mirror = true
[explanation]
faithfulness = 2
choice_images = 10
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with pictures, two backbones and a config; the tests stand in it."""
    place = tmp_path_factory.mktemp("interrupted")
    draw_folder(place / "colours")
    for name in ("resnet10t", "mobilenetv2_035"):
        save_local(place / name, name)
    (place / "small.toml").write_text(CONFIG)
    with chdir(place):
        yield place


@pytest.fixture(scope="module")
def no_report() -> Iterator[None]:
    """Leave the report undrawn where what it is drawn from is compared; it takes as long again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seewhy.pipeline.study.build_report", lambda run, *_: run.report.path)
        yield


@pytest.fixture(scope="module")
def whole(place: Path, no_report: None) -> Path:
    """The study that nothing interrupted."""
    return run_study(load_config("small.toml"), "whole").root


def kept(root: Path) -> dict[str, object]:
    """Return all that a study found, by file; bytes, or values without the times they took."""
    found: dict[str, object] = {}
    for path in sorted((root / "backbones").rglob("*")):
        name = str(path.relative_to(root))
        if path.suffix == ".json":
            found[name] = _timeless(json.loads(path.read_text("utf-8")))
        elif path.name in ("history.csv", "trials.csv"):
            header, *rows = path.read_text("utf-8").splitlines()
            timed = header.split(",").index("seconds")
            found[name] = [[v for k, v in enumerate(r.split(",")) if k != timed] for r in rows]
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                found[name] = {key: stored[key].tobytes() for key in stored}
        elif path.is_file():
            found[name] = path.read_bytes()
    for name in ("comparison.json", "ensemble.json", "ensemble.csv"):
        found[name] = (root / name).read_bytes()
    found["summary.json"] = _timeless(json.loads((root / "summary.json").read_text("utf-8")))
    return found


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {
            k: _timeless(v) for k, v in value.items() if k not in ("seconds", "at_cut", "place")
        }
    return [_timeless(v) for v in value] if isinstance(value, list) else value


@pytest.fixture
def changing_budgets(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], MemoryBudget]:
    """Give the machine other room for activations; return what it was given."""

    def change(number: int) -> MemoryBudget:
        # In memory first, then on disk alone, then nowhere.
        budget = (MemoryBudget(10**12, 10**12), MemoryBudget(0, 10**12), MemoryBudget(0, 0))[
            number % 3
        ]
        monkeypatch.setattr(features, "read_budget", lambda *_: budget)
        return budget

    return change


def check_equal(one: Path, other: Path) -> None:
    """Compare two studies, and metrics and predictions byte for byte."""
    ours, theirs = kept(one), kept(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value == theirs[name], name
    for name in ("metrics.json", "predictions.csv", "confusion.csv", "model.safetensors"):
        paths = list(one.rglob(name))
        assert len(paths) == 4
        for path in paths:
            assert path.read_bytes() == (other / path.relative_to(one)).read_bytes()


def test_the_uninterrupted_study_searched(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text("utf-8"))
    for part in summary["backbones"].values():
        assert part["search"]["trials"] == 8
        assert len(part["head"]["units"]) == part["search"]["layers"]
    assert not list(whole.rglob("checkpoint.safetensors"))


def test_a_study_that_was_stopped_anywhere_ends_as_the_uninterrupted_one(
    whole: Path, stopping: Stops, changing_budgets: Callable[[int], MemoryBudget]
) -> None:
    chance = random.Random(1)
    stops = 0
    while True:
        changing_budgets(stops)
        progress = stopping(chance.randrange(1, 100))
        try:
            run_study(load_config("small.toml"), "stopped", progress=progress)
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops > 3
    assert "resuming an interrupted study" in progress.said
    check_equal(Path("stopped"), whole)
    log = (Path("stopped") / "study.log").read_text("utf-8")
    assert "were kept in another place when this backbone was started" in log
    starts = json.loads((Path("stopped") / "provenance.json").read_text("utf-8"))["starts"]
    assert 1 < starts <= stops + 1


def kill_and_continue(
    seewhy: CommandLine, config: str, out: str, seed: int, most: int, seconds: float
) -> int:
    """Kill a study at random moments, continue it until it ends; return how often it was killed."""
    numbers = [str(one) for one in (seed, most, seconds)]
    done = seewhy(KILLING, config, out, *numbers, cwd=Path.cwd(), seconds=900)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_study_that_was_killed_ends_as_the_uninterrupted_one(
    whole: Path, seewhy: CommandLine
) -> None:
    assert kill_and_continue(seewhy, "small.toml", "killed", 0, 4, 3) == 4
    check_equal(Path("killed"), whole)


@pytest.mark.soak
def test_a_hundred_kills(place: Path, seewhy: CommandLine) -> None:
    # Enough trials that the Gaussian process has its say.
    (place / "large.toml").write_text(CONFIG.replace("trials = 4", "trials = 11"))
    whole = run_study(load_config("large.toml"), "uninterrupted").root
    kills = 0
    for number in range(1000):
        kills += kill_and_continue(seewhy, "large.toml", f"killed-{number}", number + 1, 8, 5)
        check_equal(Path(f"killed-{number}"), whole)
        if kills >= 120:
            break
    sys.stdout.write(f"{kills} kills, {number + 1} studies\n")


def test_a_second_command_is_refused_and_ctrl_c_keeps_everything(
    place: Path, seewhy: CommandLine
) -> None:
    command = ["run", "small.toml", "--out", "busy", "--set=search.trials=5000", "--quiet",
               "--set=search.sampler=random"]  # fmt: skip
    first = subprocess.Popen(
        [*SEEWHY, *command],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    log = place / "busy" / "study.log"
    while not (log.is_file() and "search: trial 2" in log.read_text("utf-8")):
        assert first.poll() is None
        time.sleep(0.1)
    second = seewhy(*command, cwd=place)
    assert second.returncode == 2
    assert second.stderr.startswith(
        f"seewhy: busy: another seewhy (process {first.pid} on {socket.gethostname()}) is working"
    )
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    last = said.strip().splitlines()[-1]
    assert last.startswith("seewhy: stopped; all finished steps are saved in busy; resume with: ")
    assert last.endswith("seewhy run small.toml --out busy --set=search.trials=5000 --quiet "
                         "--set=search.sampler=random")  # fmt: skip
    assert not (place / "busy" / ".lock.pid").exists()
    trials = (place / "busy" / "backbones" / "resnet10t" / "search" / "trials.csv").read_text()
    assert len(trials.splitlines()) > 2


def changed(**values: object) -> StudyConfig:
    return load_config("small.toml").model_copy(update=values)


def test_another_configuration_is_refused_and_the_keys_are_named(whole: Path) -> None:
    before = kept(whole)
    config = load_config("small.toml", settings=["head.dropout=0.5", "input.size=96"])
    with pytest.raises(RunError) as caught:
        run_study(config, "whole")
    assert str(caught.value) == (
        "whole: holds a study with another configuration (input.size: 64 there, 96 now; "
        "head.dropout: 0.3 there, 0.5 now); choose another place with --out, or start over with "
        "--fresh, which deletes it"
    )
    gone = r"backbone\.1\.name: 'local-dir:mobilenetv2_035' there, None now"
    with pytest.raises(RunError, match=gone):
        run_study(changed(backbone=config.backbone[:1]), "whole")
    assert kept(whole) == before


def test_a_finished_study_is_not_given_back_for_other_images(
    whole: Path, tmp_path: Path, stopping: Stops, seewhy: CommandLine, place: Path
) -> None:
    shutil.copytree("colours", tmp_path / "colours")
    root = shutil.copytree(whole, tmp_path / "moved")
    before = kept(root)
    # The same images, stored elsewhere and named in another way; the run directory has moved too.
    settings = [f"data.source={tmp_path}/colours/"]
    run_study(load_config("small.toml", settings=settings), root, progress=stopping(-1))
    (tmp_path / "colours" / "red" / "new.png").write_bytes(b"no picture, but one more")
    asked = ["run", "small.toml", "--out", root, "--quiet", "--set", settings[0]]
    done = seewhy(*asked, cwd=place)
    assert done.returncode == 2
    assert done.stderr == (
        f"seewhy: {root}: the images in {tmp_path}/colours have changed since this study began (1 "
        "added; the first: red/new.png); choose another place with --out, or start over with "
        "--fresh, which deletes it\n"
    )
    assert kept(root) == before
    shutil.rmtree(tmp_path / "colours")
    assert seewhy("report", root, cwd=tmp_path).returncode == 0


def test_a_finished_study_is_given_back_as_it_is(whole: Path, stopping: Stops) -> None:
    before = (whole / "summary.json").stat().st_mtime_ns
    progress = stopping(-1)
    study = run_study(load_config("small.toml"), "whole", progress=progress)
    assert progress.said == ["whole: this study has ended; --fresh computes it again"]
    assert study.summary.backbones.keys() == {"resnet10t", "mobilenetv2_035"}
    assert (whole / "summary.json").stat().st_mtime_ns == before


def test_fresh_starts_over_and_leaves_foreign_files(place: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    with opened_run(root, load_config("small.toml")) as run:
        (root / "data").mkdir()
        (root / "data" / "index.csv").write_text("old")
        (root / "backbones").mkdir()
        run.search.trials_path.write_text("old")
        run.fingerprint.path.write_text("{}")
    (root / "notes.txt").write_text("mine")
    other = load_config("small.toml", settings=["seed=6"])
    with opened_run(root, other, fresh=True) as run:
        assert run.config.read().seed == 6
    names = {path.name for path in root.iterdir()}
    assert names == {"config.toml", "notes.txt", ".lock"}


def test_changed_weights_are_refused(whole: Path) -> None:
    shutil.copytree(whole, "other")
    (Path("other") / "summary.json").unlink()
    path = Path("other") / "fingerprint.json"
    begun = json.loads(path.read_text("utf-8"))
    begun["weights_keys"]["mobilenetv2_035"] = "others"
    path.write_text(json.dumps(begun))
    with pytest.raises(RunError, match="was started with another weights"):
        run_study(load_config("small.toml"), "other")


def test_what_a_killed_process_was_writing_goes(tmp_path: Path, place: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    (root / ".config.toml.0123abcd.part").write_text("half")
    with opened_run(root, load_config("small.toml")) as run:
        assert not list(root.rglob("*.part"))
        (root / "data").mkdir()
        (root / "data" / ".pixels.npy.0123abcd.part").write_text("half")
        run.fingerprint.path.write_text("{}")
    with opened_run(root, load_config("small.toml")):
        assert not list(root.rglob("*.part"))


def test_a_study_that_cannot_begin_leaves_nothing_behind(tmp_path: Path, place: Path) -> None:
    root = tmp_path / "runs" / "mine"
    with (
        pytest.raises(RunError, match="no good"),
        opened_run(root, load_config("small.toml")) as run,
    ):
        (root / "data").mkdir()
        run.layout.log.write_text("x")
        raise RunError("no good")
    assert list(tmp_path.iterdir()) == []
    mine = tmp_path / "an empty folder of mine"
    mine.mkdir()
    with pytest.raises(RunError), opened_run(mine, load_config("small.toml")):
        raise RunError("no good")
    assert list(mine.iterdir()) == []


def test_a_folder_with_other_files_is_refused_and_stays_as_it_is(
    tmp_path: Path, place: Path
) -> None:
    (tmp_path / "thesis.doc").write_text("do not lose me")
    for fresh in (False, True):
        with (
            pytest.raises(RunError, match=r"already holds files that are no study \(thesis\.doc\)"),
            opened_run(tmp_path, load_config("small.toml"), fresh),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]
