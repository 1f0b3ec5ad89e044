"""Where the folders of a run directory are: paths only.

The names of the files in these folders are known to the repository of each subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seewhy.storage.schemas.base import Stage


@dataclass(frozen=True)
class Layout:
    """The folders of one run directory.

    Parameters
    ----------
    root : Path
        The run directory, ``RUN`` or, of a mitigated study, ``RUN/backbones/SLUG/mitigated``.

    Examples
    --------
    >>> Layout(Path("runs/demo")).stage("vgg16", "finetuning").as_posix()
    'runs/demo/backbones/vgg16/finetuning'
    """

    root: Path

    @property
    def config(self) -> Path:
        """config.toml; a folder that has one holds a study."""
        return self.root / "config.toml"

    @property
    def data(self) -> Path:
        """The images of the study, and what was found among them."""
        return self.root / "data"

    @property
    def backbones(self) -> Path:
        """The results, one folder per backbone."""
        return self.root / "backbones"

    @property
    def log(self) -> Path:
        """The file that the study logs to."""
        return self.root / "study.log"

    def backbone(self, slug: str) -> Path:
        """Return one backbone's folder."""
        return self.backbones / slug

    def stage(self, slug: str, stage: Stage) -> Path:
        """Return the folder of one stage's training."""
        return self.backbone(slug) / stage

    def mitigated(self, slug: str) -> Path:
        """Return the run directory of a backbone's mitigated study."""
        return self.backbone(slug) / "mitigated"

    @property
    def enclosing(self) -> Layout | None:
        """The layout of the study around a mitigated one; None for any other place."""
        place = self.root.resolve()
        if len(place.parents) < 3:
            return None
        around = Layout(place.parents[2])
        is_inside = place == around.mitigated(place.parent.name)
        return around if is_inside and around.config.is_file() else None
