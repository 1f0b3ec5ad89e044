"""Which device and precision are taken, and why."""

from __future__ import annotations

import pytest
import torch

from seewhy.errors import ConfigError
from seewhy.runtime.device import Compute, choose_compute, repeatable, seeded


def test_what_is_asked_for_is_taken() -> None:
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        found = choose_compute("cpu", precision)
        assert (found.device.type, found.precision, found.dtype) == ("cpu", precision, dtype)
        with found.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize(("has_amx", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_auto_takes_bfloat16_where_there_are_matrix_units(
    monkeypatch: pytest.MonkeyPatch, has_amx: bool, precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    found = choose_compute("cpu", "auto")
    assert found.precision == precision
    assert "matrix units" in found.reason


def test_auto_takes_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_compute("auto", "float32").device == torch.device("cpu")
    with pytest.raises(ConfigError, match="this machine has 0 CUDA devices"):
        choose_compute("cuda", "float32")


def test_settings_and_random_state_are_given_back() -> None:
    compute = Compute(torch.device("cpu"), "float32", "a test")
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, torch.get_rng_state()
    with repeatable(compute), seeded(compute, 4):
        drawn = torch.rand(2)
    assert torch.equal(drawn, torch.rand(2, generator=torch.Generator().manual_seed(4)))
    assert (cudnn.deterministic, cudnn.benchmark) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])
