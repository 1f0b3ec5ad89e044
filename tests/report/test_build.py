"""The page: values, escaping, form, size; redrawn byte for byte; without torch."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.errors import RunError
from seewhy.evaluation.published_results import HUMAN_ACCURACY
from seewhy.report.build import TEMPLATES, build_report
from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.dataset import SetAside
from seewhy.storage.schemas.map_choice import MapCandidate, MapChoice
from seewhy.storage.schemas.summary import FailedStep

VOID = {"meta", "img", "input", "link", "br", "hr"}
HOSTILE = ("<script>alert(1)</script>", '"onerror="alert(1)', "{{ 7 * 7 }} $x^2$ _a_b$ 猫")


class Page(HTMLParser):
    """Reads a page, holds what it is made of, and fails where a tag is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in {tag}: {attrs}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def _draw(made: tuple) -> Page:
    return Page(build_report(*made).read_text("utf-8"))


def test_numbers_of_the_table(make_run: Callable) -> None:
    words = _draw(make_run()).words
    assert "Baseline 0.300 0.200 0.250" in words
    assert "Adaptation 0.625 0.667 0.611" in words
    assert "Fine-tuning 0.750 0.867 0.778" in words
    assert "Baseline missing: the weights bring no classifier" in words
    assert "No baseline: the weights bring no classifier" in words


def test_confusion_matrix_and_recall(make_run: Callable) -> None:
    words = _draw(make_run(backbones=["net_a"])).words
    # Fine-tuned Net A: all cats right, two dogs taken for cats, all frogs right.
    assert "cat dog frog cat 3 0 0 dog 2 1 0 frog 0 0 2" in words
    # Class, baseline, adaptation, fine-tuning, precision.
    assert "dog 0.250 0.667 0.333 1.000" in words


def test_what_else_is_said(make_run: Callable) -> None:
    aside = [SetAside("cat/broken.jpg", "cannot be decoded")]
    words = _draw(make_run(set_aside=aside)).words
    for expected in (
        "17 images of 3 classes, stored at 64 × 64 pixels",
        "1 image could not be used and is not part of the study",
        "cat/broken.jpg cannot be decoded",
        "256 hidden units, dropout 0.3; Adam at 0.001, batches of 64, cross entropy",
        "Adaptation 3 2 0.750 0.001 6.0 s pooled trunk features kept in memory",
        "Fine-tuning 3 none 0.750 0.001 6.0 s kept in memory: 1 MiB of 2",
        "no epoch was better than the weights at the start of the stage",
        "1 map is empty",
        "seewhy run 'my photos'",
        "Took 2 min 5 s",
        "4.7 million",
        "units = [ 256, ]",
    ):
        assert expected in words


def test_gallery_in_the_page(make_run: Callable) -> None:
    shots = [a for a in _draw(make_run()).all("figure") if a.get("class") == "shot"]
    chosen = [(a["data-id"], a["data-right"]) for a in shots if a["data-class"] == "0"]
    assert chosen == [
        *[("id012", "0"), ("id010", "1"), ("id014", "0"), ("id009", "1"), ("id011", "1")],
        *[("id011", "1"), ("id009", "1")],
    ]


def test_cifar10s_classes_bring_the_papers_figures_and_people(make_run: Callable) -> None:
    made = make_run(classes=sorted(HUMAN_ACCURACY), backbones=["net_a"], names=["resnet50"])
    words = _draw(made).words
    assert "ResNet50 in the paper" in words
    assert re.search(r"Baseline 0\.300 0\.200 0\.250 0\.54 0\.60 0\.54 ", words)
    assert "are for the 2,000 test images of CIFAR-10.2" in words
    assert "The images of this study: eight test images." in words
    assert re.search(r"airplane 0\.94 0\.250 ", words)


def test_no_paper_and_no_people_elsewhere(make_run: Callable) -> None:
    words = _draw(make_run(names=["resnet50", "vgg16"])).words.lower()
    assert "paper" not in words
    assert "human" not in words


def test_names_from_users_stay_text(make_run: Callable) -> None:
    evil = HOSTILE[0]
    made = make_run(
        classes=HOSTILE,
        names=[evil, 'b"onerror="alert(2)'],
        study=evil,
        source=evil,
        files=evil.replace("/", ""),
        skipped=evil,
        set_aside=[SetAside(evil, '"><img src=x onerror=alert(3)>')],
    )
    page = _draw(made)
    data = {"type": "application/json", "id": "images-data"}
    assert page.all("script") == [data, {}]
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
    for name in HOSTILE:
        assert re.sub(r"\s+", " ", name) in page.words
    assert evil in page.all("svg")[0]["aria-label"]
    assert all("src" in a and a["src"].startswith("data:") for a in page.all("img"))
    assert "49" not in page.words.split()


def test_the_page_is_sound_and_self_contained(make_run: Callable) -> None:
    page = _draw(make_run())
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            address = attributes.get(name)
            if address is None:
                continue
            assert address.startswith(("data:image/", "#")), (tag, name, address[:80])
            if address.startswith("#"):
                assert address[1:] in ids
        for name in ("aria-labelledby", "for"):
            assert attributes.get(name) is None or attributes[name] in ids
    assert all(a.get("alt") for a in page.all("img"))
    drawings = [a for a in page.all("svg") if a.get("aria-hidden") != "true"]
    assert drawings
    assert all(a.get("role") == "img" and a.get("aria-label") for a in drawings)
    assert [len(page.all(f"h{level}")) > 0 for level in (1, 2, 3)] == [True] * 3
    assert len(page.all("h1")) == 1
    style = (TEMPLATES / "report.css").read_text("utf-8")
    assert "http" not in style
    assert "@import" not in style


