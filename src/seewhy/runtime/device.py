"""Where tensors are multiplied, and in which precision.

Knows processors, not networks: a `Compute` is chosen once a study and handed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from seewhy.errors import ConfigError

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Compute:
    """A device and the precision its matrix products run in, with the reason for the log.

    bfloat16 means autocast: weights stay float32.
    """

    device: torch.device
    precision: Precision
    reason: str

    @property
    def dtype(self) -> torch.dtype:
        """What activations of convolutions come out as."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    @property
    def name(self) -> str:
        """The device's name, for people."""
        if self.device.type == "cuda":
            return f"{self.device} ({torch.cuda.get_device_name(self.device)})"
        return str(self.device)

    def autocast(self) -> torch.autocast:
        """Return the context that products run in."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )


def choose_compute(device: str, precision: str) -> Compute:
    """Turn the configuration's two words into a `Compute`.

    Parameters
    ----------
    device : str
        ``auto`` (the first CUDA GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    precision : {"auto", "float32", "bfloat16"}
        ``auto`` is bfloat16 where the processor has matrix units for it: CUDA GPUs from Ampere
        on, CPUs with AMX. A CPU that only has AVX-512's dot products trains VGG16 a third slower
        in bfloat16 than in float32 (docs/log.md), so it gets float32.

    Raises
    ------
    ConfigError
        For a device of another kind, and a CUDA device that this machine or this PyTorch does not
        have.
    """
    device = str(device)
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", device):
        raise ConfigError(f"device: expected auto, cpu, cuda or cuda:N, but got {device!r}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            raise ConfigError(
                f"device {device!r}: this machine has {count} CUDA devices that PyTorch "
                f"{torch.__version__} can use; choose cpu or auto"
            )
        chosen = torch.device("cuda", chosen.index or 0)
    if precision == "float32":
        return Compute(chosen, "float32", "asked for")
    if precision == "bfloat16":
        return Compute(chosen, "bfloat16", "asked for")
    if chosen.type == "cuda":
        with torch.cuda.device(chosen):
            has_units = torch.cuda.is_bf16_supported(including_emulation=False)
        kind = "the GPU"
    else:
        has_units = torch.cpu._is_amx_tile_supported()
        kind = "the processor"
    if has_units:
        return Compute(chosen, "bfloat16", f"{kind} has matrix units for it")
    return Compute(chosen, "float32", f"{kind} has no matrix units for bfloat16")


@contextmanager
def repeatable(compute: Compute) -> Iterator[None]:
    """Have cuDNN choose the same kernels every time, and float32 mean float32.

    Its settings are as before afterwards.
    """
    settings = torch.backends.cudnn
    before = settings.deterministic, settings.benchmark, settings.allow_tf32
    if compute.device.type == "cuda":
        settings.deterministic, settings.benchmark, settings.allow_tf32 = True, False, False
    try:
        yield
    finally:
        settings.deterministic, settings.benchmark, settings.allow_tf32 = before


@contextmanager
def without_denormals() -> Iterator[None]:
    """Have the processor take numbers below 1e-38 for zero; afterwards as it was before.

    Adam's moments of a unit that no longer learns shrink to such numbers and stay there; they
    change no weight, but processors multiply them many times slower (docs/log.md). Worker
    threads take the setting over when they start, so this comes before the first large product.
    """
    tiny = torch.tensor(1e-30)
    was_on = float(tiny * 1e-10) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_on)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute small things on one thread: several would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(compute: Compute, seed: int) -> Iterator[None]:
    """Seed what dropout draws from on this device; give the random state back afterwards."""
    on_cuda = compute.device.type == "cuda"
    with torch.random.fork_rng(devices=[compute.device] if on_cuda else []):
        # torch.manual_seed would also touch every other device, which nothing gives back.
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(compute.device):
                torch.cuda.manual_seed(seed)
        yield


def finish(device: torch.device) -> None:
    """Wait until a device has done what was asked of it, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
