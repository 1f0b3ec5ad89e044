"""What is computed once must be what would be computed again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seewhy.config import BackboneConfig, FinetuningConfig, StudyConfig
from seewhy.data.pixels import to_input
from seewhy.errors import RunError
from seewhy.models.backbones import Backbone, load_backbone
from seewhy.models.classifier import pool
from seewhy.models.compute import Compute
from seewhy.models.cut import Cut, cut_trunk
from seewhy.progress import Silent
from seewhy.records import Dataset
from seewhy.training import features as module
from seewhy.training.features import Budget, keeping_features, plan_activations, read_budget

CPU = Compute(torch.device("cpu"), "float32", "a test")
GIB = 2**30


@pytest.fixture(scope="module")
def parts() -> tuple[Backbone, Cut, Dataset]:
    backbone = load_backbone(BackboneConfig(name="resnet18", weights="none"), 64, seed=0)
    cut = cut_trunk(backbone.model, 0.5, 64)
    rng = np.random.default_rng(0)
    splits = ("train",) * 40 + ("validation",) * 20 + ("test",) * 20
    data = Dataset(
        source="a test",
        classes=("a", "b"),
        ids=tuple(map(str, range(80))),
        paths=tuple(map(str, range(80))),
        labels=np.arange(80) % 2,
        # Mixed, so that an order that is not given back shows.
        splits=tuple(splits[i] for i in rng.permutation(80)),
        pixels=rng.integers(0, 256, (80, 32, 32, 3), dtype=np.uint8),
    )
    return backbone, cut, data


def _config(**finetuning: object) -> StudyConfig:
    return StudyConfig(finetuning=FinetuningConfig.model_validate(finetuning))


@pytest.mark.parametrize("keep", ["memory", "disk", "recompute"])
def test_kept_is_what_the_trunk_gives(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path, keep: str
) -> None:
    backbone, cut, data = parts
    images = to_input(torch.from_numpy(data.pixels), backbone.preprocess, "cpu")
    with torch.no_grad():
        expected = cut.prefix(images)
        pooled = pool(backbone.model.forward_features(images))
    with keeping_features(
        backbone, cut, data, CPU, _config(keep=keep), tmp_path, Silent()
    ) as found:
        assert found.at_cut.plan.place == keep
        # On disk the file has lost its name already: a kill leaves nothing behind.
        assert found.at_cut._kept is None or keep != "recompute"
        assert not list(tmp_path.glob(".*.part"))
        indices = np.array([70, 3, 3, 41])
        batch = found.at_cut.batch(indices)
        torch.testing.assert_close(batch, expected[indices], rtol=1e-5, atol=1e-5)
        assert batch.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found.pooled, pooled, rtol=1e-5, atol=1e-5)
        assert found.probabilities is None
        # The caller may overwrite a batch: the next one must not show it.
        batch.zero_()
        assert found.at_cut.batch(indices).abs().sum() > 0
    assert not list(tmp_path.glob(".*.part"))


def test_every_image_passes_the_prefix_once(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path
) -> None:
    backbone, cut, data = parts
    seen = []
    handle = cut.prefix.register_forward_hook(lambda m, args, out: seen.append(len(args[0])))
    try:
        with keeping_features(backbone, cut, data, CPU, _config(), tmp_path, Silent()) as found:
            for _ in range(3):
                found.at_cut.batch(data.where("train"))
            # One image of zeros beside the eighty, to learn the activation's type.
            assert sum(seen) == 80 + 1
    finally:
        handle.remove()


def test_augmented_training_batches_are_new_and_the_others_kept(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path
) -> None:
    backbone, cut, data = parts
    config = _config().model_copy(
        update={"input": StudyConfig().input.model_copy(update={"augmentation": "flip"})}
    )
    train, validation = data.where("train")[:8], data.where("validation")[:8]
    with keeping_features(backbone, cut, data, CPU, config, tmp_path, Silent()) as found:
        plain = found.at_cut.batch(train)
        generator = torch.Generator().manual_seed(1)
        changed = found.at_cut.batch(train, generator)
        differs = (plain - changed).abs().amax(dim=(1, 2, 3)) > 1e-3
        # Some of eight are flipped and some are not.
        assert 0 < int(differs.sum()) < 8
        before = found.at_cut.batch(validation)
        torch.testing.assert_close(found.at_cut.batch(validation), before, rtol=0, atol=0)
        assert "flip change every time" in found.at_cut.plan.reason


@pytest.mark.parametrize(
    ("keep", "needed", "recompute", "read", "place", "words"),
    [
        ("auto", 3 * GIB, 9, 1, "memory", "fit the memory budget of 4.00 GiB"),
        ("auto", 5 * GIB, 9, 1, "disk", "reading them takes 1.0 s an epoch, the prefix 9.0 s"),
        ("auto", 5 * GIB, 1, 9, "recompute", "reading them takes 9.0 s an epoch"),
        ("auto", 9 * GIB, 9, 1, "recompute", "exceed the memory budget of 4.00 GiB and the disk"),
        ("disk", 1 * GIB, 0, 0, "disk", "disk was asked for"),
        ("recompute", 1, 0, 0, "recompute", "recompute was asked for"),
    ],
)
def test_the_plan_says_where_and_why(
    keep: str, needed: int, recompute: float, read: float, place: str, words: str
) -> None:
    plan = plan_activations(keep, needed, Budget(4 * GIB, 8 * GIB), recompute, read)
    assert plan.place == place
    assert words in plan.reason


def test_budgets_are_what_was_set_or_half_of_what_is_free(tmp_path: Path) -> None:
    budget = read_budget(FinetuningConfig(memory_gib=0.5, disk_gib=2), tmp_path)
    assert (budget.memory, budget.disk) == (GIB // 2, 2 * GIB)
    free = read_budget(FinetuningConfig(), tmp_path)
    assert 0 < free.memory < 2**50
    assert 0 < free.disk < 2**60


def test_a_small_budget_has_both_costs_measured(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path
) -> None:
    backbone, cut, data = parts
    config = _config(memory_gib=0)
    with keeping_features(backbone, cut, data, CPU, config, tmp_path, Silent()) as found:
        assert "reading them takes" in found.at_cut.plan.reason
        assert found.at_cut.plan.place in ("disk", "recompute")
    assert not list(tmp_path.glob(".*.part"))


def test_a_disk_that_fills_up_is_one_sentence(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    backbone, cut, data = parts
    monkeypatch.setattr(module.os, "posix_fallocate", full)
    with (
        pytest.raises(RunError, match="no space left on the disk"),
        keeping_features(backbone, cut, data, CPU, _config(keep="disk"), tmp_path, Silent()),
    ):
        raise AssertionError("not reached")
    assert not list(tmp_path.glob(".*.part"))


def test_activations_are_kept_as_the_prefix_gives_them(tmp_path: Path) -> None:
    # Under autocast ConvNeXt's layer scale puts out float32: kept as bfloat16 it would be rounded.
    backbone = load_backbone(BackboneConfig(name="convnext_atto", weights="none"), 64, seed=0)
    cut = cut_trunk(backbone.model, 0.5, 64)
    rng = np.random.default_rng(0)
    data = Dataset(
        source="a test",
        classes=("a", "b"),
        ids=tuple(map(str, range(6))),
        paths=tuple(map(str, range(6))),
        labels=np.arange(6) % 2,
        splits=("train", "train", "validation", "validation", "test", "test"),
        pixels=rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8),
    )
    half = Compute(torch.device("cpu"), "bfloat16", "a test")
    batches = []
    for keep in ("memory", "recompute"):
        config = _config(keep=keep)
        with keeping_features(backbone, cut, data, half, config, tmp_path, Silent()) as found:
            batches.append(found.at_cut.batch(np.arange(6)))
    assert batches[0].dtype == batches[1].dtype
    torch.testing.assert_close(batches[0], batches[1], rtol=0, atol=0)


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, used = tmp_path / "max", tmp_path / "current"
    limit.write_text(f"{3 * GIB}\n")
    used.write_text(f"{GIB}\n")
    monkeypatch.setattr(module, "_CGROUPS", ((str(limit), str(used)),))
    assert read_budget(FinetuningConfig(disk_gib=1), tmp_path).memory <= GIB
    limit.write_text("max\n")
    assert read_budget(FinetuningConfig(disk_gib=1), tmp_path).memory == pytest.approx(
        module._system_memory() / 2, rel=0.2
    )
