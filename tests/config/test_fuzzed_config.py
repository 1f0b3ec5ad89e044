"""Damaged TOML files and --set lines: what they say or one sentence, never something else.

``make soak`` tries 2,000 of each, ``make test`` a few.
"""

from __future__ import annotations

import copy
import random
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seewhy.config import StudyConfig, load_config
from seewhy.errors import ConfigError

Mutate = Callable[[bytes, random.Random], bytes]
Within = Callable[[float], AbstractContextManager[None]]
VALUES = (
    *("true", "0", "1", "-1", "1.0", "0.5", "nan", "inf", "1e400", "'x'", '""', "[]", "{}", "[1]"),
    *(
        "2024-01-01",
        "07:00:00",
        "0x10",
        "1_0",
        "[true, 2]",
        "'0.5'",
        "[[1]]",
        "{ a = 1 }",
        "9" * 400,
    ),
    *("9" * 5000, "0x" + "f" * 5000, "[" * 2000 + "]" * 2000, "'" + "a" * 5000 + "'", '"\\u0000"'),
)
KEYS = tuple(
    f"{section}.{key}" if model else section
    for section, field in StudyConfig.model_fields.items()
    for model in [getattr(field.annotation, "model_fields", None)]
    for key in (model or (section,))
)
WORDS = (
    st.sampled_from(VALUES) | st.text(max_size=12) | st.integers().map(str) | st.floats().map(str)
)
BEFORE = load_config("demo").model_dump()
LINES = st.tuples(st.sampled_from(KEYS) | st.text(max_size=12), WORDS).map("=".join)


def documented() -> str:
    page = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
    return page.read_text("utf-8").split("```toml\n")[1].split("```")[0]


def one_sentence(error: ConfigError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 2000
    assert str(error).isprintable()


def means(given: Any, got: Any) -> bool:
    """Tell whether a configuration holds what was written: the same, as text or as a number."""
    if isinstance(given, Mapping):
        held = got if isinstance(got, Mapping) else got.__dict__
        return all(means(value, held[key]) for key, value in given.items())
    if isinstance(given, str) and isinstance(got, (tuple, list)):
        return list(got) == [given]  # one column may stand for a list of one
    if isinstance(given, list):
        return len(given) == len(got) and all(map(means, given, got))
    if isinstance(got, bool):
        spelt = {
            True: ("true", "yes", "on", "1", "t", "y"),
            False: ("false", "no", "off", "0", "f", "n"),
        }
        return given == got or str(given).lower() in spelt[got]
    if isinstance(given, bool):
        return False
    if isinstance(got, (int, float)):
        return float(given) == float(got)
    return bool(given == got)


def _changed_value(lines: list[str], rng: random.Random) -> None:
    place = rng.choice([k for k, line in enumerate(lines) if " = " in line])
    key = lines[place].split(" = ")[0].removeprefix("# ")
    lines[place] = f"{key} = {rng.choice(VALUES)}"


def fuzz_files(folder: Path, count: int, seed: int, mutate: Mutate, within: Within) -> Counter[str]:
    """Try `count` damaged files; count what came of them."""
    rng, path = random.Random(seed), folder / "a.toml"
    presets = resources.files("seewhy.config") / "presets"
    whole = [documented(), *((presets / f"{n}.toml").read_text("utf-8") for n in ("demo", "paper"))]
    found: Counter[str] = Counter()
    for number in range(count):
        lines = rng.choice(whole).splitlines()
        if number % 2:
            for _ in range(rng.choice((1, 1, 2, 3))):
                _changed_value(lines, rng)
        content = "\n".join(lines).encode()
        path.write_bytes(content if number % 2 else mutate(content, rng))
        with within(10):
            try:
                config = load_config(path)
            except ConfigError as error:
                one_sentence(error)
                found["refused"] += 1
                continue
        written = tomllib.loads(path.read_text("utf-8-sig"))
        for one in written.get("backbone", []):
            assert isinstance(one, dict)
        assert means(written, config), path.read_text("utf-8")
        found["read"] += 1
    return found


def check_line(line: str) -> None:
    """Set one line; whatever it changes is what it says, and nothing else changes."""
    try:
        config = load_config("demo", settings=[line])
    except ConfigError as error:
        one_sentence(error)
        return
    key, _, text = (part.strip() for part in line.partition("="))
    before, after = copy.deepcopy(BEFORE), config.model_dump()
    *sections, last = key.split(".")
    if sections == ["backbone"]:
        for held, was in zip(after["backbone"], before["backbone"], strict=True):
            assert str(held.pop(last)) in (text, text.strip("'\""))
            was.pop(last)
    elif key != "backbone":
        there, was = after, before
        for section in sections:
            there, was = there[section], was.setdefault(section, {})
        got = there.pop(last)
        was.pop(last, None)
        try:
            value = tomllib.loads(f"value = {text}")
            assert value.keys() == {"value"}
            assert means(value["value"], got) or got == text, (line, got)
        except (ValueError, AssertionError, RecursionError):
            assert got == text or means(text, got), (line, got)
        assert after == before, line


def test_damaged_files_say_what_they_say(tmp_path: Path, mutate: Mutate, within: Within) -> None:
    found = fuzz_files(tmp_path, 120, 1, mutate, within)
    assert min(found["read"], found["refused"]) > 10


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(LINES)
def test_lines_say_what_they_say(line: str) -> None:
    check_line(line)


@pytest.mark.soak
def test_two_thousand_files(
    tmp_path: Path,
    mutate: Mutate,
    within: Within,
    seewhy: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    found = fuzz_files(tmp_path, 2_000, 0, mutate, within)
    sys.stdout.write(f"TOML files: {dict(found)}\n")
    rng = random.Random(4)
    for number in range(20):
        lines = documented().replace('"demo"', '"nowhere"').splitlines()
        _changed_value(lines, rng)
        (tmp_path / "a.toml").write_text("\n".join(lines), "utf-8")
        done = seewhy("check", "a.toml", "--quiet", cwd=tmp_path)
        assert done.returncode == 2, (number, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.soak
@settings(
    max_examples=2_000,
    deadline=10_000,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(LINES)
def test_two_thousand_lines(line: str) -> None:
    check_line(line)
