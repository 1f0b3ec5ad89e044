"""A run directory: the folder of one study, with one repository per subject.

Every file is written atomically. ``summary.json`` is written last, so a directory that has one is
complete.
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from seewhy.errors import RunError
from seewhy.storage.layout import Layout
from seewhy.storage.repositories.abstention import AbstentionRepository
from seewhy.storage.repositories.audit import AuditRepository
from seewhy.storage.repositories.backbones import BackboneRepository
from seewhy.storage.repositories.base import all_root_names
from seewhy.storage.repositories.baseline import BaselineRepository
from seewhy.storage.repositories.breakdown import BreakdownRepository
from seewhy.storage.repositories.data import DataRepository
from seewhy.storage.repositories.ensemble import EnsembleRepository
from seewhy.storage.repositories.evaluation import EvaluationRepository
from seewhy.storage.repositories.explanations import ExplanationRepository
from seewhy.storage.repositories.imbalance import ImbalanceRepository
from seewhy.storage.repositories.localisation import LocalisationRepository
from seewhy.storage.repositories.map_choice import MapChoiceRepository
from seewhy.storage.repositories.mirror import MirrorRepository
from seewhy.storage.repositories.mitigation import MitigationRepository
from seewhy.storage.repositories.provenance import FingerprintRepository, ProvenanceRepository
from seewhy.storage.repositories.quality import QualityRepository
from seewhy.storage.repositories.repetitions import RepetitionsRepository
from seewhy.storage.repositories.report import ReportRepository
from seewhy.storage.repositories.search import SearchRepository
from seewhy.storage.repositories.study import ConfigRepository, SummaryRepository
from seewhy.storage.repositories.training import TrainingRepository
from seewhy.storage.run_version import OLD_FINGERPRINT, refuse_other_version


class RunDirectory:
    """One study's folder, ``runs/NAME``.

    Examples
    --------
    >>> run = RunDirectory(Path("runs/demo"))
    >>> run.evaluation.path("vgg16").as_posix()
    'runs/demo/backbones/vgg16/evaluation.json'
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)
        self.config = ConfigRepository(self.layout)
        self.fingerprint = FingerprintRepository(self.layout)
        self.data = DataRepository(self.layout)
        self.search = SearchRepository(self.layout)
        self.baseline = BaselineRepository(self.layout)
        self.training = TrainingRepository(self.layout)
        self.repetitions = RepetitionsRepository(self.layout)
        self.quality = QualityRepository(self.layout)
        self.map_choice = MapChoiceRepository(self.layout)
        self.explanations = ExplanationRepository(self.layout)
        self.audit = AuditRepository(self.layout)
        self.mitigation = MitigationRepository(self.layout)
        self.backbones = BackboneRepository(self.layout)
        self.evaluation = EvaluationRepository(self.layout)
        self.ensemble = EnsembleRepository(self.layout)
        self.mirror = MirrorRepository(self.layout)
        self.imbalance = ImbalanceRepository(self.layout)
        self.breakdown = BreakdownRepository(self.layout)
        self.localisation = LocalisationRepository(self.layout)
        self.abstention = AbstentionRepository(self.layout)
        self.provenance = ProvenanceRepository(self.layout)
        self.summary = SummaryRepository(self.layout)
        self.report = ReportRepository(self.layout)

    @classmethod
    def open(cls, root: Path) -> RunDirectory:
        """Open a complete run directory for reading.

        Raises
        ------
        RunError
            Where there is none, another version wrote it, or its study is not finished.
        """
        if not root.is_dir():
            raise RunError(f"{root}: there is no such run directory")
        refuse_other_version(root)
        run = cls(root)
        if not run.is_finished:
            raise RunError(
                f"{root}: holds no finished study (no summary.json); run the study to its end first"
            )
        return run

    @property
    def is_study(self) -> bool:
        """Whether a study is stored here, finished or not."""
        return self.config.path.is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the study that is stored here is finished."""
        return self.summary.path.is_file()

    @property
    def is_mitigated(self) -> bool:
        """Whether this is a mitigated study, whose images come from the study around it."""
        return self.mitigation.data_path.is_file()

    def clear(self) -> None:
        """Delete the study that is stored here; files that are not its own stay.

        A process that is killed meanwhile leaves a study that resumes from its images, or none:
        results are deleted before the fingerprint and the images that they belong to, and the
        configuration last.
        """
        first = (self.summary.path.name, self.layout.backbones.name)
        last = (self.fingerprint.path.name, self.layout.data.name, self.config.path.name)
        other = [name for name in _own_names(self.layout) if name not in first + last]
        deleted = self.root / f".cleared.{uuid.uuid4().hex[:8]}.part"
        deleted.mkdir()
        for name in (*first, *other, *last):
            with suppress(FileNotFoundError):
                (self.root / name).rename(deleted / name)
        shutil.rmtree(deleted)


def refuse_study_files(path: Path) -> None:
    """Refuse to overwrite what belongs to a study, where that is not what is being changed.

    Raises
    ------
    RunError
        Where `path`, a file to be written or a folder for such files, is inside a study.
    """
    place = path.resolve()
    for folder in place.parents:
        run = RunDirectory(folder)
        is_own = place.relative_to(folder).parts[0] in _own_names(run.layout)
        has_images = run.fingerprint.path.is_file() or (folder / OLD_FINGERPRINT).is_file()
        if is_own and run.is_study and has_images:
            raise RunError(
                f"{path}: belongs to the study in {folder}; choose another place with --out"
            )


def _own_names(layout: Layout) -> tuple[str, ...]:
    """Return the names of all that a study writes directly into its run directory."""
    folders = (layout.backbones, layout.data, layout.log)
    return (*(path.name for path in folders), *all_root_names(), OLD_FINGERPRINT)
