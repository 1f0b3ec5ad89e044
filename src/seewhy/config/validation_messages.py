"""What is wrong with a configuration, in one sentence that names the key and the value."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from seewhy.errors import near_names

LONGEST_VALUE = 120


def sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """Name the first key that is wrong, in a configuration with the keys of `model`."""
    first = error.errors(include_url=False)[0]
    key = shown(".".join(str(part) for part in first["loc"]) or "the configuration")
    if first["type"] == "extra_forbidden":
        return (
            f"unknown key {key!r}{near_names(key, _known_keys(model))} (the keys are in "
            "docs/configuration.md)"
        )
    message = shown(first["msg"].removeprefix("Value error, "))
    if message.startswith("expected"):
        return f"{key}: {message}"
    return f"{key}: {message[0].lower()}{message[1:]}, but got {brief(first['input'])}"


def brief(value: object) -> str:
    """Write a value for a message, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes
        text = f"a {type(value).__name__} that is too large to be shown"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def shown(text: str) -> str:
    """Return text on one line: control characters and lone surrogates escaped."""
    escaped = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
    return escaped if len(escaped) <= 4 * LONGEST_VALUE else f"{escaped[: 4 * LONGEST_VALUE]}…"


def _known_keys(model: type[BaseModel]) -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(name)
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            keys += [f"{name}.{inner}" for inner in section.model_fields]
    return keys
