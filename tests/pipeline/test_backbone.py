"""What a search's trials depend on."""

from __future__ import annotations

from types import SimpleNamespace

from seewhy.config import load_config
from seewhy.pipeline.backbone import _search_key


def test_trials_of_other_corrections_are_another_search() -> None:
    backbone = SimpleNamespace(weights_key="w", preprocess="p")
    keys = []
    for setting in (
        *("class_weights=none", "class_weights=balanced", "class_weights={ cup = 2 }"),
        *("class_weights={ cup = 3 }", "sampler=balanced", "logit_adjustment=1"),
        *("logit_adjustment=2", "metric=auroc", "metric=kappa"),
    ):
        config = load_config("demo", settings=[f"head.{setting}"])
        compute = SimpleNamespace(precision="float32")
        work = SimpleNamespace(config=config, compute=compute, data_key="d")
        keys.append(_search_key(work, backbone))  # type: ignore[arg-type]
    assert len(set(keys)) == 9
