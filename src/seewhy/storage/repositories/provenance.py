"""What a study depends on: provenance.json, fingerprint.json, sources.csv."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path

from pydantic import TypeAdapter

from seewhy.storage.csv_files import CsvTable, read_parsed, write_table
from seewhy.storage.json_files import record_where_there, write_record
from seewhy.storage.repositories.base import Repository
from seewhy.storage.schemas.provenance import Provenance, RunFingerprint, SourceFile

_HEADER = tuple(field.name for field in fields(SourceFile))
_SOURCES = TypeAdapter(tuple[SourceFile, ...])


class ProvenanceRepository(Repository):
    """What the numbers depend on: provenance.json."""

    root_names = ("provenance.json",)

    @property
    def path(self) -> Path:
        """provenance.json."""
        return self.layout.root / "provenance.json"

    def write(self, provenance: Provenance) -> None:
        """Write provenance.json."""
        write_record(self.path, provenance)

    def read(self) -> Provenance | None:
        """Read provenance.json; None where this step failed."""
        return record_where_there(self.path, Provenance)


class FingerprintRepository(Repository):
    """What a resumed study must find unchanged: fingerprint.json and data/sources.csv."""

    root_names = ("fingerprint.json",)

    @property
    def path(self) -> Path:
        """fingerprint.json; written when the data are there, before the first backbone starts."""
        return self.layout.root / "fingerprint.json"

    def write(self, fingerprint: RunFingerprint) -> None:
        """Write fingerprint.json."""
        write_record(self.path, fingerprint)

    def read(self) -> RunFingerprint | None:
        """Read fingerprint.json; None where no backbone has started."""
        return record_where_there(self.path, RunFingerprint)

    @property
    def sources_path(self) -> Path:
        """sources.csv, the files that the study was made of."""
        return self.layout.data / "sources.csv"

    def write_sources(self, files: Iterable[SourceFile]) -> None:
        """Write sources.csv, one line per file."""
        write_table(self.sources_path, CsvTable(_HEADER, map(astuple, files)))

    def read_sources(self) -> tuple[SourceFile, ...] | None:
        """Read sources.csv; None in a mitigated study."""
        path = self.sources_path
        return read_parsed(path, _SOURCES.validate_python) if path.is_file() else None
