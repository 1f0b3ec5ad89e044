"""The report of a study: the folder ``report/``."""

from __future__ import annotations

from pathlib import Path

from seewhy.storage.repositories.base import Repository


class ReportRepository(Repository):
    """Where the report is written; its other files are beside the page."""

    root_names = ("report",)

    @property
    def path(self) -> Path:
        """index.html, the report as one self-contained file."""
        return self.layout.root / "report" / "index.html"
