"""What a search's trials depend on."""

from __future__ import annotations

from types import SimpleNamespace

from seewhy.config import load_config
from seewhy.pipeline.backbone import _search_key


def test_trials_of_other_class_weights_are_another_search() -> None:
    backbone = SimpleNamespace(weights_key="w", preprocess="p")
    keys = []
    for weights in ("none", "balanced", "{ cup = 2 }", "{ cup = 3 }"):
        config = load_config("demo", settings=[f"head.class_weights={weights}"])
        compute = SimpleNamespace(precision="float32")
        work = SimpleNamespace(config=config, compute=compute, data_key="d")
        keys.append(_search_key(work, backbone))  # type: ignore[arg-type]
    assert len(set(keys)) == 4
