"""Records as JSON files, written and read, validated by their schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from seewhy.errors import RunError
from seewhy.storage.atomic_writing import write_text
from seewhy.storage.schemas.base import Record, first_problem

Model = TypeVar("Model", bound=BaseModel)


def write_record(path: Path, record: Record) -> None:
    """Write a record as a JSON file."""
    values = record.model_dump(mode="json", exclude_none=not record.keeps_null)
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def read_record(path: Path, model: type[Model]) -> Model:
    """Read a record from its JSON file.

    Raises
    ------
    RunError
        Where the file is missing or is not as seewhy writes it.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise RunError(f"{path}: is not as seewhy writes it ({first_problem(error)})") from error


def record_where_there(path: Path, model: type[Model]) -> Model | None:
    """Read a record that a study may lack; None where there is no such file."""
    return read_record(path, model) if path.is_file() else None
