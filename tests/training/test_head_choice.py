"""Which head few images get, that it is told, and that adaptation puts it into the network."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from seewhy.config import HeadConfig, load_config
from seewhy.data.folds import training_folds
from seewhy.errors import ConfigError, TrainingError
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.dataset import Dataset, Split
from seewhy.training import head_choice
from seewhy.training.closed_form_head import Kind, fit_head
from seewhy.training.head_choice import FEW, choose_head, few_images, images_per_class
from seewhy.training.stages import adapt, new_head


def _data(each: int, classes: int = 3, checked: int = 2) -> tuple[Dataset, Tensor]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), each + checked + 1)
    one: list[Split] = ["train"] * each + ["validation"] * checked + ["test"]
    ids = tuple(map(str, range(len(labels))))
    features = rng.normal(size=(len(labels), 30)).astype(np.float32)
    features[:, :classes] += 1.5 * np.eye(classes)[labels]
    data = Dataset(
        source="a test",
        classes=tuple("abcdefgh"[:classes]),
        ids=ids,
        paths=ids,
        labels=labels,
        splits=tuple(one * classes),
        pixels=np.zeros((len(labels), 2, 2, 3), np.uint8),
    )
    return data, torch.from_numpy(features)


def _chosen(each: int, *settings: str) -> HeadConfig:
    data, pooled = _data(each)
    return choose_head(pooled, data, load_config("photos", settings=settings)).head


def test_many_images_get_a_network_and_few_a_head_that_is_fitted() -> None:
    assert _chosen(FEW + 1).kind == "network"
    assert _chosen(FEW + 1).units == (256,)
    few = _chosen(FEW)
    assert few.is_fitted
    assert few.units == ()


@pytest.mark.parametrize(
    "setting",
    ["label_smoothing=0.1", "sampler=balanced", "logit_adjustment=1", "kind=network"],
)
def test_what_only_epochs_can_follow_gets_a_network(setting: str) -> None:
    assert _chosen(5, f"head.{setting}").kind == "network"
    if setting != "kind=network":
        with pytest.raises(ConfigError, match="is fitted at once"):
            load_config("photos", settings=[f"head.{setting}", "head.kind=logistic"])


def test_hidden_layers_that_were_asked_for_are_a_network() -> None:
    assert _chosen(5, "head.units=[8]").units == (8,)
    assert _chosen(5).is_fitted
    # A search would not have used them.
    assert _chosen(5, "search.trials=35", "head.units=[8]").is_fitted


def test_auto_takes_the_lower_held_out_loss_and_tells_it() -> None:
    data, pooled = _data(12)
    config = load_config("photos")
    choice = choose_head(pooled, data, config)
    images = few_images(pooled, data, config)
    kinds: tuple[Kind, ...] = ("logistic", "nearest-mean")
    fits = {kind: fit_head(kind, images) for kind in kinds}
    best = min(fits.values(), key=lambda one: one.loss or math.inf)
    assert choice.fitted is not None
    assert choice.head.kind == choice.fitted.kind == best.kind
    name = {"logistic": "logistic regression (C", "nearest-mean": "nearest class mean (shrinkage"}
    assert choice.fitted.chosen == (
        f"12 training images per class: {name[best.kind]} = {best.parameter:g}), chosen by "
        "cross-validation instead of a network head"
    )
    assert (choice.fitted.folds, choice.fitted.images_per_class) == (5, 12)
    other = choose_head(pooled, data, load_config("photos", settings=["head.kind=nearest-mean"]))
    assert other.fitted is not None
    assert other.fitted.chosen.endswith("as head.kind = 'nearest-mean' asks")


def test_a_search_that_was_asked_for_is_named_where_there_is_none() -> None:
    data, pooled = _data(12)
    choice = choose_head(pooled, data, load_config("photos", settings=["search.trials=35"]))
    assert choice.fitted is not None
    assert choice.fitted.chosen.endswith("instead of a network head; no search")


def test_auto_follows_the_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the losses exchanged the other kind is chosen."""
    data, pooled = _data(12)
    first = choose_head(pooled, data, load_config("photos")).head.kind

    def exchanged(kind: Kind, images: head_choice.FewImages) -> head_choice.FittedHead:
        found = fit_head(kind, images)
        assert found.loss is not None
        return replace(found, loss=-found.loss)

    monkeypatch.setattr(head_choice, "fit_head", exchanged)
    assert choose_head(pooled, data, load_config("photos")).head.kind != first


