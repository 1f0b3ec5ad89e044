"""Where the folders of a run directory are."""

from __future__ import annotations

from pathlib import Path

from seewhy.storage.layout import Layout


def test_a_mitigated_study_knows_the_study_around_it(tmp_path: Path) -> None:
    around = Layout(tmp_path.resolve())
    inside = Layout(around.mitigated("net"))
    assert inside.enclosing is None  # there is no study around it
    (tmp_path / "config.toml").write_text("x")
    assert inside.enclosing == around
    for place in (around.root, around.backbone("net"), around.backbone("net") / "copy"):
        assert Layout(place).enclosing is None
    assert Layout(Path("/")).enclosing is None
