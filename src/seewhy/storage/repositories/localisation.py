"""Whether the maps of each backbone are on the objects that masks mark: localisation.json."""

from __future__ import annotations

from seewhy.storage.repositories.base import RecordRepository
from seewhy.storage.schemas.localisation import Localisation


class LocalisationRepository(RecordRepository[Localisation]):
    """localisation.json of each backbone; none where no test image has an object mask."""

    file, model = "localisation.json", Localisation
