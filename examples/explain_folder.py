"""Maps of a whole folder in one file, by a model whose output is no tensor of logits.

    python examples/explain_folder.py photos/ maps.npz

Expected: the number of pictures, and `maps.npz` with their maps (float16), predicted classes and
probabilities, written batch by batch: memory holds one batch, however many pictures there are. A
file that cannot be read ends the program here; `seewhy explain` sets it aside.

`Wrapped` stands for a model of yours, one that puts out a dictionary as Hugging Face's do. Where
the logits are called `logits` seewhy finds them by itself; here `target` says what to explain.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from seewhy import NamedClassifier, explain, open_classifier, read_images
from seewhy.data.sources.folder import list_pictures
from seewhy.explanation.streaming import explain_parts, write_explained

BATCH = 8


class Wrapped(nn.Module):
    """A classifier with a second answer beside its logits."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Return what the classes score and how bright the images are."""
        return {
            "classes": self.inner(pixel_values),
            "brightness": pixel_values.mean(dim=(2, 3)),
        }


def main(folder: Path, target: Path) -> None:
    """Explain every picture below a folder, then one picture through the wrapped model."""
    named = open_classifier("timm:tf_efficientnet_lite0")
    paths = list_pictures(folder)

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(paths), BATCH):
            yield read_images(paths[start : start + BATCH], named)

    count = write_explained(target, explain_parts(named.module, batches()))
    print(f"{count} pictures in {target}")
    show_wrapped(named, paths[0])


def show_wrapped(named: NamedClassifier, path: Path) -> None:
    """Ask the model with two answers about its classes."""
    model = Wrapped(named.module)
    found = explain(model, read_images(path, named), target=lambda output: output["classes"])
    print(f"{path.name}: {named.classes[int(found.predicted[0])]}, by {found.layer}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
