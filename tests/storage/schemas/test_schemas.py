"""Bounded numbers of the records: rounding never costs a study, what is wrong is still refused."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import numpy as np
import pytest
from annotated_types import Ge, Le
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import BaseModel, TypeAdapter, ValidationError

from seewhy.evaluation.agreement import MapPair, agreement, movement, overlap_by_chance
from seewhy.evaluation.calibration import calibration
from seewhy.evaluation.significance import compare_pair, kappa, mcnemar
from seewhy.storage import schemas
from seewhy.storage.schemas.base import Rate
from seewhy.storage.schemas.predictions import Predictions

MODULES = [
    importlib.import_module(f"{schemas.__name__}.{module.name}")
    for module in pkgutil.iter_modules(schemas.__path__)
]


def models() -> list[type[BaseModel]]:
    found = {
        one
        for module in MODULES
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, BaseModel) and one is not BaseModel
    }
    return sorted(found, key=lambda one: one.__qualname__)


def bounded(annotation: Any) -> Iterator[Any]:
    """Yield the annotated types with bounds that stand anywhere in an annotation."""
    if get_origin(annotation) is Annotated:
        if any(isinstance(one, Le) for one in flattened(annotation)):
            yield annotation
        return
    for part in get_args(annotation):
        yield from bounded(part)


def flattened(annotation: Any) -> list[Any]:
    found: list[Any] = []
    for one in annotation.__metadata__:
        found += getattr(one, "metadata", None) or [one]
    return found


def bounds_of_all_fields() -> dict[str, Any]:
    return {
        f"{model.__name__}.{name}": annotation
        for model in models()
        for name, field in model.model_fields.items()
        for annotation in bounded(field.rebuild_annotation())
    }


def test_every_bounded_field_takes_rounding_and_refuses_the_rest() -> None:
    found = bounds_of_all_fields()
    assert {"Baseline.accuracy", "StageMetrics.per_class_recall", "ClassifierPair.kappa"} <= set(
        found
    )
    assert len(found) > 40
    for name, annotation in found.items():
        metadata = flattened(annotation)
        low = next(one.ge for one in metadata if isinstance(one, Ge))
        high = next(one.le for one in metadata if isinstance(one, Le))
        take = TypeAdapter(annotation).validate_python
        assert take(np.float32(1.0000001)) == high == 1, name
        assert take(high + 1e-6) == high, name
        assert take(low - 1e-7) == low, name
        assert take(0.25) == 0.25, name
        for wrong in (high + 0.001, low - 0.001, math.nan, math.inf, "many"):
            with pytest.raises(ValidationError):
                take(wrong)


def test_shares_summed_in_float32_can_be_recorded() -> None:
    """Seed 1 of a small demo: the evidence in the outermost places was 1.0000001192 of it all."""
    rng = np.random.default_rng(0)
    sums = []
    for _ in range(200):
        maps = rng.random((24, 7, 7), dtype=np.float32)
        spread = maps / maps.sum(axis=(1, 2), keepdims=True)
        sums.append(float(spread.mean(axis=0).sum()))
    assert max(sums) > 1
    assert all(0 <= TypeAdapter(Rate).validate_python(one) <= 1 for one in sums)


finite = st.floats(0, 60000, width=16)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(data=st.data(), count=st.integers(1, 4))
def test_any_maps_give_an_agreement_that_can_be_recorded(data: st.DataObject, count: int) -> None:
    grids = [data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5))) for _ in range(2)]
    first, second = (
        data.draw(arrays(np.float16, (count, *grid), elements=finite)) for grid in grids
    )
    pair = MapPair(tuple(map(str, range(count))), np.arange(count) % 2, first, second)
    found = agreement(pair, ["a", "b"], draws=3)
    assert type(found).model_validate_json(found.model_dump_json()) == found
    if grids[0] == grids[1]:
        moved = movement(pair, ["a", "b"], draws=3)
        assert type(moved).model_validate_json(moved.model_dump_json()) == moved


@settings(deadline=None, derandomize=True, max_examples=60)
@given(data=st.data(), count=st.integers(1, 6), classes=st.integers(2, 4))
def test_any_answers_give_a_pair_and_a_calibration_that_can_be_recorded(
    data: st.DataObject, count: int, classes: int
) -> None:
    def answers() -> Predictions:
        shares = data.draw(
            arrays(np.float32, (count, classes), elements=st.floats(0.0, 1.0, width=32))
        )
        sure = np.float32(1.0000001) * shares / np.maximum(shares.sum(1, keepdims=True), 1e-6)
        return Predictions(tuple(map(str, range(count))), np.arange(count) % classes, sure)

    one, two = answers(), answers()
    names = [f"c{k}" for k in range(classes)]
    pair = compare_pair("finetuning", ("a", "b"), (one, two), names, draws=3)
    assert type(pair).model_validate_json(pair.model_dump_json()) == pair
    found = calibration(one.labels, one.probabilities, draws=3)
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_what_chance_gives_is_never_more_than_all() -> None:
    for places in range(1, 40):
        assert overlap_by_chance(places, places, places) <= 1
    for count in range(2, 60):
        half = np.arange(count) % 2
        assert -1 <= (kappa(half, 1 - half) or 0) <= 0
    assert all(mcnemar(20, other).p <= 1 for other in range(60))
