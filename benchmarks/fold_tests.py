"""How often tests over folds, or seeds, call backbones different that are not, by simulation.

    python -m benchmarks.fold_tests                 # the table of docs/statistics.md; minutes
    python -m benchmarks.fold_tests --data-sets 50  # a quick look

A data set is drawn, divided into folds as a study divides it, and classified from each backbone's
features: by the nearest class mean, which changes little with the training images, or by the
nearest training image, which changes much (scikit-learn's NearestCentroid and 1-nearest neighbour;
here in NumPy, for all folds at once). A backbone's features of an image are its class's mean plus
noise, half of whose variance all backbones share (hard images are hard for all) and half is its
own. All backbones are drawn alike, so none is better on average over data sets, and a test at 5 %
may call some pair different in 5 % of the data sets. In the lines of power one backbone's classes
lie farther apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.model_selection import StratifiedKFold

from seewhy.evaluation.ranking import corrected_t
from seewhy.evaluation.significance import holm

IMAGES, CLASSES, FEATURES, VALIDATION, LEVEL = 120, 3, 12, 0.1, 0.05
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# From accuracies (repetitions, backbones) and the ratio of held-out to training images to whether
# any pair is called different.
Procedure = Callable[[Floats, float], bool]


@dataclass(frozen=True)
class Setting:
    """What is simulated.

    `learner` is "nearest mean" or "nearest image", `over` is "folds" or "seeds". With
    `one_network` the backbones are one network trained with other seeds, whose accuracy on these
    very images is equal on average; `better` is how much farther apart the first backbone's
    classes lie.
    """

    learner: str
    over: str
    repetitions: int
    backbones: int
    better: float = 0.0
    one_network: bool = False

    @property
    def title(self) -> str:
        """What the setting is called in the table."""
        said = ", one is better" if self.better else ""
        if self.over == "seeds":
            said = ", one network" if self.one_network else ", other images"
        return f"{self.learner}, {self.repetitions} {self.over}{said}"


SETTINGS = [
    *(
        Setting(learner, "folds", folds, backbones)
        for learner in ("nearest mean", "nearest image")
        for folds, backbones in ((5, 2), (5, 3), (5, 5), (10, 3), (10, 5))
    ),
    *(Setting(learner, "folds", 5, 3, better=0.5) for learner in ("nearest mean", "nearest image")),
    *(Setting("nearest mean", "seeds", 5, k, one_network=True) for k in (2, 5)),
    *(Setting("nearest mean", "seeds", 5, k) for k in (2, 5)),
]


def draw(rng: np.random.Generator, setting: Setting, images: int) -> tuple[Floats, Ints]:
    """Return each backbone's features (K, N, F) and the labels (N,)."""
    labels = np.arange(images) % CLASSES
    kinds = 1 if setting.one_network else setting.backbones
    shared = rng.normal(size=(1, images, FEATURES))
    noise = (shared + rng.normal(size=(kinds, images, FEATURES))) / np.sqrt(2)
    far = np.full(kinds, 1.3)
    far[0] += setting.better
    means = np.eye(CLASSES, FEATURES)[labels]
    found = far[:, None, None] * means + noise
    return np.broadcast_to(found, (setting.backbones, images, FEATURES)), labels


