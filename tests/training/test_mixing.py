"""Mixed activations: shares, partners and boxes, by hand and in their distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest

from seewhy.training.mixing import Mixing, beta_share


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(count: int = 6, side: int = 8) -> torch.Tensor:
    return torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 2, side, side).clone()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    generator = _generator(1)
    shares = [beta_share(alpha, generator) for _ in range(3000)]
    assert kstest(shares, beta(alpha, alpha).cdf).pvalue > 0.01


def test_mixup_is_the_weighted_sum_of_an_image_and_its_partner() -> None:
    batch = _batch()
    mixed = Mixing(0.5, 0.0)(batch.clone(), _generator())
    expected = mixed.share * batch + (1 - mixed.share) * batch[mixed.partners]
    torch.testing.assert_close(mixed.inputs, expected)
    assert sorted(mixed.partners.tolist()) == list(range(6))


def test_cutmix_puts_a_box_of_the_partner_in_and_its_share_is_what_is_left() -> None:
    batch = _batch()
    for seed in range(30):
        mixed = Mixing(0.0, 1.0)(batch.clone(), _generator(seed))
        partners = batch[mixed.partners]
        own, given = mixed.inputs == batch, mixed.inputs == partners
        assert bool((own | given).all())
        k = next(k for k in range(6) if mixed.partners[k] != k)
        inside = given[k, 0] & ~own[k, 0]
        rows, columns = inside.any(dim=1), inside.any(dim=0)
        assert torch.equal(inside, rows[:, None] & columns)  # one box
        assert mixed.share == pytest.approx(1 - inside.float().mean().item())


def test_with_both_on_a_batch_takes_either_equally_often() -> None:
    mixing, generator = Mixing(0.4, 1.0), _generator(7)
    kinds = []
    for _ in range(400):
        batch = torch.randn(5, 1, 6, 6, generator=generator)
        mixed = mixing(batch.clone(), generator)
        k = next((k for k in range(5) if mixed.partners[k] != k), None)
        if k is None:
            continue
        pure = (mixed.inputs[k] == batch[k]) | (mixed.inputs[k] == batch[mixed.partners[k]])
        kinds.append(bool(pure.all()))
    assert np.mean(kinds) == pytest.approx(0.5, abs=0.1)


def test_equal_generators_mix_equally() -> None:
    one = Mixing(0.2, 0.0)(_batch(), _generator(3))
    other = Mixing(0.2, 0.0)(_batch(), _generator(3))
    assert one.share == other.share
    assert torch.equal(one.inputs, other.inputs)


def test_it_is_off_where_neither_is_on() -> None:
    assert not Mixing(0.0, 0.0)
    assert Mixing(0.1, 0.0)
    assert Mixing(0.0, 0.1)
