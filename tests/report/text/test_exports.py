"""The files beside the page: CSV, SVG and Markdown, the same numbers, nothing torn."""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from seewhy.evaluation.published_results import HUMAN_ACCURACY
from seewhy.report.build import build_report, write_as_markdown
from seewhy.report.text.exports import palette


def _csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def test_every_table_and_drawing_has_its_file(make_run: Callable) -> None:
    run, summary = make_run()
    folder = build_report(run, summary).parent
    page = (folder / "index.html").read_text("utf-8")
    drawings = re.findall(r'<svg viewBox="[^"]+" role="img" aria-label="([^"]+)"', page)
    files = sorted((folder / "figures").glob("*.svg"))
    roots = [ET.parse(path).getroot() for path in files]
    told = {root.attrib["aria-label"] for root in roots}
    # The gallery's pictures are photographs; matrices are tables in the page.
    assert told >= {
        words for words in drawings if "test images" not in words and "predicts" not in words
    }
    assert {"confusion-net_a-finetuning.svg", "recall-of-each-class.svg"} <= {f.name for f in files}
    tables = {path.stem: _csv(path) for path in (folder / "tables").glob("*.csv")}
    assert tables["confusion-net_a-finetuning"] == [
        ["Class", "cat", "dog", "frog"],
        ["cat", "3", "0", "0"],
        ["dog", "2", "1", "0"],
        ["frog", "0", "0", "2"],
    ]
    assert tables["test-performance"][3][:3] == ["net_a", "Fine-tuning", "0.75"]
    assert tables["baseline"][1:] == [
        ["net_a", "0.3", "0.2", "0.25", ""],
        ["net_b", "", "", "", "the weights bring no classifier"],
    ]
    assert [row[0] for row in tables["trials-net_a"][1:]] == [*map(str, range(6)), "0", "1", "2"]
    assert not list(run.root.rglob("*.part"))


def test_an_svg_needs_nothing_from_the_page(make_run: Callable) -> None:
    folder = build_report(*make_run()).parent
    for path in (folder / "figures").glob("*.svg"):
        text = path.read_text("utf-8")
        assert "var(" not in text, path.name
        root = ET.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.attrib["width"].endswith("pt")
        ids = {element.get("id") for element in root.iter()}
        used = [e.get("{http://www.w3.org/1999/xlink}href") for e in root.iter()]
        assert {name[1:] for name in used if name} <= ids


def test_the_light_pages_colours() -> None:
    style = ":root {\n  --ink: #1f1c19;\n  --series-1: #0072b2;\n}\n:root { --ink: #ffffff; }"
    assert palette(style) == {"ink": "#1f1c19", "series-1": "#0072b2"}


def test_markdown_of_the_papers_classes(make_run: Callable) -> None:
    run, _ = make_run(classes=sorted(HUMAN_ACCURACY), names=["resnet50", "vgg16"])
    path = write_as_markdown(run.root)
    text = path.read_text("utf-8")
    assert path == run.root / "report" / "report.md"
    header = next(line for line in text.splitlines() if line.startswith("| Class | Human |"))
    assert header.count("ResNet50, paper") == 1
    row = next(line for line in text.splitlines() if line.startswith("| cat | 0.850 |"))
    # ResNet50 knows 0.76 of the paper's cats, VGG16 0.66.
    assert [row.count(part) for part in ("| 0.760 |", "| 0.660 |")] == [1, 1]
    named = re.findall(r"\]\((figures/[^)]+\.svg)\)", text)
    assert named
    assert all((path.parent / name).is_file() for name in named)
    assert not run.report.path.exists()


@pytest.mark.parametrize("write", ["build_report", "write_as_markdown"])
def test_writing_again_gives_the_same_bytes(make_run: Callable, write: str) -> None:
    run, summary = make_run(classes=["=1+1", "<b>", "$x$"])

    def written() -> dict[str, bytes]:
        build_report(run, summary) if write == "build_report" else write_as_markdown(run.root)
        return {path.name: path.read_bytes() for path in run.report.path.parent.rglob("*.*")}

    first = written()
    assert len(first) > 30
    assert written() == first
    assert b"'=1+1" in first["images-of-each-class.csv"]


def test_the_command_writes_either_form(
    make_run: Callable, seewhy: Callable, tmp_path: Path
) -> None:
    run, _ = make_run(backbones=("net_b",), searched=())
    done = seewhy("report", run.root, "--format", "md", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["report:", str(run.root / "report" / "report.md")]
    done = seewhy("report", run.root, "--format", "pdf", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "seewhy: --format: expected html or md, but got 'pdf'\n"
