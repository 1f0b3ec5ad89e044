"""How the audit accesses a classifier: pixels in, probabilities and evidence out.

The only module of the audit that knows networks. Everything else works on NumPy arrays and can be
tested with a classifier written by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seewhy.data.pixels import to_input
from seewhy.explanation.explain import explain
from seewhy.explanation.layers import list_layers
from seewhy.explanation.thread_turns import hooked
from seewhy.models.classifier import Classifier
from seewhy.runtime.device import Compute

BATCH = 32
# A mark of a tenth of the side is lost in a map with fewer places than this.
FEWEST_PLACES = 8


class ClassifierAccess(Protocol):
    """What the audit needs of a classifier.

    `pixels` are uint8 of the data set's working size, (B, H, W, 3).
    """

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probability of every class, (B, K)."""
        ...

    def evidence(
        self, pixels: NDArray[np.uint8], classes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return how much each place speaks for the given class, (B, h, w), never negative."""
        ...

    def gathered(self, pixels: NDArray[np.uint8], maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return activations weighted by the maps: one vector per image, (B, C)."""
        ...


@dataclass(frozen=True)
class StudyClassifierAccess:
    """A study's classifier, on the device and in evaluation mode, as the audit accesses it.

    The activations and gradients of `layer` give the evidence; see `evidence_layer`.
    """

    classifier: Classifier
    compute: Compute
    layer: str

    @torch.no_grad()
    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probability of every class, (B, K), in batches of a bounded size."""
        found = []
        for start in range(0, len(pixels), BATCH):
            with self.compute.autocast():
                logits = self.classifier(self._input(pixels[start : start + BATCH]))
            found.append(logits.float().softmax(dim=1).cpu())
        return torch.cat(found).numpy() if found else np.empty((0, 0), np.float32)

    def evidence(
        self, pixels: NDArray[np.uint8], classes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return LayerCAM maps of the given classes, (B, h, w) float32.

        References
        ----------
        Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
        IEEE TIP 2021: it stays sharp before the last layer, where a small mark is still small.
        """
        found = []
        for start in range(0, len(pixels), BATCH):
            labels = torch.from_numpy(classes[start : start + BATCH]).to(self.compute.device)
            batch = self._input(pixels[start : start + BATCH])
            with self.compute.autocast():
                maps = explain(
                    self.classifier, batch, classes=labels, layer=self.layer, method="layercam"
                ).maps
            found.append(maps[:, 0].float().cpu())
        return torch.cat(found).numpy()

    @torch.no_grad()
    def gathered(self, pixels: NDArray[np.uint8], maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean of the layer's activations, weighted by the maps, (B, C) float32."""
        seen: list[Tensor] = []
        layer = self.classifier.get_submodule(self.layer)
        found = []
        with hooked([(layer, lambda module, given, out: seen.append(out))]):
            for start in range(0, len(pixels), BATCH):
                with self.compute.autocast():
                    self.classifier(self._input(pixels[start : start + BATCH]))
                weights = torch.from_numpy(maps[start : start + BATCH]).to(seen[-1].device)
                total = weights.sum(dim=(1, 2)).clamp_min(1e-12)[:, None]
                summed = torch.einsum("bchw,bhw->bc", seen.pop().float(), weights)
                found.append((summed / total).cpu())
        return torch.cat(found).numpy()

    def _input(self, pixels: NDArray[np.uint8]) -> Tensor:
        kept = torch.from_numpy(np.ascontiguousarray(pixels))
        return to_input(kept, self.classifier.design.preprocess, self.compute.device)


def evidence_layer(classifier: Classifier) -> str:
    """Return the last layer after the cut whose map is fine enough to hold a small mark.

    It has a map of at least `FEWEST_PLACES` per side; where there is none, the finest map counts.
    """
    device = next(classifier.parameters()).device
    image = torch.zeros(1, 3, *classifier.design.preprocess.sides, device=device)
    places = {
        layer.name: min(layer.shape[-2:])
        for layer in list_layers(classifier, image)
        if layer.is_map and len(layer.shape) == 4 and layer.name.startswith("tail_and_head.tail.")
    }
    if not places:
        return classifier.map_layer
    fine = [name for name, side in places.items() if side >= FEWEST_PLACES]
    return fine[-1] if fine else max(places, key=lambda name: places[name])
