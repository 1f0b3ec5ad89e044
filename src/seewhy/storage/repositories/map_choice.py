"""Which pair of method and layer makes the maps of each backbone: map_choice.json."""

from __future__ import annotations

from seewhy.storage.repositories.base import RecordRepository
from seewhy.storage.schemas.map_choice import MapChoice


class MapChoiceRepository(RecordRepository[MapChoice]):
    """map_choice.json of each backbone; none where the configuration names the pair."""

    file, model = "map_choice.json", MapChoice