def accuracies(
    rng: np.random.Generator, setting: Setting
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return accuracies (repetitions, backbones), and held-out over training images of each."""
    test = IMAGES // 4 if setting.over == "seeds" else 0
    features, labels = draw(rng, setting, IMAGES + test)
    pool = np.arange(IMAGES)
    found = np.empty((setting.repetitions, setting.backbones))
    ratios = np.zeros(setting.repetitions)
    chance = int(rng.integers(1e9))
    divided = StratifiedKFold(setting.repetitions, shuffle=True, random_state=chance)
    for row, (rest, held_out) in enumerate(divided.split(pool, labels[pool])):
        if setting.over == "seeds":
            rest, held_out = pool, np.arange(IMAGES, IMAGES + test)
        # A share of each class only stops the training early.
        order = rng.permutation(rest)
        train = np.concatenate(
            [
                one[round(VALIDATION * len(one)) :]
                for one in (order[labels[order] == k] for k in range(CLASSES))
            ]
        )
        ratios[row] = len(held_out) / len(train)
        for column, own in enumerate(features):
            # Over seeds a training is another draw of its images, as batches and dropout are.
            seen = rng.choice(train, len(train)) if setting.over == "seeds" else train
            said = PREDICT[setting.learner](own[seen], labels[seen], own[held_out])
            found[row, column] = (said == labels[held_out]).mean()
    return found, ratios


def nearest_mean(train: Floats, labels: Ints, access: Floats) -> Ints:
    """Return the class whose mean is nearest to each of the rows asked about."""
    means = np.stack([train[labels == k].mean(axis=0) for k in range(CLASSES)])
    return _nearest(means, access)


def nearest_image(train: Floats, labels: Ints, access: Floats) -> Ints:
    """Return the class of the training row nearest to each of the rows asked about."""
    found: Ints = labels[_nearest(train, access)]
    return found


def _nearest(places: Floats, access: Floats) -> Ints:
    # |a − b|² but for |a|², which is the same for all places.
    found: Ints = ((places**2).sum(axis=1) - 2 * access @ places.T).argmin(axis=1)
    return found


PREDICT: dict[str, Callable[[Floats, Ints, Floats], Ints]] = {
    "nearest mean": nearest_mean,
    "nearest image": nearest_image,
}


def friedman(values: Floats, ratio: float) -> bool:
    """Friedman's test; of two backbones there is none."""
    if values.shape[1] < 3 or not (values - values[:, :1]).any():
        return False
    return bool(stats.friedmanchisquare(*values.T).pvalue < LEVEL)


def nemenyi(values: Floats, ratio: float) -> bool:
    """Nemenyi's test where Friedman's finds something."""
    if not friedman(values, ratio):
        return False
    count, backbones = values.shape
    ranks = stats.rankdata(-values, axis=1).mean(axis=0)
    error = np.sqrt(backbones * (backbones + 1) / (6 * count)) / np.sqrt(2)
    return bool(np.ptp(ranks) / error > _studentized_range(backbones))


@cache
def _studentized_range(groups: int) -> float:
    return float(stats.studentized_range.isf(LEVEL, groups, np.inf))


def paired(values: Floats, ratio: float) -> bool:
    """All pairs by the paired t-test, corrected after Holm."""
    return corrected(values, 0.0)


def corrected(values: Floats, ratio: float) -> bool:
    """All pairs by the corrected resampled t-test, corrected after Holm."""
    p = []
    for one, two in combinations(values.T, 2):
        apart = one - two
        p.append(corrected_t(apart, ratio)[1] if np.ptp(apart) > 1e-12 else 1.0)
    return min(holm(p)) < LEVEL


def by_count(values: Floats, ratio: float) -> bool:
    """As `corrected`, with 1 / (k − 1) for the ratio whatever the trainings had."""
    return corrected(values, 1 / (len(values) - 1))


OVER_FOLDS: dict[str, Procedure] = {
    "Friedman": friedman,
    "Nemenyi after it": nemenyi,
    "paired t, Holm": paired,
    "corrected t with 1/(k − 1), Holm": by_count,
    "corrected t, Holm": corrected,
}


def rejections(setting: Setting, data_sets: int, seed: int) -> dict[str, float | None]:
    """Return in which share of the data sets each procedure calls some pair different."""
    counts = dict.fromkeys(OVER_FOLDS, 0)
    for number in range(data_sets):
        rng = np.random.default_rng([seed, SETTINGS.index(setting), number])
        values, ratios = accuracies(rng, setting)
        for name, procedure in OVER_FOLDS.items():
            counts[name] += procedure(values, float(ratios.mean()))
    ranked = setting.backbones > 2
    over_seeds = setting.over == "seeds"
    return {
        name: None
        if (not ranked and name in ("Friedman", "Nemenyi after it"))
        or (over_seeds and "corrected" in name)
        else count / data_sets
        for name, count in counts.items()
    }


def line(setting: Setting, shares: dict[str, float | None]) -> str:
    """Return one line of the table, Markdown."""
    cells = ["–" if one is None else f"{one:.3f}" for one in shares.values()]
    about = [setting.title, str(setting.backbones)]
    return f"| {' | '.join([*about, *cells])} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, a line a setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-sets", type=int, default=1000, help="simulated for each line")
    parser.add_argument("--seed", type=int, default=0)
    access = parser.parse_args(arguments)
    heads = ["trainings", "backbones", *OVER_FOLDS]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for setting in SETTINGS:
        print(line(setting, rejections(setting, access.data_sets, access.seed)), flush=True)


if __name__ == "__main__":
    main()
