"""A classifier by the word a person types, and the classes by theirs."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from seewhy.errors import BackboneError, ConfigError, RunError, SeewhyError
from seewhy.explanation.layer_choice import choose_layer
from seewhy.explanation.layers import list_layers
from seewhy.inference.classifiers import NamedClassifier, describe_layers, open_classifier
from seewhy.inference.explanation_request import ExplanationRequest, read_question
from seewhy.models.imagenet import class_names, imagenet_wnids
from seewhy.storage.schemas.dataset import Preprocess


def save_local(folder: Path, classes: int, labels: list[str] | None = None) -> None:
    """Write a small network's random weights in timm's layout."""
    model = timm.create_model("resnet10t", num_classes=classes)
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    cfg = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3,
           "interpolation": "bilinear"}  # fmt: skip
    told = {"architecture": "resnet10t", "num_classes": classes, "pretrained_cfg": cfg}
    if labels is not None:
        told["label_names"] = labels
    (folder / "config.json").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def imagenet() -> NamedClassifier:
    wnids = imagenet_wnids()
    preprocess = Preprocess(32, (0.0,) * 3, (1.0,) * 3, "bilinear")
    return NamedClassifier(
        "net", "", torch.nn.Identity(), class_names(wnids), wnids, preprocess, 32, "", 1.0
    )


def test_imagenets_classes_have_words_and_no_two_the_same(imagenet: NamedClassifier) -> None:
    assert imagenet.classes[0] == "tench"
    assert imagenet.classes[151] == "Chihuahua"
    # Looked up by hand: the bird is output 134, the machine 517.
    assert imagenet.classes[134] == "crane (n02012849)"
    assert imagenet.classes[517] == "crane (n03126707)"
    assert len(set(imagenet.classes)) == 1000
    assert class_names(["n01440764", "n99999999", "my cat"]) == ("tench", "n99999999", "my cat")


@pytest.mark.parametrize(
    ("word", "index"),
    [("tench", 0), ("Tench", 0), ("n02085620", 151), ("151", 151), ("alsatian", 235), ("999", 999)],
)
def test_a_class_has_several_names(imagenet: NamedClassifier, word: str, index: int) -> None:
    assert imagenet.find_class(word) == index


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("dog", "stands for 118 classes of net (Chihuahua, Japanese spaniel, "),
        ("crane", "stands for 2 classes of net (crane (n02012849), crane (n03126707));"),
        ("chihuaha", "net has no such class; did you mean Chihuahua?"),
        ("1000", "net numbers its classes 0 … 999"),
        ("²", "net has no such class"),
    ],
)
def test_what_is_no_class_or_several_is_named(
    imagenet: NamedClassifier, word: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        imagenet.find_class(word)
    assert sentence in str(caught.value)


def called(*classes: str) -> NamedClassifier:
    """A study's classifier with these classes."""
    preprocess = Preprocess(32, (0.0,) * 3, (1.0,) * 3, "bilinear")
    return NamedClassifier(
        "net", "", torch.nn.Identity(), classes, classes, preprocess, 32, "", 1.0
    )


@pytest.mark.parametrize(
    ("classes", "word", "index"),
    [
        # A number is the class of that name, however it is written, before it is a place.
        (("1", "2", "3", "10"), "3", 2),
        (("1", "2", "3", "10"), "10", 3),
        (("001", "002", "003", "004"), "3", 2),
        (("cat", "dog", "fly", "3"), "3", 3),
        (("cat", "dog", "fly", "owl"), "3", 3),
        # The very spelling comes first; another one will do where only one class has it.
        (("A", "a", "b"), "a", 1),
        (("A", "a", "b"), "A", 0),
        (("A", "a", "b"), "B", 2),
        (("cat ", "dog"), "cat", 0),
        (("\u00e9t\u00e9", "dog"), "e\u0301te\u0301", 0),
    ],
)
def test_a_class_is_found_by_its_name(classes: tuple[str, ...], word: str, index: int) -> None:
    assert called(*classes).find_class(word) == index


