"""Maps against object masks: every number of a study of eight test images by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from seewhy.data.decoding.fit import PADDING
from seewhy.pipeline.dependent_images import with_groups
from seewhy.pipeline.localisation import localisation_sentences, write_localisation
from seewhy.report.build import build_report, write_as_markdown
from seewhy.statistics.bootstrap import mean_interval
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.localisation import Localisation, ObjectScores
from seewhy.storage.schemas.summary import Summary

Make = Callable[..., tuple[RunDirectory, Summary]]
# Of a map with 4 in one corner and 1 in its eight other places.
ON, OFF = 5 / 12, 2 / 12
# Of the object's two places, the two hottest: the corner and one of eight equal ones.
IOU_ON, IOU_OFF = (1 + 1 / 8) / (4 - 1 - 1 / 8), (2 / 8) / (4 - 2 / 8)


@pytest.fixture
def masked(make_run: Make) -> tuple[RunDirectory, Summary]:
    """Return a study whose objects are the first two places of the picture; one has no mask."""
    run, summary = make_run(backbones=["net_a"], side=3)
    data = run.data.read()
    masks = np.zeros((len(data.ids), 3, 3), dtype=bool)
    masks[:, 0, :2] = True
    masks[data.where("test")[6]] = False
    np.save(run.data.masks_path, masks)
    run.data.write(replace(data, masks=masks))
    return run, summary


def _written(run: RunDirectory) -> Localisation:
    records = run.backbones.read("net_a", run.data.read().classes)
    write_localisation(run, "net_a", with_groups(run, records), 0)
    found = run.localisation.read("net_a")
    assert found is not None
    return found


def _means(one: ObjectScores) -> list[float]:
    names = ("pointing_game", "energy_inside", "iou_at_area")
    return [one.measures[name].maps.value for name in names]


def test_each_class_by_hand(masked: tuple[RunDirectory, Summary]) -> None:
    found = _written(masked[0]).stages[1]
    assert found.stage == "finetuning"
    whole, (cat, dog, frog) = found.everything, found.classes
    counts = [(s.images, s.without_mask, s.empty, s.hits) for s in (whole, cat, dog, frog)]
    assert counts == [(8, 1, 1, 4), (3, 0, 1, 2), (3, 0, 0, 1), (2, 1, 0, 1)]
    assert _means(cat) == pytest.approx([1, ON, IOU_ON])
    # Two dogs are taken for cats: their own class's map has its peak in the other corner.
    assert _means(dog) == pytest.approx([1 / 3, (ON + 2 * OFF) / 3, (IOU_ON + 2 * IOU_OFF) / 3])
    assert _means(frog) == pytest.approx([1, ON, IOU_ON])
    assert _means(whole) == pytest.approx([4 / 6, 2 / 6, (4 * IOU_ON + 2 * IOU_OFF) / 6])
    assert [one.area for one in (whole, dog)] == pytest.approx([2 / 9, 2 / 9])
    # A Gaussian's peak is in the middle, which is no object.
    assert whole.measures["pointing_game"].gaussian.value == 0
    assert 0 < whole.measures["pointing_game"].random.value < 2 / 3
    interval = whole.measures["pointing_game"].maps
    # Whole classes are drawn: only the three dogs differ from each other.
    assert (interval.low, interval.high) == pytest.approx((3 / 6, 1))
    assert whole.measures["pointing_game"].verdict == "too few images"


def test_the_sentences(masked: tuple[RunDirectory, Summary]) -> None:
    found = _written(masked[0]).stages[1]
    measures = found.everything.measures
    beside = [
        f"random maps {measures[name].random.value:.2f}, a centred Gaussian "
        f"{measures[name].gaussian.value:.2f}"
        for name in ("pointing_game", "energy_inside", "iou_at_area")
    ]
    assert found.sentences == [
        "In 4 of 6 test images with a mask the hottest place of the map is on the object "
        f"({beside[0]}).",
        f"0.33 of the map's energy is on the object ({beside[1]}); the IoU of the object and as "
        f"many of the hottest pixels is 0.28 ({beside[2]}).",
        "Too few images to say whether the maps are better than random maps.",
        "The lowest class: in 1 of 3 test images of class 'dog' the hottest place of the map is on "
        "the object.",
        "Left out: 1 test image without a mask and 1 test image with an empty map.",
    ]


def test_what_is_better_is_said(masked: tuple[RunDirectory, Summary]) -> None:
    whole = _written(masked[0]).stages[1].everything
    verdicts = {
        "pointing_game": ("better than random", "no better than a centred Gaussian"),
        "energy_inside": ("better than random", "no better than a centred Gaussian"),
        "iou_at_area": ("no better than random", "no better than a centred Gaussian"),
    }
    measures = {
        name: whole.measures[name].model_copy(
            update={"verdict": verdict, "gaussian_verdict": gaussian}
        )
        for name, (verdict, gaussian) in verdicts.items()
    }
    sentences = localisation_sentences(whole.model_copy(update={"measures": measures}), [])
    assert sentences[2] == (
        "By paired intervals the maps are better than random maps on the pointing game and energy, "
        "and better than a centred Gaussian on none of these."
    )


def test_the_report_has_a_table_per_stage(masked: tuple[RunDirectory, Summary]) -> None:
    run, summary = masked
    found = _written(run)
    page = build_report(run, summary).read_text("utf-8")
    assert page.index("<h4>After fine-tuning</h4>") < page.index("<h4>After adaptation</h4>")
    assert "In 4 of 6 test images with a mask the hottest place" in page
    assert "whole groups" not in page
    tables = run.report.path.parent / "tables"
    lines = (tables / "localisation-finetuning-net_a.csv").read_text("utf-8").splitlines()
    assert lines[0].startswith(
        'Class,Images,Without mask,Object\'s area,Pointing game,"Pointing game, low",'
    )
    first = found.stages[1].everything.measures["pointing_game"]
    numbers = (first.maps.value, first.maps.low, first.maps.high, first.random.value, 0.0)
    assert lines[1].startswith("All classes,6,1,0.2222")
    assert f",{','.join(map(str, numbers))}," in lines[1]
    assert [line.split(",")[:3] for line in lines[2:]] == [
        ["cat", "2", "0"],
        ["dog", "3", "0"],
        ["frog", "1", "1"],
    ]
    assert (tables / "localisation-adaptation-net_a.csv").is_file()
    text = write_as_markdown(run.root).read_text("utf-8")
    assert "Maps after fine-tuning: In 4 of 6 test images with a mask" in text


def test_whole_groups_are_drawn(masked: tuple[RunDirectory, Summary]) -> None:
    run, summary = masked
    data = run.data.read()
    # Image 3 and 4 are of one day, each other image of its own.
    test = data.where("test")
    days = np.array([f"{k}" for k in range(len(data.ids))])
    days[test[4]] = days[test[3]]
    grouped = replace(data, metadata={"day": tuple(days.tolist())}, group_by=("day",))
    run.data.write(grouped)
    found = _written(run)
    assert found.group_by == ["day"]
    maps = run.backbones.read("net_a", data.classes).maps["finetuning"]
    kept = np.array([k for k in range(len(test)) if k != 6 and not maps.label_empty[k]])
    hits = maps.label_maps[kept].reshape(len(kept), -1).argmax(axis=1) < 2
    day = np.unique(days[test[kept]], return_inverse=True)[1]
    labels = data.labels[test[kept]]
    whole = found.stages[1].everything.measures["pointing_game"]
    assert whole.maps == mean_interval(hits, labels, 1000, 0, day)
    assert whole.maps != mean_interval(hits, labels, 1000, 0)
    page = build_report(run, summary).read_text("utf-8")
    assert "Intervals are drawn from whole groups of day; where all" in page


def test_one_group_has_the_interval_of_its_images(masked: tuple[RunDirectory, Summary]) -> None:
    run, _ = masked
    data = run.data.read()
    apart = _written(run).stages[1].everything.measures["pointing_game"]
    run.data.write(replace(data, metadata={"day": ("1",) * len(data.ids)}, group_by=("day",)))
    whole = _written(run).stages[1].everything.measures["pointing_game"]
    assert whole.maps == apart.maps
    assert whole.maps.low < whole.maps.high
    assert whole.verdict == whole.gaussian_verdict == "too few groups"


def test_a_class_without_any_mask_has_no_numbers(masked: tuple[RunDirectory, Summary]) -> None:
    run, summary = masked
    data = run.data.read()
    assert data.masks is not None
    masks = np.array(data.masks)
    masks[data.labels == 2] = False
    np.save(run.data.masks_path, masks)
    frog = _written(run).stages[1].classes[2]
    assert (frog.images, frog.without_mask, frog.area, frog.measures) == (2, 2, None, {})
    build_report(run, summary)


def test_padding_is_no_part_of_an_image(masked: tuple[RunDirectory, Summary]) -> None:
    run, _ = masked
    before = _written(run).stages[1].everything
    data = run.data.read()
    pixels = np.zeros((len(data.ids), 3, 3, 3), np.uint8)
    pixels[:, 1:] = PADDING
    np.save(run.data.pixels_path, pixels)
    run.data.write(replace(data, pixels=pixels))
    after = _written(run).stages[1].everything
    # The object is two of the three pixels of the first row.
    assert (before.area, after.area) == (pytest.approx(2 / 9), pytest.approx(2 / 3))
    for name in ("pointing_game", "energy_inside", "iou_at_area"):
        assert after.measures[name].maps == before.measures[name].maps
        assert after.measures[name].random.value > before.measures[name].random.value
    assert after.measures["pointing_game"].gaussian.value == 1


def test_without_masks_there_is_nothing(make_run: Make) -> None:
    run, summary = make_run(backbones=["net_a"], side=3)
    records = run.backbones.read("net_a", run.data.read().classes)
    run.localisation.path("net_a").write_text("{}")
    write_localisation(run, "net_a", records, 0)
    assert run.localisation.read("net_a") is None
    assert "object masks</h3>" not in build_report(run, summary).read_text("utf-8")
