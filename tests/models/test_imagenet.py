"""The WordNet grouping against facts looked up by hand in WordNet 3.0 and ImageNet-1k's list."""

from __future__ import annotations

import gzip
import importlib.util
import json
from importlib import resources
from pathlib import Path

import pytest

from seewhy.data.sources.demo.demo import CLASSES
from seewhy.errors import ConfigError, SeewhyError
from seewhy.models.imagenet import (
    CIFAR10_CLASSES,
    DEMO_CLASSES,
    NoImageNetClassError,
    check_words,
    group_classes,
    imagenet_wnids,
)

ROOT = Path(__file__).parents[2]
WORDNET = Path("/usr/share/wordnet")
TENCH, GREY_WOLF, EGYPTIAN_CAT, LION, SORREL = 0, 269, 285, 291, 339


def members(word: str) -> list[int]:
    return group_classes([word], imagenet_wnids(), {}).members[0].tolist()


def test_data_file_is_what_the_script_makes_from_wordnet(tmp_path: Path) -> None:
    if not (WORDNET / "data.noun").is_file():
        pytest.skip(f"{WORDNET}/data.noun is absent (Debian: wordnet-base)")
    spec = importlib.util.spec_from_file_location("maker", ROOT / "tools/make_imagenet_wordnet.py")
    assert spec is not None and spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    made = [tmp_path / name for name in ("first.json.gz", "second.json.gz")]
    for out in made:
        maker.write(WORDNET / "data.noun", out)
    assert made[0].read_bytes() == made[1].read_bytes()
    packaged = resources.files("seewhy.models").joinpath("imagenet_wordnet.json.gz").read_bytes()
    # The packed bytes depend on the zlib at hand; what they hold must not.
    assert gzip.decompress(made[0].read_bytes()) == gzip.decompress(packaged)
    assert made[0].read_bytes()[:10] == packaged[:10]  # neither name nor time in the header


def test_data_file_is_complete_and_carries_its_licence() -> None:
    packed = resources.files("seewhy.models").joinpath("imagenet_wordnet.json.gz").read_bytes()
    content = json.loads(gzip.decompress(packed))
    synsets = content["synsets"]
    assert set(content["classes"]) <= set(synsets)
    parents = {parent for entry in synsets.values() for parent in entry["parents"]}
    assert parents <= set(synsets)
    # Everything ends in the one root of WordNet's nouns.
    assert [wnid for wnid, entry in synsets.items() if not entry["parents"]] == ["n00001740"]
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in content["licence"]


def test_wnids_stand_in_class_order() -> None:
    wnids = imagenet_wnids()
    assert len(wnids) == len(set(wnids)) == 1000
    assert wnids[TENCH] == "n01440764"
    assert wnids[EGYPTIAN_CAT] == "n02124075"
    assert wnids[999] == "n15075141"  # toilet tissue


def test_known_groups() -> None:
    # Classes 151 (Chihuahua) to 268 (Mexican hairless) are the 118 breeds; wolves follow.
    assert members("dog") == list(range(151, 269))
    assert members("horse") == [SORREL]
    assert members("airplane") == [404]  # airliner
    assert members("frog") == [30, 31, 32]  # bullfrog, tree frog, tailed frog
    # ox, water buffalo, bison, ram, bighorn, ibex, hartebeest, impala, gazelle
    assert members("bovid") == list(range(345, 354))
    assert {817, 436, 511} <= set(members("automobile"))  # sports car, beach wagon, convertible
    assert {555, 717, 569} <= set(members("truck"))  # fire engine, pickup, garbage truck
    assert {510, 628, 833} <= set(members("ship"))  # container ship, liner, submarine
    assert len(members("bird")) == 59


def test_a_word_of_two_senses_takes_both_and_one_can_be_chosen() -> None:
    wnids = imagenet_wnids()
    both = group_classes(["cat"], wnids, {})
    true_cat = group_classes(["cat"], wnids, {"cat": "true cat"})
    by_id = group_classes(["cat"], wnids, {"cat": "n02121620"})
    assert both.synsets == (("n02121620", "n02127808"),)
    # tabby … Egyptian cat, cougar are true cats, lynx … cheetah big cats.
    assert both.members[0].tolist() == list(range(281, 294))
    assert true_cat.synsets == by_id.synsets == (("n02121620",),)
    assert EGYPTIAN_CAT in true_cat.members[0]
    assert LION not in true_cat.members[0]
    assert by_id.members[0].tolist() == true_cat.members[0].tolist()


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("Dogs", "dog"),
        ("container_ship", "container ship"),
        ("Egyptian-Cat", "Egyptian cat"),
        ("buses", "bus"),
        ("foxes", "fox"),
        ("butterflies", "butterfly"),
        ("watches", "watch"),
        ("jeans", "jean"),
    ],
)
def test_spelling_and_plural_do_not_matter(name: str, same_as: str) -> None:
    assert members(name) == members(same_as) != []


