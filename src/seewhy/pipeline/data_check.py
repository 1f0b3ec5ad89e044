"""A source's images looked at before any study: what is wrong with them, and samples of each class.

They are found, decoded, checked and divided as a study with the same settings would do it, in a
temporary folder. It knows no networks.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from seewhy.config import StudyConfig
from seewhy.data.prepare import prepare_data
from seewhy.data.sources.open_source import check_source
from seewhy.errors import DataError
from seewhy.report.figures.photographs import samples, write_contact_sheet
from seewhy.runtime.progress import Progress, Silent
from seewhy.storage.atomic_writing import write_text, writing
from seewhy.storage.run_directory import RunDirectory, refuse_study_files
from seewhy.storage.schemas.data_checks import DataChecks, DataFindings

INPUT_SIZE = 224


@dataclass(frozen=True)
class CheckedSource:
    """What `check_images` found, and the files it wrote.

    Attributes
    ----------
    checks : DataChecks
    findings : DataFindings
        Those of `checks`.
    files : tuple of Path
        ``checks.json`` and ``contact_sheet.png`` where a folder was named; else empty.
    """

    checks: DataChecks
    findings: DataFindings
    files: tuple[Path, ...]


def check_images(
    config: StudyConfig, out: Path | str | None = None, progress: Progress | None = None
) -> CheckedSource:
    """Check the images of a source, without training anything.

    Parameters
    ----------
    config : StudyConfig
        See `seewhy.load_config`; the images are looked at at ``input.size``, default 224 pixels,
        smaller ones at their own size.
    out : Path or str, optional
        Folder for the record and the contact sheet; default: nothing is written.
    progress : Progress, optional

    Returns
    -------
    CheckedSource

    Raises
    ------
    DataError
        Where the images cannot be had or do not make a study.
    RunError
        Where `out` cannot be written.
    """
    check_source(config)
    if out is not None:
        for path in _written(Path(out)):
            refuse_study_files(path)
    with tempfile.TemporaryDirectory(prefix="seewhy-") as folder:
        run = RunDirectory(Path(folder))
        size = config.input.size or INPUT_SIZE
        data = prepare_data(config, size, run, progress or Silent())
        checks = run.data.read_checks()
        findings = checks.findings
        if findings is None:
            raise DataError(f"{data.source}: its images could not be checked ({checks.failed})")
        if out is None:
            return CheckedSource(checks, findings, ())
        record, sheet = _written(Path(out))
        write_text(record, run.data.checks_path.read_text("utf-8"))
        with writing(sheet) as part:
            write_contact_sheet(part, data.classes, samples(data))
    return CheckedSource(checks, findings, (record, sheet))


def _written(out: Path) -> tuple[Path, Path]:
    """Return the two files that are written into a folder that was named."""
    run = RunDirectory(out)
    return out / run.data.checks_path.name, out / run.data.contact_sheet_path.name
