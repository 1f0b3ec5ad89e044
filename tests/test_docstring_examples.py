"""The examples in docstrings: every public name has one, and what they show is what comes out."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import seewhy

SOURCE = Path(seewhy.__file__).parent
MODULES = [
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]
# What the examples call photos.toml, and whose study they call runs/photos.
CONFIG = """
name = "photos"
device = "cpu"
[data]
source = "photos"
[[backbone]]
name = "resnet10t"
weights = "none"
[input]
size = 32
[search]
trials = 0
[adaptation]
epochs = 1
[finetuning]
epochs = 1
[explanation]
faithfulness = 0
"""


def check(tests: list[doctest.DocTest], names: Mapping[str, object]) -> None:
    """Run examples; fail with what came out instead of what they show."""
    for test in tests:
        test.globs = dict(names)
        said: list[str] = []
        doctest.DocTestRunner(verbose=False).run(test, out=said.append)
        assert not said, "".join(said)


def examples(name: str) -> list[doctest.DocTest]:
    """Return the examples of a public name, its own docstring's first."""
    return doctest.DocTestFinder(exclude_empty=False).find(getattr(seewhy, name), name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the examples stand in, with their images; their study comes of one."""
    place = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (place / "photos" / label).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "photos" / label / f"{number}.png")
    (place / "photos.toml").write_text(CONFIG)
    with chdir(place):
        yield place


@pytest.fixture(scope="module")
def study(place: Path) -> Path:
    check(examples("run_study"), {})
    return place / "runs" / "photos"


def test_the_example_of_run_study_makes_a_study(study: Path) -> None:
    assert (study / "summary.json").is_file()


@pytest.mark.parametrize("name", seewhy.__all__)
def test_a_public_name_has_an_example_that_holds(
    name: str, place: Path, request: pytest.FixtureRequest
) -> None:
    own, *members = examples(name)
    assert own.name == name
    assert own.examples, f"the docstring of seewhy.{name} shows no example"
    if "photos" in (own.docstring or ""):
        request.getfixturevalue("study")
    check([own, *members], {})


@pytest.mark.parametrize("name", MODULES)
def test_all_other_examples_hold(name: str, place: Path) -> None:
    module = importlib.import_module(name)
    found = doctest.DocTestFinder().find(module, name)
    check([one for one in found if one.name.split(".")[-1] not in seewhy.__all__], vars(module))
