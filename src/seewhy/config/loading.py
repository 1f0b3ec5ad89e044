"""From what a person typed, or handed over in Python, to one validated `StudyConfig`.

A preset's name, a ``.toml`` file, a folder, an ``.npz`` file, ``cifar10.2``, a dictionary: each
with its overrides. What is wrong is named in one sentence, with near names.
"""

from __future__ import annotations

import operator
import os
import tomllib
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ValidationError

from seewhy.config.schema import StudyConfig
from seewhy.config.training_config import DEFAULT_BACKBONE, BackboneConfig
from seewhy.config.validation_messages import brief, sentence, shown
from seewhy.errors import ConfigError
from seewhy.runtime.arguments import path_text

PRESETS = ("demo", "paper")
# Sources that are names, not places.
BUILT_IN = (*PRESETS, "cifar10.2")

Source = str | os.PathLike[str] | Mapping[str, Any] | StudyConfig

# A source that is a file of these kinds names its study by its stem, or by its folder's name.
_FILES = (".npz", ".toml", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq")
# Dictionaries whose keys are names of classes.
_OF_CLASSES = ("baseline.words.", "head.class_weights.")
_SAYING_NOTHING = ("labels", "metadata", "annotations", "index")


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

    Raises
    ------
    ConfigError
        For a file that is missing or no TOML, an unknown key, or a value out of range.

    Examples
    --------
    >>> from seewhy import load_config
    >>> load_config("demo", settings=["head.dropout=0.1"]).head.dropout
    0.1
    >>> load_config({"data": {"source": "photos"}, "seed": 3}).name
    'photos'
    """
    values, origin = _base_values(source)
    if test is not None:
        _assign(values, "data.test", path_text(test, "test"))
    named = _several(backbones, "backbones")
    if named:
        values["backbone"] = named
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
    except ConfigError as error:
        raise ConfigError(f"{shown(origin)}: {error}") from error


def name_backbone(name: str, weights: str | os.PathLike[str] | None = None) -> BackboneConfig:
    """Return a backbone by its name and where its weights come from, default ``pretrained``.

    Raises
    ------
    ConfigError
        For weights that are none of the kinds.
    """
    if isinstance(weights, os.PathLike):
        weights = f"local-dir:{os.fsdecode(os.fspath(weights))}"
    try:
        return BackboneConfig(name=name, weights="pretrained" if weights is None else weights)
    except ValidationError as error:
        raise ConfigError(sentence(error, StudyConfig)) from error


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
    text = path_text(source, "source")
    if not isinstance(source, str) and text in BUILT_IN:
        text = str(Path(text).absolute())
    if text in PRESETS:
        preset = resources.files("seewhy.config").joinpath("presets", f"{text}.toml")
        return tomllib.loads(preset.read_text("utf-8")), text
    if text.lower().endswith(".toml"):
        return _read_toml(Path(text)), text
    return {"name": _name_of(text), "data": {"source": text}}, text


def _read_toml(path: Path) -> dict[str, Any]:
    name = shown(str(path))
    try:
        # Editors of Windows begin a file with a mark that TOML does not know.
        values = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"{name}: there is no such config file") from error
    except RecursionError as error:
        raise ConfigError(f"{name}: not a TOML file (nested too deeply)") from error
    # Also numbers of more digits than Python reads, and a zero byte in the file's name.
    except ValueError as error:
        raise ConfigError(f"{name}: not a TOML file ({error})") from error
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read ({error.strerror})") from error
    values.setdefault("name", _name_of(str(path)))
    return values


def _name_of(source: str) -> str:
    path = Path(source)
    with suppress(OSError, ValueError, RuntimeError):  # a circle of links, a zero byte
        path = path.resolve()
    stem = path.stem if path.suffix.lower() in _FILES else path.name
    if path.suffix.lower() in _FILES and stem.lower() in _SAYING_NOTHING:
        stem = path.parent.name
    stem = stem.replace("\\", "_").replace("\0", "_")
    return stem if stem.strip(".") else "study"


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


def _several(values: object, name: str) -> list[Any]:
    """Return several values as a list, and one text as a list of one."""
    if isinstance(values, str):
        return [values]
    if isinstance(values, Sequence | Set):
        return list(values)
    raise ConfigError(f"{name}: expected one or several texts, but got {brief(values)}")


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
    for setting in _several(settings, "settings"):
        key, equals, text = str(setting).partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"expected --set key=value, but got {brief(setting)}")
        pairs.append((key.strip(), _value(key.strip(), text.strip())))
    return pairs


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, dict) and _section(key) is not None and key != "backbone":
        # A whole section: the keys that it names, beside those that are there.
        for inner, one in value.items():
            _assign(values, f"{key}.{inner}", one)
        return
    *sections, last = _parts(key)
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
                f"--set {shown(key)}: {section!r} holds no keys that can be set this way"
            )
        values = inner
    values[last] = value


def _parts(key: str) -> list[str]:
    """Return the parts of a dotted key; a class's name is one part, whatever dots it has."""
    for prefix in _OF_CLASSES:
        name = key.removeprefix(prefix)
        if name != key and name:
            quoted = len(name) > 2 and name[0] == name[-1] and name[0] in "\"'"
            return [*prefix.rstrip(".").split("."), name[1:-1] if quoted else name]
    return key.split(".")


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