def test_cifar10_takes_bovid_for_deer_as_the_paper() -> None:
    classes = sorted(CIFAR10_CLASSES)
    grouping = group_classes(classes, imagenet_wnids(), {})
    assert grouping.words[classes.index("deer")] == "bovid"
    assert all(len(indices) for indices in grouping.members)
    # A word the user gives wins over the stand-in.
    own = group_classes(classes, imagenet_wnids(), {"deer": "gazelle"})
    assert own.words[classes.index("deer")] == "gazelle"
    assert own.members[classes.index("deer")].tolist() == [353]


def test_the_demos_classes_all_have_a_word() -> None:
    assert set(CLASSES) == DEMO_CLASSES
    grouping = group_classes(CLASSES, imagenet_wnids(), {})
    assert grouping.words[CLASSES.index("tree")] == "vascular plant"
    assert all(len(indices) for indices in grouping.members)
    with pytest.raises(NoImageNetClassError, match="'tree'"):
        group_classes(["tree", "car"], imagenet_wnids(), {})


def test_deer_among_other_classes_is_no_word() -> None:
    with pytest.raises(NoImageNetClassError) as caught:
        group_classes(["dog", "deer"], imagenet_wnids(), {})
    message = str(caught.value)
    assert isinstance(caught.value, SeewhyError)
    assert "'deer'" in message and "'dog'" not in message
    assert "--set baseline.words.deer=bovid" in message


def test_no_word_names_every_class_and_near_words() -> None:
    with pytest.raises(NoImageNetClassError) as caught:
        group_classes(["unbrella", "xylofone", "cat"], imagenet_wnids(), {"cat": "katze"})
    message = str(caught.value)
    assert "'unbrella', 'xylofone' and 'cat' (looked up as 'katze')" in message
    assert "did you mean umbrella" in message
    assert "\n" not in message


def test_a_word_is_for_the_class_of_that_very_name_first() -> None:
    grouping = group_classes(["Dog", "dog", "3"], imagenet_wnids(), {"Dog": "cat", "3": "frog"})
    assert grouping.words == ("cat", "dog", "frog")
    grouping = group_classes(["Dog", "3"], imagenet_wnids(), {"dog": "cat", "3": "frog"})
    assert grouping.words == ("cat", "frog")


def test_many_classes_without_a_word_are_counted() -> None:
    with pytest.raises(NoImageNetClassError) as caught:
        group_classes([f"xq{k}" for k in range(210)], imagenet_wnids(), {})
    assert "'xq0', 'xq1', 'xq2', 'xq3', 'xq4', … (210 in all)" in str(caught.value)


def test_groups_follow_the_outputs_given() -> None:
    """Any subset and order of ids; ids outside ImageNet-1k are in no group."""
    wnids = ["n02129165", "n99999999", "n02124075", "n01440764"]  # lion, none, Egyptian cat, tench
    grouping = group_classes(["fish", "cat"], wnids, {})
    assert [indices.tolist() for indices in grouping.members] == [[3], [0, 2]]
    with pytest.raises(NoImageNetClassError, match="'dog'"):
        group_classes(["dog"], wnids, {})


def test_tiny_imagenet_lacks_what_it_lacks(shared: Path) -> None:
    config = json.loads((shared / "weights/resnet50_tiny_imagenet/config.json").read_text())
    wnids = config["label_names"]
    grouping = group_classes(["cat", "dog"], wnids, {})
    assert all(wnids[i] in imagenet_wnids() for group in grouping.members for i in group)
    assert "n02124075" in [wnids[i] for i in grouping.members[0]]
    with pytest.raises(NoImageNetClassError, match="'airplane', 'horse' and 'ship'"):
        group_classes(sorted(CIFAR10_CLASSES), wnids, {})


def test_a_word_for_no_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"baseline\.words\.deeer: .*did you mean deer\?"):
        check_words(["deer", "dog"], {"deeer": "bovid"})
    with pytest.raises(ConfigError, match="there is no 'elk'"):
        group_classes(["dog"], imagenet_wnids(), {"elk": "bovid"})
    check_words(["Fire Engine"], {"fire_engine": "truck"})
