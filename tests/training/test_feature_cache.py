"""What is computed once must be what would be computed again."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from seewhy.config import BackboneConfig, FinetuningConfig, StudyConfig
from seewhy.data.pixels import to_input
from seewhy.errors import RunError
from seewhy.models.backbones import Backbone, load_backbone
from seewhy.models.classifier import Head, TailAndHead, pool
from seewhy.models.cut import Cut, cut_trunk
from seewhy.runtime.device import Compute
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.training import Place
from seewhy.training import cut_activations as module
from seewhy.training import feature_cache as features
from seewhy.training.cut_activations import CutInput
from seewhy.training.feature_cache import keeping_features
from seewhy.training.memory_plan import ActivationPlan, MemoryBudget
from seewhy.training.stages import finetune

CPU = Compute(torch.device("cpu"), "float32", "a test")


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
    plain = StudyConfig().input.model_copy(update={"augmentation": "none"})
    return StudyConfig(input=plain, finetuning=FinetuningConfig.model_validate(finetuning))


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


def _augmented(names: str, **finetuning: object) -> StudyConfig:
    wanted = StudyConfig().input.model_copy(update={"augmentation": names})
    return _config(**finetuning).model_copy(update={"input": wanted})


@pytest.mark.parametrize("keep", ["memory", "recompute"])
def test_a_training_batch_takes_one_of_the_versions_of_each_image(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path, keep: str
) -> None:
    backbone, cut, data = parts
    config = _augmented("crop+flip+erase", views=3, keep=keep)
    train = data.where("train")[:8]
    with keeping_features(backbone, cut, data, CPU, config, tmp_path, Silent()) as found:
        at_cut = found.at_cut
        assert "with 3 versions of each training image by crop and flip" in at_cut.plan.reason
        versions = torch.stack(
            [cut.prefix(at_cut.versions(train, np.full(8, view))) for view in range(3)]
        )
        plain = cut.prefix(at_cut.images(train))
        torch.testing.assert_close(versions[0], plain, rtol=1e-5, atol=1e-5)
        assert float((versions[1] - versions[2]).abs().amax(dim=(1, 2, 3)).min()) > 1e-3
        seen = []
        for number in range(12):
            batch = at_cut.batch(train, torch.Generator().manual_seed(number))
            away = (versions - batch).abs().amax(dim=(2, 3, 4))
            assert float(away.amin(dim=0).max()) < 1e-4
            seen.append(away.argmin(dim=0))
        # Each version is taken about as often as the others.
        counts = torch.bincount(torch.cat(seen), minlength=3)
        assert int(counts.min()) > 15
        # Fewer versions are the first ones: the images as they are.
        first = at_cut.batch(train, torch.Generator().manual_seed(0), views=1)
        torch.testing.assert_close(first, plain, rtol=1e-5, atol=1e-5)
        two = [at_cut.batch(train, torch.Generator().manual_seed(n), views=2) for n in range(6)]
        taken = [(versions - one).abs().amax(dim=(2, 3, 4)).argmin(dim=0) for one in two]
        assert set(torch.cat(taken).tolist()) == {0, 1}
        # Validation never draws, and a version does not depend on its batch.
        torch.testing.assert_close(at_cut.batch(train), plain, rtol=1e-5, atol=1e-5)
        alone = at_cut.versions(train[5:6], np.array([2]))
        assert torch.equal(alone, at_cut.versions(train, np.full(8, 2))[5:6])


def test_fine_tuning_with_one_version_is_as_without_augmentation(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path
) -> None:
    backbone, cut, data = parts
    losses = {}
    for name, kept, used in (("light", 3, 1), ("light", 3, 3), ("none", 3, 3)):
        wanted = _augmented(name, views=kept, epochs=1)
        with keeping_features(backbone, cut, data, CPU, wanted, tmp_path, Silent()) as found:
            head = Head(found.pooled.shape[1], (), 0.0, len(data.classes), seed=0)
            both = TailAndHead(copy.deepcopy(cut.tail), head)
            config = _augmented(name, views=used, epochs=1)
            result = finetune(both, found.at_cut, data, config, CPU, Silent(), "")
        losses[name, used] = result.history[0].train_loss
    assert losses["light", 1] == losses["none", 3]
    assert losses["light", 3] != losses["none", 3]


def test_kept_and_recomputed_versions_are_equal_to_the_last_bit(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path
) -> None:
    backbone, cut, data = parts
    train = data.where("train")[:20]
    found = {}
    for keep in ("memory", "disk", "recompute"):
        config = _augmented("zoom+flip+trivial", views=4, keep=keep)
        with keeping_features(backbone, cut, data, CPU, config, tmp_path, Silent()) as cache:
            found[keep] = cache.at_cut.batch(train, torch.Generator().manual_seed(5))
    assert torch.equal(found["memory"], found["disk"])
    assert torch.equal(found["memory"], found["recompute"])


def test_versions_pass_the_prefix_once_and_test_images_have_none(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path
) -> None:
    backbone, cut, data = parts
    seen = []
    handle = cut.prefix.register_forward_hook(lambda m, args, out: seen.append(len(args[0])))
    trained = len(data.ids) - len(data.where("test"))
    try:
        config = _augmented("flip", views=3)
        with keeping_features(backbone, cut, data, CPU, config, tmp_path, Silent()) as found:
            before = sum(seen)
            # In batches of sixteen, the last one filled up; one of zeros for the type.
            assert before == 1 + 80 + 2 * -(-trained // 16) * 16
            for number in range(3):
                found.at_cut.batch(data.where("train"), torch.Generator().manual_seed(number))
            assert sum(seen) == before
    finally:
        handle.remove()


def test_augmented_training_batches_are_new_and_the_others_kept(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path
) -> None:
    backbone, cut, data = parts
    config = _augmented("flip", views=0)
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


def _small(size: int = 64, working: int = 40) -> tuple[Backbone, Cut, Dataset]:
    rng = np.random.default_rng(0)
    backbone = load_backbone(BackboneConfig(name="mobilenetv2_035", weights="none"), size, seed=0)
    data = Dataset(
        source="a test",
        classes=("a", "b"),
        ids=tuple(map(str, range(70))),
        paths=tuple(map(str, range(70))),
        labels=np.arange(70) % 2,
        splits=("train",) * 50 + ("validation",) * 10 + ("test",) * 10,
        pixels=rng.integers(0, 256, (70, working, working, 3), dtype=np.uint8),
    )
    return backbone, cut_trunk(backbone.model, 0.5, size), data


def test_activations_do_not_depend_on_where_they_are_kept_or_on_their_batch(
    tmp_path: Path,
) -> None:
    # Equal to the last bit: an image beside others, at another place, in batches of any size.
    backbone, cut, data = _small()
    rng = np.random.default_rng(1)
    wanted = [rng.permutation(70)[:count] for count in (1, 2, 7, 16, 17, 32, 33, 64)]
    found: dict[str, list[torch.Tensor]] = {}
    for keep in ("memory", "disk", "recompute"):
        with keeping_features(
            backbone, cut, data, CPU, _config(keep=keep), tmp_path, Silent()
        ) as features:
            found[keep] = [features.at_cut.batch(indices) for indices in wanted]
            found[keep].append(features.pooled)
            whole = features.at_cut.batch(np.arange(70))
            for indices, batch in zip(wanted, found[keep], strict=False):
                torch.testing.assert_close(batch, whole[indices], rtol=0, atol=0)
    for keep in ("disk", "recompute"):
        for one, other in zip(found["memory"], found[keep], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
            assert one.stride() == other.stride()


@pytest.mark.parametrize(
    ("recorded", "budget", "place", "words"),
    [
        (
            "memory",
            MemoryBudget(10**9, 10**9),
            "memory",
            "memory, as when this backbone was started",
        ),
        ("memory", MemoryBudget(0, 10**9), "disk", "exceed today's memory budget of 0.00 GiB"),
        ("memory", MemoryBudget(0, 0), "recompute", "exceed today's memory budget of 0.00 GiB"),
        ("disk", MemoryBudget(10**9, 0), "memory", "exceed today's disk budget of 0.00 GiB"),
        ("recompute", MemoryBudget(10**9, 10**9), "recompute", "recompute, as when this backbone"),
    ],
)
def test_a_resumed_study_keeps_its_plan_as_far_as_there_is_room(
    parts: tuple[Backbone, Cut, Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: Place,
    budget: MemoryBudget,
    place: str,
    words: str,
) -> None:
    backbone, cut, data = parts
    monkeypatch.setattr(features, "read_budget", lambda *_: budget)
    with keeping_features(
        backbone, cut, data, CPU, _config(), tmp_path, Silent(), recorded
    ) as found:
        assert found.at_cut.plan.place == place
        assert words in found.at_cut.plan.reason


def test_where_last_digits_would_differ_a_resumed_study_is_refused(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, cut, data = parts
    monkeypatch.setattr(features, "read_budget", lambda *_: MemoryBudget(0, 0))
    monkeypatch.setattr(CutInput, "is_repeatable", lambda self: False)
    with (
        pytest.raises(
            RunError, match=r"was started with activations at the cut kept.*free 0\.\d+ GiB"
        ),
        keeping_features(backbone, cut, data, CPU, _config(), tmp_path, Silent(), "memory"),
    ):
        raise AssertionError("not reached")


def test_a_network_that_looks_at_its_neighbours_is_not_repeatable(
    parts: tuple[Backbone, Cut, Dataset], tmp_path: Path
) -> None:
    backbone, cut, data = parts
    plain = CutInput(data, backbone.preprocess, cut.prefix, CPU, ActivationPlan("recompute", ""))
    assert plain.is_repeatable()

    class Placed(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images + torch.arange(len(images)).view(-1, 1, 1, 1)

    assert not CutInput(data, backbone.preprocess, Placed(), CPU, plain.plan).is_repeatable()
