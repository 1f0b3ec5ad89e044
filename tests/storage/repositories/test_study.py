"""The configuration and the summary are read as they were written."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import tomli_w

from seewhy.config import load_config
from seewhy.errors import RunError
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.summary import Summary


def test_the_config_comes_back(tmp_path: Path) -> None:
    config = load_config("paper", settings=["input.size=64", "name=x"])
    run = RunDirectory(tmp_path)
    run.config.write(config)
    assert run.config.read() == config


@pytest.mark.parametrize(
    ("written", "read"),
    [("auto", "last"), (["a.b", "auto"], ("a.b", "last")), ("a.b", "a.b")],
)
def test_auto_of_an_earlier_version_is_the_last_map(
    tmp_path: Path, written: object, read: object
) -> None:
    """Its config.toml has no choice_images; a study of this version keeps ``auto``."""
    run = RunDirectory(tmp_path)
    run.config.write(load_config("demo"))
    assert run.config.read().explanation.layer == "auto"
    values = tomllib.loads(run.config.path.read_text("utf-8"))
    values["explanation"] = {"method": "gradcam", "layer": written, "faithfulness": 32}
    run.config.path.write_text(tomli_w.dumps(values), "utf-8")
    explanation = run.config.read().explanation
    assert (explanation.method, explanation.layer) == ("gradcam", read)


def test_the_summary_has_the_keys_that_were_agreed(tmp_path: Path, summary: Summary) -> None:
    run = RunDirectory(tmp_path)
    run.summary.write(summary)
    assert run.summary.read() == summary
    stored = json.loads(run.summary.path.read_text("utf-8"))
    assert list(stored) == [
        "schema_version", "name", "seed", "device", "precision", "data", "backbones",
        "failed",
    ]  # fmt: skip
    part = stored["backbones"]["net"]
    assert list(part) == [
        "backbone", "weights", "parameters", "weighted_layers", "cut", "input_size",
        "baseline", "head", "search", "adaptation", "finetuning", "explanation", "failed",
    ]  # fmt: skip
    assert part["baseline"] == {"skipped": "no classifier"}
    assert part["search"] is None
    assert list(part["adaptation"]) == [
        "accuracy", "precision", "recall", "per_class_recall", "epochs", "seconds",
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema_version": 2}', b"\xff"])
def test_a_damaged_summary_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(RunError, match=r"summary\.json: is not as seewhy writes it"):
        RunDirectory.open(tmp_path).summary.read()