def test_validation_and_test_images_choose_nothing() -> None:
    data, pooled = _data(8)
    others = torch.from_numpy(np.asarray(data.splits) != "train")
    changed = pooled.clone()
    changed[others] = torch.nan
    assert choose_head(changed, data, load_config("photos")) == choose_head(
        pooled, data, load_config("photos")
    )


def test_a_single_image_per_class_has_no_folds() -> None:
    data, pooled = _data(1)
    choice = choose_head(pooled, data, load_config("photos"))
    assert choice.fitted is not None
    assert choice.fitted.chosen == (
        "1 training image per class: logistic regression (C = 1), instead of a network head; too "
        "few images for cross-validation"
    )
    assert (choice.fitted.folds, choice.fitted.log_loss) == (0, None)


def test_the_median_class_counts_images_with_a_weight() -> None:
    data, _ = _data(6)
    weights = np.ones(len(data.labels))
    weights[:5] = 0  # class a keeps one
    weights[9:11] = 0  # class b keeps four
    assert images_per_class(data) == 6
    assert images_per_class(replace(data, weights=weights)) == 4


@pytest.mark.parametrize("by_column", [False, True])
def test_groups_stay_in_one_fold(by_column: bool) -> None:
    data, _ = _data(8)
    groups = np.arange(len(data.labels)) // 2
    groups[[1, 12]] = 99  # across classes
    data = replace(data, groups=groups, group_by=("site",) if by_column else ())
    rows = data.where("train")
    fold_of = training_folds(data, rows, 0)
    assert fold_of is not None
    for group in np.unique(groups[rows]):
        assert len(np.unique(fold_of[groups[rows] == group])) == 1
    for k in np.unique(fold_of):
        assert set(data.labels[rows][fold_of != k]) == {0, 1, 2}
    np.testing.assert_array_equal(fold_of, training_folds(data, rows, 0))


def test_one_group_per_class_has_no_folds() -> None:
    data, _ = _data(8)
    data = replace(data, groups=data.labels.copy(), group_by=("site",))
    assert training_folds(data, data.where("train"), 0) is None


@pytest.mark.parametrize("kind", ["logistic", "nearest-mean"])
def test_adaptation_puts_the_fitted_head_into_a_linear_layer(kind: Kind) -> None:
    data, pooled = _data(8)
    config = load_config("photos", settings=[f"head.kind={kind}", "head.metric=log_loss"])
    head = new_head(pooled, config, data.classes)
    result = adapt(head, pooled, data, config, Silent(), "adaptation")
    fitted = fit_head(kind, few_images(pooled, data, config))
    expected = pooled.double().numpy() @ fitted.weight.T + fitted.bias
    logits = head.classify(pooled).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    shares = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    own = -np.log(shares[np.arange(len(shares)), data.labels])
    (epoch,) = result.history
    assert result.best_epoch == 1
    assert epoch.train_loss == pytest.approx(own[data.where("train")].mean(), abs=1e-5)
    assert epoch.validation_loss == pytest.approx(own[data.where("validation")].mean(), abs=1e-5)
    assert result.best_validation_metric == pytest.approx(epoch.validation_loss, abs=1e-5)
    right = expected.argmax(axis=1) == data.labels
    assert epoch.validation_accuracy == pytest.approx(right[data.where("validation")].mean())


def test_weights_of_images_and_classes_count() -> None:
    data, pooled = _data(8)
    weights = np.linspace(0, 2, len(data.labels))
    data = replace(data, weights=weights)
    config = load_config("photos", settings=["head.class_weights=balanced"])
    images = few_images(pooled, data, config)
    rows = data.where("train")[1:]  # the first weighs nothing
    np.testing.assert_array_equal(images.features, pooled.double().numpy()[rows])
    sums = np.bincount(images.labels, images.weights)
    np.testing.assert_allclose(sums, sums.mean())
    mine = images.labels == 1
    np.testing.assert_allclose(
        images.weights[mine] / images.weights[mine].sum(),
        weights[rows][mine] / weights[rows][mine].sum(),
    )


def test_features_that_are_no_numbers_are_refused() -> None:
    data, pooled = _data(4)
    pooled[0, 0] = math.inf
    with pytest.raises(TrainingError, match="no finite numbers"):
        choose_head(pooled, data, load_config("photos"))


def test_a_fitted_head_is_linear_for_the_method_cam() -> None:
    cam = ["explanation.method=cam"]
    for kind in ("logistic", "nearest-mean"):
        load_config("photos", settings=[*cam, f"head.kind={kind}"])
    with pytest.raises(ConfigError, match="expected a linear head"):
        load_config("photos", settings=cam)


def test_the_paper_has_a_network() -> None:
    assert load_config("paper").head.kind == "network"
