"""From what a person typed, or handed over in Python, to one validated `StudyConfig`.

A preset's name, a ``.toml`` file, a folder, an ``.npz`` file, ``cifar10.2``, a dictionary: each
with its overrides. What is wrong is named in one sentence, with near names.
"""

from __future__ import annotations

import operator
import os
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ValidationError

from seewhy.config.schema import DEFAULT_BACKBONE, StudyConfig
from seewhy.errors import ConfigError, near_names

PRESETS = ("demo", "paper")
# Sources that are names, not places.
BUILT_IN = (*PRESETS, "cifar10.2")
LONGEST_VALUE = 120

Source = str | os.PathLike[str] | Mapping[str, Any] | StudyConfig


def load_config(
    source: Source,
    *,
    test: str | os.PathLike[str] | None = None,
    backbones: str | Sequence[str] = (),
    seed: int | None = None,
    device: str | None = None,
    settings: str | Sequence[str] | Mapping[str, Any] = (),
) -> StudyConfig:
    """Turn what a person typed into a study's configuration.

    Parameters
    ----------
    source : str, Path, mapping or StudyConfig
        A preset's name, a ``.toml`` file, anything `DataConfig.source` takes; or a mapping with
        the keys of such a file. A Path is always a place, never a preset.
    test : str or Path, optional
        Overrides ``data.test``.
    backbones : str or sequence of str, optional
        Override the backbones; each with its pretrained weights.
    seed : int, optional
    device : str, optional
    settings : str, sequence of str or mapping, optional
        ``key=value`` pairs as ``--set`` takes them, or dotted keys with their values; they win
        over everything else.

    Returns
    -------
    StudyConfig

    Raises
    ------
    ConfigError
        For a file that is missing or no TOML, an unknown key, or a value out of range.

    Examples
    --------
    >>> load_config("demo", settings=["head.dropout=0.1"]).head.dropout
    0.1
    >>> load_config({"data": {"source": "photos"}, "seed": 3}).name
    'photos'
    """
    values, origin = _base_values(source)
    if test is not None:
        _assign(values, "data.test", _path(test, "test"))
    if backbones:
        values["backbone"] = [backbones] if isinstance(backbones, str) else list(backbones)
    if seed is not None:
        values["seed"] = _plain(seed)
    if device is not None:
        values["device"] = str(device)
    values = _with_backbones(values)
    for key, value in _pairs(settings):
        _assign(values, key, value)
    return validate(values, origin)


def validate(values: Mapping[str, Any], origin: str) -> StudyConfig:
    """Check `values` against `StudyConfig`; `origin` names where they come from.

    Raises
    ------
    ConfigError
        One sentence naming the first key that is wrong.
    """
    try:
        return StudyConfig.model_validate(_with_backbones(dict(values)))
    except ValidationError as error:
        raise ConfigError(f"{_shown(origin)}: {_sentence(error)}") from error


def _base_values(source: Source) -> tuple[dict[str, Any], str]:
    """Return the values that a source stands for, and what it is called in messages."""
    if isinstance(source, StudyConfig):
        return source.model_dump(exclude_none=True), "the configuration"
    if isinstance(source, Mapping):
        values = _plain(source)
        data = values.get("data")
        if isinstance(data, dict) and isinstance(data.get("source"), str):
            values.setdefault("name", _name_of(data["source"]))
        return values, "the configuration"
    text = _path(source, "source")
    if not isinstance(source, str) and text in BUILT_IN:
        text = str(Path(text).absolute())
    if text in PRESETS:
        preset = resources.files("seewhy").joinpath("presets", f"{text}.toml")
        return tomllib.loads(preset.read_text("utf-8")), text
    if text.lower().endswith(".toml"):
        return _read_toml(Path(text)), text
    return {"name": _name_of(text), "data": {"source": text}}, text


def _read_toml(path: Path) -> dict[str, Any]:
    shown = _shown(str(path))
    try:
        # Editors of Windows begin a file with a mark that TOML does not know.
        values = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"{shown}: there is no such config file") from error
    except RecursionError as error:
        raise ConfigError(f"{shown}: not a TOML file (nested too deeply)") from error
    # Also numbers of more digits than Python reads, and a zero byte in the file's name.
    except ValueError as error:
        raise ConfigError(f"{shown}: not a TOML file ({error})") from error
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read ({error.strerror})") from error
    values.setdefault("name", _name_of(str(path)))
    return values