def test_redrawing_gives_the_same_bytes(make_run: Callable) -> None:
    run, summary = make_run()
    path = build_report(run, summary)
    first, sheet = path.read_bytes(), run.data.contact_sheet_path.read_bytes()
    assert build_report(run, run.summary.read()).read_bytes() == first
    assert run.data.contact_sheet_path.read_bytes() == sheet
    assert path == run.report.path
    assert not list(run.root.rglob("*.part"))


def test_contact_sheet_shows_the_training_images(make_run: Callable) -> None:
    run, summary = make_run(side=96)
    build_report(run, summary)
    with Image.open(run.data.contact_sheet_path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    # First row, first place: the first training image of the first class, as it is.
    np.testing.assert_array_equal(pixels[6:102, 156:252], run.data.read().pixels[0])


def test_pictures_of_32_pixels_are_kept_without_loss(make_run: Callable) -> None:
    run, summary = make_run(side=32)
    images = _draw((run, summary)).all("image")
    photo = next(a for a in images if a["id"] == "photo-9")
    assert photo["class"] == "tiny"
    data = base64.b64decode(photo["href"].partition(",")[2])
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(shown, run.data.read().pixels[9])


def test_many_classes_stay_readable(make_run: Callable) -> None:
    classes = [f"class {k:03d}" for k in range(200)]
    run, summary = make_run(classes=classes, backbones=["net_a", "net_b"], side=32)
    path = build_report(run, summary)
    page = Page(path.read_text("utf-8"))
    assert path.stat().st_size < 25e6
    assert "Most frequent errors" in page.words
    assert "of 200 classes" in page.words
    assert not [a for a in page.all("table") if a.get("class") == "matrix"]


def test_missing_provenance_is_shown_as_missing(make_run: Callable) -> None:
    run, summary = make_run()
    (run.root / "provenance.json").unlink()
    assert "Missing: this run directory has no provenance.json." in _draw((run, summary)).words


@pytest.mark.parametrize("name", ["config.toml", "backbones/net_a/finetuning/metrics.json"])
def test_a_missing_record_is_named(make_run: Callable, name: str) -> None:
    run, summary = make_run()
    (run.root / name).unlink()
    with pytest.raises(RunError, match=re.escape(str(run.root / name))):
        build_report(run, summary)
    assert not run.report.path.exists()


def test_never_imports_torch() -> None:
    code = "import sys, seewhy.report.build; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False)
    assert done.returncode == 0


def test_faithfulness_is_said_and_missing_where_it_was_not_measured(make_run: Callable) -> None:
    run, summary = make_run()
    words = Page(build_report(run, summary).read_text("utf-8")).words
    assert (
        "net_a : Measured on 12 test images, the maps are better than random maps on 1 of 3 "
        "measures, but not on ROAD, both and overlap with the object."
    ) in words
    row = "deletion (blur) low 0.375 0.250 to 0.500 0.500 0.375 to 0.625 0.250 0.125 to 0.375"
    assert f"{row} better than random" in words
    assert "Gini" not in words and "sparseness" not in words
    assert "net_b : not measured. explanation.faithfulness sets the number of test images." in words


def test_the_candidates_of_the_maps_are_a_table(make_run: Callable) -> None:
    run, summary = make_run()
    none = Page(build_report(run, summary).read_text("utf-8")).words
    assert "Method and layer of the maps" not in none
    candidates = tuple(
        MapCandidate(
            method=method, layer=layer, places=places, better=gain > 0.1,
            maps=Interval(gain, 0, 1), random=Interval(0.0, 0, 1), difference=Interval(gain, 0, 1),
        )
        for method, layer, places, gain in (
            ("gradcam", "trunk output", (3, 3), 0.0625), ("hirescam", "blocks.5", (6, 9), 0.25)
        )
    )  # fmt: skip
    run.map_choice.write("net_a", MapChoice(
        method="hirescam", layer="blocks.5", sentence="hirescam at blocks.5 is the best.",
        ids=("id007",), candidates=candidates,
    ))  # fmt: skip
    summary.failed.append(FailedStep(step="map choice", reason="no memory", backbone="net_b"))
    words = Page(build_report(run, summary).read_text("utf-8")).words
    assert "net_a : hirescam at blocks.5 is the best." in words
    assert "Grad-CAM trunk output 3×3 0.062 0.000 0.062 0.000 to 1.000 no" in words
    assert "HiResCAM blocks.5 6×9 0.250 0.000 0.250 0.000 to 1.000 yes" in words
    assert "choosing the method and the layer of the maps of net_b failed: no memory" in words
    table = run.report.path.parent / "tables" / "map-choice-net_a.csv"
    assert table.read_text("utf-8").splitlines()[2].startswith("HiResCAM,blocks.5,6×9,0.25,0.0,")


def test_maps_no_better_than_random_are_said_to_be_so(make_run: Callable) -> None:
    run, summary = make_run()
    part = summary.backbones["net_a"].explanation
    found = part.faithfulness
    measures = {name: found.measures[name] for name in ("road", "iou", "sparseness")}
    part.faithfulness = found.model_copy(update={"measures": measures})
    words = Page(build_report(run, summary).read_text("utf-8")).words
    assert (
        "Measured on 12 test images, the maps are no better than random maps on any of 2 "
        "measures: do not use them as explanations."
    ) in words
    few = {
        name: one.model_copy(update={"verdict": "too few images"}) for name, one in measures.items()
    }
    part.faithfulness = found.model_copy(update={"measures": few, "images": 3})
    words = Page(build_report(run, summary).read_text("utf-8")).words
    assert "Measured on 2 test images: too few to compare the maps with random maps." in words
