"""Whether a run directory holds the study that is asked for: its configuration and its files.

Configurations are compared key by key. Folders and files that they name are compared by their
contents, however the path is written: a study is resumed when its data have moved, and refused
when they have changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from seewhy.config import StudyConfig
from seewhy.data.sources.open_source import check_source
from seewhy.data.sources.source_files import DATA, LOCAL, changes, named_places
from seewhy.errors import OtherStudyError
from seewhy.runtime.progress import Progress
from seewhy.storage.run_directory import RunDirectory

MOST_KEYS = 5
# Where activations are kept changes no number, and free memory and disk space change every day.
_OF_THE_MACHINE = ("finetuning.keep", "finetuning.memory_gib", "finetuning.disk_gib")


def refuse_another(run: RunDirectory, config: StudyConfig) -> None:
    """Refuse to resume another configuration; name the keys that differ.

    Raises
    ------
    OtherStudyError
    """
    before = run.config.read()
    there, now = _flat(before.model_dump()), _flat(config.model_dump())
    differing = [key for key in {**there, **now} if there.get(key) != now.get(key)]
    if not differing:
        return
    # Their files decide, where it is known what these were; a mitigated study has its own images.
    by_content = run.is_mitigated or (
        run.fingerprint.path.is_file() and run.fingerprint.sources_path.is_file()
    )
    places, here = _places(run, before), named_places(config)
    same = {k for k in places.keys() & here.keys() if by_content or places[k] == here[k]}
    others = [key for key in differing if key not in same and key not in _OF_THE_MACHINE]
    if others:
        raise _another(run, others, there, now)


def refuse_changed_files(
    run: RunDirectory, config: StudyConfig, progress: Progress, without: Collection[str] = ()
) -> None:
    """Refuse to resume where images or weights are others than when the study started.

    Missing images have not changed: the study has its own copies. `progress` receives what could
    not be compared; for `without` see `seewhy.data.sources.source_files.changes`.

    Raises
    ------
    OtherStudyError
        With the counts of files that were added, removed and changed.
    DataError
        Where the images were named again and cannot be listed.
    """
    before = run.fingerprint.read_sources()
    if before is None or not run.fingerprint.path.is_file():  # then everything is made again
        return
    places, here = _places(run, run.config.read()), named_places(config)
    moved = [key for key in here if here[key] != places.get(key)]
    if any(_part(key) == DATA for key in moved):
        check_source(config)
    gone = [
        key
        for key, path in here.items()
        if key not in moved and _part(key) not in without and not path.exists()
    ]
    for key in gone:
        progress.say(
            f"{here[key]}: is not there any more, so it cannot be compared with what the study "
            "was made of"
        )
    skipped = {*without, *map(_part, gone)}
    known = [one for one in before if one.part not in skipped]
    found = changes(config, known, bool(moved), skipped)
    for part, change in found.items():
        keys = [key for key in moved if _part(key) == part]
        if keys:
            there = {key: str(path) for key, path in places.items()}
            raise _another(run, keys, there, {key: str(path) for key, path in here.items()})
        what = "images" if part == DATA else "weights"
        named = " and ".join(str(path) for key, path in here.items() if _part(key) == part)
        raise OtherStudyError(
            f"{run.root}: the {what} in {named} have changed since this study began ({change})"
        )
    if moved:
        _follow(run, config)


def with_places(run: RunDirectory, config: StudyConfig) -> StudyConfig:
    """Return a study's configuration with its weights named by their places when it started."""
    places = _places(run, config)
    backbones = [
        one.model_copy(
            update={
                key: f"{LOCAL}{places[f'backbone.{number}.{key}']}"
                for key in ("name", "weights")
                if f"backbone.{number}.{key}" in places
            }
        )
        for number, one in enumerate(config.backbone)
    ]
    return config.model_copy(update={"backbone": tuple(backbones)})


def _follow(run: RunDirectory, config: StudyConfig) -> None:
    """Record where the study's files are now, for what reads the configuration later."""
    run.config.write(config)
    fingerprint = run.fingerprint.read()
    if fingerprint is not None:
        named = {key: str(path) for key, path in named_places(config).items()}
        run.fingerprint.write(fingerprint.model_copy(update={"named": named}))


def _places(run: RunDirectory, config: StudyConfig) -> dict[str, Path]:
    """Return where what a study names was when it started, whatever the working directory was."""
    fingerprint = run.fingerprint.read()
    former = {key: Path(text) for key, text in fingerprint.named.items()} if fingerprint else {}
    return {key: former.get(key, path) for key, path in named_places(config).items()}


def _part(key: str) -> str:
    section, _, rest = key.partition(".")
    return DATA if section == "data" else f"{section}.{rest.partition('.')[0]}"


def _another(
    run: RunDirectory, keys: Iterable[str], there: Mapping[str, object], now: Mapping[str, object]
) -> OtherStudyError:
    named = [f"{key}: {there.get(key)!r} there, {now.get(key)!r} now" for key in keys]
    more = f" and {len(named) - MOST_KEYS} more" if len(named) > MOST_KEYS else ""
    return OtherStudyError(
        f"{run.root}: holds a study with another configuration "
        f"({'; '.join(named[:MOST_KEYS])}{more})"
    )


def _flat(values: Any, key: str = "") -> dict[str, object]:
    """Return a tree's leaves by their dotted keys."""
    if isinstance(values, dict) and values:
        parts = values.items()
    elif isinstance(values, (tuple, list)) and values and isinstance(values[0], dict):
        parts = enumerate(values)  # type: ignore[assignment]
    else:
        return {key: values}
    found: dict[str, object] = {}
    for name, value in parts:
        found |= _flat(value, f"{key}.{name}" if key else str(name))
    return found
