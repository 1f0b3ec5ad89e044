"""Sentences and tables against numbers worked out by hand (see conftest.py)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from seewhy.evaluation.published_results import HUMAN_ACCURACY, has_cifar10_classes, paper_scores
from seewhy.report.text.statements import confusions, headline, score_groups
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.summary import Summary
from seewhy.storage.titles import display_names
from seewhy.wording import count, duration, listing, millions, plain, sentence, two_shares


def _records(run: object, summary: Summary) -> dict[str, BackboneRecords]:
    return {s: run.backbones.read(s, summary.data.classes) for s in summary.backbones}


def test_one_backbone_in_sentences(make_run: Callable) -> None:
    run, summary = make_run(backbones=["net_a"])
    assert headline(summary, _records(run, summary)) == [
        "Fine-tuning improved the accuracy of net_a from 0.62 to 0.75 on 8 test images of 3 "
        "classes.",
        "Recall is lowest for dog (0.33; 2 of 3 predicted as cat).",
        "The baseline, the ImageNet classifier before any training, has an accuracy of 0.30.",
    ]


def test_several_backbones_in_sentences(make_run: Callable) -> None:
    run, summary = make_run(backbones=["net_b", "net_a"])
    sentences = headline(summary, _records(run, summary))
    assert sentences[0] == (
        "After fine-tuning net_a reaches an accuracy of 0.75 on 8 test images, "
        "ahead of net_b (0.62)."
    )
    assert sentences[1] == "Fine-tuning improved the accuracy of net_a from 0.62 to 0.75."
    assert sentences[-1] == "There is no baseline: the weights bring no classifier."


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0.9, 0.8, "Fine-tuning reduced the accuracy of net_a from 0.90 to 0.80"),
        (0.9, 0.9, "Fine-tuning left the accuracy of net_a at 0.900"),
        (0.901, 0.904, "Fine-tuning improved the accuracy of net_a from 0.901 to 0.904"),
    ],
)
def test_fine_tuning_that_does_not_help(
    make_run: Callable, before: float, after: float, expected: str
) -> None:
    run, summary = make_run(backbones=["net_a"])
    part = summary.backbones["net_a"]
    part.adaptation.accuracy, part.finetuning.accuracy = before, after
    assert headline(summary, _records(run, summary))[0].startswith(expected)


def test_equally_weak_and_perfect_classes(make_run: Callable) -> None:
    run, summary = make_run(backbones=["net_a"])
    records = _records(run, summary)
    part = summary.backbones["net_a"].finetuning
    part.per_class_recall = {"cat": 0.5, "dog": 0.5, "frog": 1.0}
    assert headline(summary, records)[1] == "Recall is lowest for cat and dog (0.50 each)."
    part.per_class_recall = dict.fromkeys(summary.data.classes, 1.0)
    assert headline(summary, records)[1] == "All test images are classified correctly."


def test_what_the_weakest_class_is_taken_for_is_another_class(make_run: Callable) -> None:
    run, summary = make_run(backbones=["net_a"])
    records = _records(run, summary)
    records["net_a"].confusion["finetuning"][1] = [1, 2, 0]
    assert "1 of 3 predicted as cat" in headline(summary, records)[1]


def test_a_class_without_test_images_is_not_the_weakest(make_run: Callable) -> None:
    run, summary = make_run(backbones=["net_a"])
    records = _records(run, summary)
    records["net_a"].confusion["finetuning"][2] = 0
    summary.backbones["net_a"].finetuning.per_class_recall["frog"] = 0.0
    assert headline(summary, records)[1].startswith("Recall is lowest for dog")


def test_score_table(make_run: Callable) -> None:
    _, summary = make_run()
    first, second = score_groups(summary)
    assert [row.stage for row in first.rows] == ["Baseline", "Adaptation", "Fine-tuning"]
    assert first.rows[0].accuracy == 0.3
    assert first.rows[2].accuracy == 0.75
    assert first.rows[2].precision == pytest.approx((3 / 5 + 1 + 1) / 3)
    assert first.rows[2].recall == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert second.rows[0].accuracy is None
    assert second.rows[0].skipped == "the weights bring no classifier"
    assert all(row.paper is None for row in first.rows)


def test_the_papers_figures_stand_beside_matching_networks_alone(make_run: Callable) -> None:
    _, summary = make_run(
        classes=sorted(HUMAN_ACCURACY),
        names=["vgg16.tv_in1k", "tf_efficientnet_lite0"],
    )
    vgg, other = score_groups(summary)
    assert vgg.paper_name == "VGG16"
    assert [row.paper.accuracy for row in vgg.rows] == [0.55, 0.75, 0.81]
    assert [row.paper.precision for row in vgg.rows] == [0.60, 0.75, 0.82]
    assert other.paper_name is None


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("resnet50", "ResNet50"),
        ("resnet50.tv_in1k", "ResNet50"),
        ("inception_v3.tf_in1k", "InceptionV3"),
        ("local-dir:../shared/weights/vgg16", "VGG16"),
        ("vgg16_bn", None),
        ("resnet50d", None),
        ("local-dir:weights/resnet50_tiny_imagenet", None),
    ],
)
def test_which_networks_the_paper_has(backbone: str, expected: str | None) -> None:
    found = paper_scores(backbone)
    assert (found.name if found else None) == expected


def test_which_classes_are_cifar10s() -> None:
    assert has_cifar10_classes(sorted(HUMAN_ACCURACY, reverse=True))
    assert not has_cifar10_classes([*sorted(HUMAN_ACCURACY)[:-1], "lorry"])
    assert not has_cifar10_classes([*HUMAN_ACCURACY, "lorry"])


def test_two_backbones_of_one_name_go_by_their_slugs(make_run: Callable) -> None:
    _, summary = make_run(names=["vgg16", "vgg16"])
    assert display_names(summary) == {"net_a": "net_a", "net_b": "net_b"}


def test_most_frequent_confusions() -> None:
    found = confusions(np.array([[5, 2, 0], [3, 1, 0], [0, 0, 9]]), ["a", "b", "c"], 5)
    assert [(c.label, c.taken_for, c.images, c.of) for c in found] == [
        ("b", "a", 3, 4),
        ("a", "b", 2, 7),
    ]


def test_words() -> None:
    assert [duration(s) for s in (8.34, 59.97, 250, 7500)] == [
        "8.3 s",
        "1 min 0 s",
        "4 min 10 s",
        "2 h 5 min",
    ]
    assert [millions(n) for n in (812_000, 23_508_032)] == ["812,000", "23.5 million"]
    assert [count(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]
    assert count(2000, "image") == "2,000 images"
    assert [listing(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert sentence("no word for deer") == "No word for deer."
    assert two_shares(0.9, 0.95) == ("0.90", "0.95")
    assert plain("a\x00b\ud800", 9) == "a�b�"
    assert plain("abcdef", 4) == "abc…"
