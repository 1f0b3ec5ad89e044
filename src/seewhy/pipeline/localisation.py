"""Whether one backbone's maps are on the objects that masks mark, from a run directory.

The maps are of the labelled class, so that a wrong prediction is not a wrong place. Test images
without a mask are left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from seewhy.data.decoding.fit import filled_box, filled_shares, slices
from seewhy.explanation.measures.localisation import MEASURES, score_localisation
from seewhy.explanation.measures.map_measure import FEWEST_IMAGES, compare
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.base import STAGES
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.faithfulness import FaithfulnessMeasure
from seewhy.storage.schemas.localisation import Localisation, ObjectScores, StageLocalisation
from seewhy.storage.schemas.maps import Maps
from seewhy.wording import count, listing, share

_BATCH = 64
_RANDOM_MAPS = 4
_DRAWS = 1000
_ONE_GROUP = "too few groups"
_TITLES = {"pointing_game": "the pointing game", "energy_inside": "energy", "iou_at_area": "IoU"}


def write_localisation(run: RunDirectory, slug: str, records: BackboneRecords, seed: int) -> None:
    """Write localisation.json where test images have object masks.

    Where the configuration groups images, intervals are made of whole groups, and of images where
    all are of one group.
    """
    data = run.data.read()
    images = _test_images(data, records.predictions["finetuning"].groups)
    if not images.areas.any():
        run.localisation.delete(slug)
        return
    stages = []
    for stage in STAGES:
        maps = records.maps[stage]
        values = _values(data, maps, images, seed)
        everything = _scores(values, maps, images, None, data.classes, seed)
        classes = [
            _scores(values, maps, images, label, data.classes, seed)
            for label in range(len(data.classes))
        ]
        stages.append(
            StageLocalisation(
                stage=stage,
                everything=everything,
                classes=classes,
                sentences=localisation_sentences(everything, classes),
            )
        )
    record = Localisation(
        method=maps.method,
        layer=maps.layer,
        seed=seed,
        random_maps=_RANDOM_MAPS,
        group_by=list(data.group_by),
        stages=stages,
    )
    run.localisation.write(slug, record)


@dataclass(frozen=True)
class _TestImages:
    """The N test images: places in the data set, labels, shares that masks cover, groups.

    `filled` (N, 4) are the parts that are no padding, see `filled_shares`; `areas` are shares of
    these.
    """

    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    clusters: NDArray[np.int64] | None
    filled: NDArray[np.float64] | None = None


def _test_images(data: Dataset, clusters: NDArray[np.int64] | None) -> _TestImages:
    test = data.where("test")
    areas, filled = np.zeros(len(test)), None
    if data.masks is not None:
        areas[:] = [
            data.masks[place][slices(filled_box(data.pixels[place]))].mean() for place in test
        ]
        filled = filled_shares(data.pixels[place] for place in test)
    return _TestImages(test, data.labels[test], areas, clusters, filled)


def _values(
    data: Dataset, maps: Maps, images: _TestImages, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Score every test image's map of its label, (R + 2, N) by measure; NaN where nothing can be.

    An image's random maps depend on its place among the test images.
    """
    assert data.masks is not None
    found: dict[str, list[torch.Tensor]] = {name: [] for name in MEASURES}
    for start in range(0, len(images.places), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(images.places)))
        scores = score_localisation(
            torch.from_numpy(maps.label_maps[rows].astype(np.float32)),
            torch.from_numpy(np.ascontiguousarray(data.masks[images.places[rows]])),
            torch.from_numpy(rows),
            seed,
            _RANDOM_MAPS,
            None if images.filled is None else torch.from_numpy(images.filled[rows]),
        )
        for name, values in scores.items():
            found[name].append(values)
    return {name: torch.cat(parts, dim=1).double().numpy() for name, parts in found.items()}


