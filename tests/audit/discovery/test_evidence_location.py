"""Where evidence is, against maps whose shares can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from seewhy.audit.discovery.evidence_location import hottest, locate_evidence, share_outside


def test_shares_and_excess_of_counted_maps() -> None:
    even = np.ones((2, 4, 4), np.float32)
    corner = np.zeros((2, 4, 4), np.float32)
    corner[:, 3, 0] = 5
    maps = np.concatenate([even, corner])
    first, second = locate_evidence(maps, np.array([0, 0, 1, 1]), 2)
    assert first is not None
    assert second is not None
    assert first.border == pytest.approx(12 / 16)
    assert first.corners == pytest.approx(4 / 16)
    assert first.concentration == pytest.approx(2 / 16)
    assert second.corners == 1
    # All its evidence against a sixteenth.
    assert second.excess == pytest.approx(16)
    assert second.peak == (3.5 / 4, 0.5 / 4)
    assert first.outside is None


def test_a_class_without_evidence_has_no_place() -> None:
    maps = np.concatenate([np.ones((2, 4, 4)), np.zeros((1, 4, 4))]).astype(np.float32)
    assert locate_evidence(maps, np.array([0, 1, 2]), 4)[2:] == [None, None]


def test_evidence_off_the_object() -> None:
    maps = np.array([[[1.0, 3.0], [0.0, 0.0]]], np.float32)
    masks = np.zeros((1, 4, 4), bool)
    masks[0, :2, 2:] = True  # the upper right place
    both = np.concatenate([maps, maps])
    found = locate_evidence(both, np.array([0, 1]), 2, np.concatenate([masks, ~masks]))
    assert [one.outside for one in found if one] == pytest.approx([0.25, 0.75])


def test_images_without_a_mask_are_not_off_the_object() -> None:
    maps = np.array([[[1.0, 3.0], [0.0, 0.0]]] * 4, np.float32)
    maps[2] = 0
    masks = np.zeros((4, 4, 4), bool)
    masks[[0, 2], :2, 2:] = True
    first, second = locate_evidence(maps, np.array([0, 0, 0, 1]), 2, masks)
    assert first is not None
    assert second is not None
    assert first.outside == pytest.approx(0.25)
    assert second.outside is None
    assert share_outside(maps, masks) == pytest.approx([0.25, np.nan, np.nan, np.nan], nan_ok=True)
    assert np.isnan(share_outside(maps, None)).all()


def test_the_hottest_place() -> None:
    maps = np.zeros((1, 4, 8), np.float32)
    maps[0, 2, 5] = 1
    assert hottest(maps).tolist() == [[2.5 / 4, 5.5 / 8]]


def test_an_empty_map_has_no_hottest_place() -> None:
    maps = np.zeros((3, 4, 8), np.float32)
    maps[1, 0, 0] = 1e-30
    found = hottest(maps)
    assert np.isnan(found[[0, 2]]).all()
    assert found[1].tolist() == [0.5 / 4, 0.5 / 8]