def _name_of(source: str) -> str:
    path = Path(source)
    try:
        known = path.suffix.lower() in (".npz", ".toml")
        stem = path.stem if known else path.resolve().name
    except (OSError, ValueError):
        stem = path.name
    stem = stem.replace("\\", "_").replace("\0", "_")
    return stem if stem.strip(".") else "study"


def _path(value: object, name: str) -> str:
    """Return a path as text, as it was named."""
    try:
        text = os.fspath(value)  # type: ignore[call-overload]
    except TypeError as error:
        raise ConfigError(f"{name}: expected a path, but got {type(value).__name__}") from error
    return os.fsdecode(text)


def _plain(value: Any) -> Any:
    """Copy a value into what TOML has: dictionaries, lists, text for paths, Python's numbers."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    if isinstance(value, os.PathLike):
        return os.fsdecode(os.fspath(value))
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (bool, str, float)):
        return value
    try:
        return operator.index(value)  # NumPy's integers
    except TypeError:
        return value


def _with_backbones(values: dict[str, Any]) -> dict[str, Any]:
    """Let a single backbone, and one that is only named, be what ``[[backbone]]`` makes of it."""
    given = values.get("backbone")
    if isinstance(given, (str, Mapping)):
        given = [given]
    if not isinstance(given, (list, tuple)):
        return values
    return values | {"backbone": [{"name": one} if isinstance(one, str) else one for one in given]}


def _pairs(settings: str | Sequence[str] | Mapping[str, Any]) -> list[tuple[str, Any]]:
    if isinstance(settings, Mapping):
        return [(str(key), _plain(value)) for key, value in settings.items()]
    pairs = []
    for setting in [settings] if isinstance(settings, str) else settings:
        key, equals, text = str(setting).partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"expected --set key=value, but got {_brief(setting)}")
        pairs.append((key.strip(), _value(key.strip(), text.strip())))
    return pairs


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, dict) and _section(key) is not None and key != "backbone":
        # A whole section: the keys that it names, beside those that are there.
        for inner, one in value.items():
            _assign(values, f"{key}.{inner}", one)
        return
    *sections, last = key.split(".")
    if sections == ["backbone"] and isinstance(values.get("backbone", []), list):
        # What is set for "backbone" is set for each of them.
        for one in values.setdefault("backbone", [{"name": DEFAULT_BACKBONE}]):
            if isinstance(one, dict):
                one[last] = value
        return
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(
                f"--set {_shown(key)}: {section!r} holds no keys that can be set this way"
            )
        values = inner
    values[last] = value


def _value(key: str, text: str) -> object:
    """Read `text` as a TOML value where it is one and `key` is no text; else take it as it stands.

    So a folder or a study may be called 2024 or true.
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    if parsed.keys() != {"value"}:
        return text
    value = parsed["value"]
    return text if _is_text(key) and not isinstance(value, (str, list, dict)) else value


def _is_text(key: str) -> bool:
    """Tell whether a key holds text, and nothing that TOML writes otherwise."""
    section, _, name = key.rpartition(".")
    model = StudyConfig if not section else _section(section)
    if section == "backbone":
        return True
    if model is None or name not in model.model_fields:
        return key.startswith("baseline.words.")
    hint = get_type_hints(model)[name]
    return hint is str or str in get_args(hint)


def _section(key: str) -> type[BaseModel] | None:
    field = StudyConfig.model_fields.get(key)
    kind = field.annotation if field else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = _shown(".".join(str(part) for part in first["loc"]) or "the configuration")
    if first["type"] == "extra_forbidden":
        return (
            f"unknown key {key!r}{near_names(key, _known_keys())} (the keys are in "
            "docs/configuration.md)"
        )
    message = _shown(first["msg"].removeprefix("Value error, "))
    if message.startswith("expected"):
        return f"{key}: {message}"
    return f"{key}: {message[0].lower()}{message[1:]}, but got {_brief(first['input'])}"


def _brief(value: object) -> str:
    """Write a value for a message, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes
        text = f"a {type(value).__name__} that is too large to be shown"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _shown(text: str) -> str:
    """Return text on one line: control characters and lone surrogates escaped."""
    escaped = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
    return escaped if len(escaped) <= 4 * LONGEST_VALUE else f"{escaped[: 4 * LONGEST_VALUE]}…"


def _known_keys() -> list[str]:
    keys: list[str] = []
    for name in StudyConfig.model_fields:
        keys.append(name)
        section = _section(name)
        if section is not None:
            keys += [f"{name}.{inner}" for inner in section.model_fields]
    return keys