@pytest.mark.parametrize(
    ("classes", "word", "sentence"),
    [
        # Place 0 is the class 1: a number that is no name must not stand for it.
        (("1", "2", "3"), "0", "net has no class of that name; its classes are '1', '2', '3'"),
        (("001", "002", "003"), "0", "has no class of that name"),
        (("cat", "7"), "1", "has no class of that name; its classes are 'cat', '7'"),
        (("CAT", "Cat", "dog"), "cat", "net has 'CAT' or 'Cat'; name one exactly"),
        (("3", "03", "4"), "003", "net has '3' or '03'; name one exactly"),
        (tuple(map(str, range(1, 211))), "0", "'1', '2', '3', '4', '5', … (210 in all)"),
    ],
)
def test_a_number_or_a_spelling_that_is_no_name(
    classes: tuple[str, ...], word: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        called(*classes).find_class(word)
    assert sentence in str(caught.value)


def test_a_folder_of_weights_says_what_its_outputs_are_called(tmp_path: Path) -> None:
    save_local(tmp_path / "named", 3, ["n01440764", "dachshund", "7"])
    save_local(tmp_path / "unnamed", 3)
    named = open_classifier(f"local-dir:{tmp_path / 'named'}", device="cpu")
    assert named.classes == ("tench", "dachshund", "7")
    assert (named.find_class("7"), named.find_class("1")) == (2, 1)
    assert named.preprocess.size == 32
    same = open_classifier(
        "timm:resnet10t", weights=f"local-dir:{tmp_path / 'named'}", size=64, device="cpu"
    )
    # At 32 pixels the last stage has one place; at 64 it is a map.
    assert (named.layer, same.layer, same.preprocess.size) == ("layer3", "layer4", 64)
    assert open_classifier(f"local-dir:{tmp_path / 'unnamed'}").classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (None, ("0", "1")),
        (["crack"], ("not crack", "crack")),
        (["sound", "cracked"], ("sound", "cracked")),
        # Names that fit nothing are not used.
        (["a", "b", "c"], ("0", "1")),
    ],
)
def test_a_single_logit_decides_between_two_classes(
    tmp_path: Path, labels: list[str] | None, classes: tuple[str, str]
) -> None:
    save_local(tmp_path / "one", 1, labels)
    one = open_classifier(f"local-dir:{tmp_path / 'one'}", device="cpu")
    assert one.classes == classes
    assert [one.find_class(word) for word in (*classes, "0", "1")] == [0, 1, 0, 1]
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    likeliest = (one.module(images)[:, 0] > 0).long().tolist()
    for asked, ranked in (("predicted", 1), ("top2", 2), ("all", 2)):
        ((_, found),) = read_question(one, ExplanationRequest(classes=(asked,))).ask(
            one.module, images
        )
        assert found.classes.shape == (2, ranked)
        assert found.predicted.tolist() == likeliest
    with pytest.raises(ConfigError, match="top3 asks for more than the 2 there are"):
        read_question(one, ExplanationRequest(classes=("top3",)))
    against = read_question(one, ExplanationRequest(classes=("top1",), against=(classes[0],)))
    assert against.opposed(one.module, images) == [0 if k == 0 else None for k in likeliest]


def test_weights_without_a_classifier_answer_only_what_needs_none(tmp_path: Path) -> None:
    save_local(tmp_path / "trunk", 0)
    trunk = open_classifier(f"local-dir:{tmp_path / 'trunk'}", device="cpu")
    assert trunk.classes == ()
    question = read_question(trunk, ExplanationRequest(methods=("eigencam",)))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ((_, found),) = question.ask(trunk.module, images)
    assert found.maps.shape[:2] == (2, 1)
    for asking in (
        ExplanationRequest(),
        ExplanationRequest(methods=("eigencam", "gradcam")),
        ExplanationRequest(methods=("eigencam",), classes=("top2",)),
    ):
        with pytest.raises(ConfigError, match=r"have no classifier.* take --method eigencam"):
            read_question(trunk, asking)


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_layers_without_weights_are_those_of_the_network(name: str) -> None:
    found = describe_layers(f"timm:{name}")
    with torch.random.fork_rng():
        model = timm.create_model(name).eval()
    image = torch.zeros(1, 3, found.size, found.size)
    assert list(found.layers) == list_layers(model, image)
    assert found.chosen == (choose_layer(model, image),)
    assert found.size == model.pretrained_cfg["input_size"][-1]


def test_random_weights_are_the_same_every_time_and_leave_the_random_state() -> None:
    before = torch.random.get_rng_state(), random.getstate()
    first, second = (
        open_classifier("timm:resnet10t", weights="none", size=32, device="cpu").module.state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == random.getstate()


@pytest.mark.parametrize(
    ("word", "options", "kind", "sentence"),
    [
        ("resnet50", {}, RunError, "a network of timm's is named timm:resnet50"),
        ("nowhere", {}, RunError, "nowhere: there is no such run directory; expected timm:NAME"),
        ("{}", {}, RunError, "holds no finished study"),
        ("{}/weights", {}, RunError, "a folder of weights is named local-dir:"),
        ("timm:resnet5", {}, BackboneError, "did you mean resnet50"),
        ("timm:resnet10t", {"backbone": "x"}, ConfigError, "backbone: goes with a run directory"),
        ("nowhere", {"weights": "none"}, ConfigError, "weights: goes with a timm network"),
        ("local-dir:{}", {"weights": "none"}, ConfigError, "weights: goes with timm:NAME"),
        ("timm:vit_tiny_patch16_224", {"weights": "none", "size": 90}, BackboneError,
         "vit_tiny_patch16_224: cannot take 90×90 images, as its patches have 16×16 pixels"),
    ],
)  # fmt: skip
def test_what_is_no_classifier_is_named(
    tmp_path: Path, word: str, options: dict[str, object], kind: type[SeewhyError], sentence: str
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").touch()
    with pytest.raises(kind) as caught:
        open_classifier(word.format(tmp_path), **options)  # type: ignore[arg-type]
    assert sentence in str(caught.value)


def test_a_size_a_network_cannot_take_is_named_without_weights_too() -> None:
    with pytest.raises(BackboneError, match=r"cannot take 90×90 images"):
        describe_layers("timm:vit_tiny_patch16_224", size=90)


def test_a_network_takes_two_sides_and_pictures_as_named() -> None:
    named = open_classifier("timm:resnet10t", weights="none", size=(64, 96), resize="squash")
    assert (named.preprocess.size, named.working_size) == ((64, 96), (64, 96))
    assert named.fit.place((10, 40)).kept == (0, 0, 40, 10)
    assert describe_layers("timm:resnet10t", size=(64, 64)).size == 64
    with pytest.raises(ConfigError, match="resize: expected crop, pad or squash, but got 'fill'"):
        open_classifier("timm:resnet10t", weights="none", resize="fill")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"size: expected 1 … 4096 pixels, or height and width"):
        open_classifier("timm:resnet10t", weights="none", size=(64, 0))
