"""Predictions of chosen images, from features and from the cut, against the networks' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from seewhy.evaluation.predictions import predict_at_cut, predict_pooled
from seewhy.models.classifier import Head, TailAndHead, pool
from seewhy.runtime.device import Compute
from seewhy.storage.schemas.dataset import Dataset

CPU = Compute(torch.device("cpu"), "float32", "a test")
COUNT = 150


@pytest.fixture
def data() -> Dataset:
    return Dataset(
        source="a test",
        classes=("a", "b", "c"),
        ids=tuple(f"id{k}" for k in range(COUNT)),
        paths=tuple(f"{k}.png" for k in range(COUNT)),
        labels=np.arange(COUNT) % 3,
        splits=("train",) * COUNT,
        pixels=np.zeros((COUNT, 1, 1, 3), dtype=np.uint8),
    )


def test_both_ways_give_the_chosen_images_the_softmax_of_their_logits(data: Dataset) -> None:
    maps = torch.randn(COUNT, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    head = Head(4, (5,), 0.5, 3, seed=1).train()
    indices = np.arange(COUNT)[::-2].copy()  # more than a batch of them, in an order of their own
    pooled = predict_pooled(head, pool(maps), data, indices)
    assert pooled.ids == tuple(f"id{k}" for k in indices)
    assert pooled.labels.tolist() == (indices % 3).tolist()
    with torch.no_grad():
        expected = head.eval().classify(maps[indices].mean((2, 3))).softmax(1).numpy()
    np.testing.assert_allclose(pooled.probabilities, expected, rtol=1e-5)
    tail_and_head = TailAndHead(nn.Dropout(0.5), head).train()
    at_cut = predict_at_cut(tail_and_head, lambda chosen: maps[chosen], data, indices, CPU)
    assert (at_cut.ids, at_cut.probabilities.dtype) == (pooled.ids, np.float32)
    np.testing.assert_allclose(at_cut.probabilities, expected, rtol=1e-5)
    none = predict_at_cut(tail_and_head, lambda chosen: maps[chosen], data, indices[:0], CPU)
    assert none.probabilities.shape == (0, 3)