def _scores(
    values: dict[str, NDArray[np.float64]],
    maps: Maps,
    images: _TestImages,
    label: int | None,
    classes: Sequence[str],
    seed: int,
) -> ObjectScores:
    """Return the means over the images of one class, or of all, with intervals."""
    chosen = np.full(len(images.labels), True) if label is None else images.labels == label
    masked = chosen & (images.areas > 0)
    kept = masked & ~maps.label_empty
    clusters = None if images.clusters is None else images.clusters[kept]
    # Images are drawn then, see `seewhy.statistics.bootstrap.weights`.
    is_one_group = clusters is not None and len(set(clusters)) < 2
    measures = {}
    for name in MEASURES if kept.any() else ():
        ours, *random, gaussian = values[name][:, kept]
        found = compare(
            ours,
            np.stack(random, axis=1),
            gaussian,
            "high",
            seed,
            _DRAWS,
            strata=images.labels[kept],
            clusters=clusters,
        )
        if is_one_group:
            found = replace(found, verdict=_ONE_GROUP, gaussian_verdict=_ONE_GROUP)
        measures[name] = FaithfulnessMeasure(**asdict(found))
    return ObjectScores(
        label=None if label is None else classes[label],
        images=int(chosen.sum()),
        without_mask=int((chosen & ~masked).sum()),
        empty=int((masked & ~kept).sum()),
        hits=round(float(values["pointing_game"][0, kept].sum())),
        area=float(images.areas[kept].mean()) if kept.any() else None,
        measures=measures,
    )


def localisation_sentences(everything: ObjectScores, classes: Sequence[ObjectScores]) -> list[str]:
    """Say how often the maps point at the object, which class is lowest, what is left out."""
    found = []
    if everything.measured:
        found.append(f"In {_hits(everything)} ({_beside(everything, 'pointing_game')}).")
        found.append(
            f"{share(everything.measures['energy_inside'].maps.value)} of the map's energy is on "
            f"the object ({_beside(everything, 'energy_inside')}); the IoU of the object and as "
            f"many of the hottest pixels is {share(everything.measures['iou_at_area'].maps.value)} "
            f"({_beside(everything, 'iou_at_area')})."
        )
        found.append(_better(everything))
    known = [one for one in classes if one.measured]
    if len(known) > 1:
        # A class of a few images would be the lowest by chance.
        enough = [one for one in known if one.measured >= FEWEST_IMAGES] or known
        lowest = min(enough, key=lambda one: one.measures["pointing_game"].maps.value)
        found.append(f"The lowest class: in {_hits(lowest, f' of class {lowest.label!r}')}.")
    left = []
    if everything.without_mask:
        left.append(f"{count(everything.without_mask, 'test image')} without a mask")
    if everything.empty:
        left.append(f"{count(everything.empty, 'test image')} with an empty map")
    if left:
        found.append(f"Left out: {' and '.join(left)}.")
    return found


def _better(one: ObjectScores) -> str:
    """Say on which measures the paired intervals are wholly above zero."""
    verdicts = [measure.verdict for measure in one.measures.values()]
    few = next((verdict for verdict in verdicts if verdict.startswith("too few")), None)
    if few:
        return f"{few.capitalize()} to say whether the maps are better than random maps."
    over = [
        listing([_TITLES[name] for name, value in chosen.items() if value.startswith("better")])
        for chosen in (
            {name: measure.verdict for name, measure in one.measures.items()},
            {name: measure.gaussian_verdict for name, measure in one.measures.items()},
        )
    ]
    return (
        f"By paired intervals the maps are better than random maps on {over[0] or 'none of these'}"
        f", and better than a centred Gaussian on {over[1] or 'none of these'}."
    )


def _hits(one: ObjectScores, which: str = " with a mask") -> str:
    return (
        f"{one.hits:,} of {count(one.measured, 'test image')}{which} the hottest place of the map "
        "is on the object"
    )


def _beside(one: ObjectScores, name: str) -> str:
    measure = one.measures[name]
    return (
        f"random maps {share(measure.random.value)}, a centred Gaussian "
        f"{share(measure.gaussian.value)}"
    )
