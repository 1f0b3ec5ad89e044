"""A stage after its last finished epoch, in one safetensors file, so that it can resume there.

It holds the weights, their average where there is one, the optimiser's state, the best epoch's
weights and the history. Of random state there is only the seed to keep: an epoch draws from seed,
stage and its number alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from seewhy.errors import RunError
from seewhy.storage.atomic_writing import writing
from seewhy.storage.schemas.training import Epoch
from seewhy.training.trainer import BestEpoch, Learner, StageSettings, ValidationScores


class Checkpoint:
    """Keeps one stage of a study between its epochs.

    Parameters
    ----------
    path : Path
        The file; it need not exist yet.
    settings : StageSettings
        What trained otherwise is not resumed.
    """

    def __init__(self, path: Path, settings: StageSettings) -> None:
        self.path = path
        self._settings = json.dumps(asdict(settings))

    def restore(self, learner: Learner, best: BestEpoch) -> list[Epoch]:
        """Put module, optimiser and best epoch where they were; return the epochs behind it.

        Raises
        ------
        RunError
            Where the file is damaged or belongs to another head.
        """
        if not self.path.is_file():
            return []
        try:
            with safe_open(self.path, framework="pt") as stored:
                said = stored.metadata() or {}
                if said["settings"] != self._settings:
                    return []
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            learner.module.load_state_dict(_under(tensors, "module."))
            if learner.kept is not learner.module:
                learner.kept.load_state_dict(_under(tensors, "kept."))
            load_optimizer(learner.optimizer, _under(tensors, "optimizer."))
            best.state = {
                name: tensors[f"best.{name}"].to(mine.device)
                for name, mine in learner.module.state_dict().items()
            }
            kept: dict[str, Any] = json.loads(said["best"])
            best.epoch, best.scores = kept["epoch"], ValidationScores(*kept["scores"])
            return [Epoch(**epoch) for epoch in json.loads(said["history"])]
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(
                f"{self.path}: cannot be resumed ({reason}); delete it to repeat the stage"
            ) from error

    def keep(self, learner: Learner, best: BestEpoch, history: list[Epoch]) -> None:
        """Keep what is there after the last epoch of `history`, atomically.

        Raises
        ------
        RunError
            Where the disk is full or the place cannot be written.
        """
        parts = {
            "module.": learner.module.state_dict(),
            "optimizer.": optimizer_tensors(learner.optimizer),
            "best.": best.state,
        }
        if learner.kept is not learner.module:
            parts["kept."] = learner.kept.state_dict()
        tensors = {
            prefix + name: tensor.detach().cpu().contiguous()
            for prefix, part in parts.items()
            for name, tensor in part.items()
        }
        said = {
            "settings": self._settings,
            "best": json.dumps({"epoch": best.epoch, "scores": best.scores}),
            "history": json.dumps([asdict(epoch) for epoch in history]),
        }
        with writing(self.path) as part:
            part.write_bytes(save(tensors, metadata=said))


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return an optimizer's state by name: ``0.exp_avg`` for the first parameter's mean."""
    return {
        f"{k}.{name}": tensor
        for k, state in optimizer.state_dict()["state"].items()
        for name, tensor in state.items()
    }


def load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put the state that `optimizer_tensors` gave into an optimizer of the same parameters.

    Raises
    ------
    KeyError
        Where a parameter's state lacks a tensor, or has one that others lack.
    RuntimeError
        Where a tensor has another shape than its parameter.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        k, name = key.split(".", 1)
        # In the parameter's memory layout: the fused kernels read both in the order of memory.
        like = tensor if name == "step" else parameters[int(k)]
        states.setdefault(int(k), {})[name] = torch.empty_like(like).copy_(tensor)
    if len({frozenset(state) for state in states.values()}) > 1:
        raise KeyError("the parameters have different optimizer states")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
