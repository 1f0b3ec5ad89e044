"""What maps cost beside plain prediction and beside other libraries, in one run: `make bench`.

    python -m benchmarks.explain --model vgg16 --images 4 --rounds 3
    python -m benchmarks.explain --ours --images 16 --rounds 5

Grad-CAM of one given class an image and of all ten, at the same layer for all. Each library runs
as its README shows it, and again with channels-last and the graph recorded only from the target
layer's last weights on, which any of them allows. Before anything is timed, each library's maps
are held against ours. Images and weights are random: the time does not depend on them.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.metadata
import io
import platform
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.side_by_side import Measurement, measure, show
from seewhy import explain

CLASSES = 10
MODELS = ("resnet50", "vgg16", "tf_efficientnet_lite0", "vit_small_patch16_224")
PEERS = ("pytorch-grad-cam", "torchcam", "Captum")
_PACKAGES = {"pytorch-grad-cam": "grad-cam", "torchcam": "torchcam", "Captum": "captum"}


@dataclass(frozen=True)
class Case:
    """What is explained.

    Attributes
    ----------
    model : str
        A timm name.
    images, size : int
    columns : int
        Classes an image, 1 or all ten.
    device : str
    tuned : bool, default True
        Channels-last, and the graph only from the target layer on.
    """

    model: str
    images: int
    size: int
    columns: int
    device: str
    tuned: bool = True

    def load(self) -> tuple[nn.Module, Tensor, str]:
        """Return the network, evaluating, a batch, and the target layer's name."""
        torch.manual_seed(0)
        model = timm.create_model(self.model, num_classes=CLASSES).eval()
        images = torch.randn(self.images, 3, self.size, self.size)
        if self.tuned:
            model = model.to(memory_format=torch.channels_last)
            images = images.to(memory_format=torch.channels_last)
        model, images = model.to(self.device), images.to(self.device)
        return model, images, explain(model, images[:1]).layer

    def labels(self) -> list[list[int]]:
        """Return the classes to explain: columns of one class an image."""
        return [[(n + k) % CLASSES for n in range(self.images)] for k in range(self.columns)]


# The maps of one column of classes after the other, (N, h, w) each.
Work = Callable[[], list[Tensor]]


def plain(case: Case) -> Work:
    """Return prediction alone."""
    model, images, _ = case.load()

    def work() -> list[Tensor]:
        with torch.inference_mode():
            model(images).softmax(dim=1).cpu()
        return []

    return work


def seewhy(case: Case) -> Work:
    """Return our maps; predictions come with them."""
    model, images, layer = case.load()
    classes = torch.tensor(case.labels(), device=images.device).t()

    def work() -> list[Tensor]:
        chosen = "all" if case.columns == CLASSES else classes
        found = explain(model, images, chosen, layer)
        # Classes come in their own order, columns shift by one an image.
        return list(found.maps.gather(1, _places(found.classes, classes, found.maps)).unbind(1))

    return work


def _places(known: Tensor, wanted: Tensor, maps: Tensor) -> Tensor:
    found = (known[:, None, :] == wanted[:, :, None]).int().argmax(dim=2)
    return found[:, :, None, None].expand(-1, -1, *maps.shape[2:])


def _only_behind(model: nn.Module, layer: str) -> None:
    """Let only the last weights at or before the layer ask for a gradient: the graph begins there.

    The network is walked in the order in which its modules are named.
    """
    model.requires_grad_(False)
    names = [name for name, _ in model.named_modules()]
    inside = [n for n in names if n == layer or n.startswith(layer + ".")]
    until = names[: names.index(inside[-1]) + 1]
    modules = dict(model.named_modules())
    weighted = [n for n in until if next(modules[n].parameters(recurse=False), None) is not None]
    modules[weighted[-1]].requires_grad_(True)


def _reshape(tokens: Tensor) -> Tensor:
    """Return a vision transformer's patches as maps, as pytorch-grad-cam's README has it."""
    side = int((tokens.shape[1] - 1) ** 0.5)
    patches = tokens[:, 1:].reshape(len(tokens), side, side, tokens.shape[2])
    return patches.permute(0, 3, 1, 2)


def _peer_case(case: Case) -> tuple[nn.Module, Tensor, str, dict[str, Any]]:
    model, images, layer = case.load()
    if case.tuned:
        _only_behind(model, layer)
    return model, images, layer, {"reshape_transform": _reshape} if "vit" in case.model else {}


def pytorch_grad_cam(case: Case) -> Work:
    """Return pytorch-grad-cam's maps: a call a class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    model, images, layer, options = _peer_case(case)
    peer = GradCAM(model=model, target_layers=[model.get_submodule(layer)], **options)

    def work() -> list[Tensor]:
        return [
            torch.from_numpy(peer(images, [ClassifierOutputTarget(c) for c in column]))
            for column in case.labels()
        ]

    return work


def torchcam(case: Case) -> Work:
    """Return torchcam's maps: one forward pass, a backward pass a class."""
    from torchcam.methods import GradCAM

    model, images, layer, options = _peer_case(case)
    peer = GradCAM(model, layer, **options)

    def work() -> list[Tensor]:
        scores = model(images)
        columns = case.labels()
        return [
            peer(column, scores, retain_graph=k + 1 < len(columns))[0]
            for k, column in enumerate(columns)
        ]

    return work


def captum(case: Case) -> Work:
    """Return Captum's maps: a call a class."""
    from captum.attr import LayerGradCam

    model, images, layer, _ = _peer_case(case)
    peer = LayerGradCam(model, model.get_submodule(layer))

    def work() -> list[Tensor]:
        return [
            peer.attribute(images, torch.tensor(column), relu_attributions=True)[:, 0].detach()
            for column in case.labels()
        ]

    return work


LIBRARIES: dict[str, Callable[[Case], Work]] = {
    "pytorch-grad-cam": pytorch_grad_cam,
    "torchcam": torchcam,
    "Captum": captum,
}


def supported(peer: str, case: Case) -> bool:
    """Say whether a library can explain tokens: Captum takes its channels from axis 1."""
    return not (peer == "Captum" and "vit" in case.model)


def agreement(peer: str, case: Case) -> float:
    """Return the least correlation of a library's maps with ours, over maps that are not empty.

    Both are brought to the images' size first, as the libraries do; correlation does not mind
    that some scale their maps to 0 … 1.
    """
    case = replace(case, images=2, columns=2)
    ours = torch.stack([_resized(maps, case.size) for maps in seewhy(case)()])
    with contextlib.redirect_stderr(io.StringIO()):
        theirs = torch.stack([_resized(maps, case.size) for maps in LIBRARIES[peer](case)()])
    full = ours.flatten(2).amax(dim=2) > 0
    if not full.any():
        raise AssertionError(f"{case.model}: every map is empty; nothing can be compared")
    pairs = torch.stack([ours[full].flatten(1), theirs[full].flatten(1)], dim=1)
    return min(float(torch.corrcoef(pair)[0, 1]) for pair in pairs)


def _resized(maps: Tensor, side: int) -> Tensor:
    maps = maps.detach().float().cpu()[:, None]
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)[:, 0]


def timed(way: Callable[[Case], Work], case: Case) -> Callable[[], None]:
    """Return one round: the work, and the device at rest."""
    work = way(case)

    def once() -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            work()
        if case.device == "cuda":
            torch.cuda.synchronize()

    return once


def ways(case: Case, ours: bool) -> dict[str, Callable[[], Callable[[], None]]]:
    """Return what is measured, by name; the first is what all are compared with."""
    found = {
        "plain prediction, channels-last": functools.partial(timed, plain, case),
        "seewhy": functools.partial(timed, seewhy, case),
    }
    if ours:
        return found
    untuned = replace(case, tuned=False)
    found["plain prediction"] = functools.partial(timed, plain, untuned)
    for peer, way in LIBRARIES.items():
        if supported(peer, case):
            found[f"{peer}, as its README"] = functools.partial(timed, way, untuned)
            found[f"{peer}, tuned"] = functools.partial(timed, way, case)
    return found


def check(case: Case) -> None:
    """Print how far the libraries' maps agree with ours; stop where they are not the same maps."""
    for peer in PEERS:
        if not supported(peer, case):
            print(f"  {peer}: cannot explain tokens, it takes channels from axis 1")
            continue
        for tuned in (False, True):
            least = agreement(peer, replace(case, tuned=tuned))
            print(f"  {peer}{', tuned' if tuned else ''}: correlation with ours {least:.6f}")
            if not least >= 0.999:
                raise SystemExit(f"{case.model}: {peer} makes other maps; times would not compare")


def show_rates(case: Case, found: list[Measurement]) -> None:
    """Print images a second, and how much faster we are than the fastest library."""
    # By what was spent on one processor where each process has a single thread, else by the clock.
    alone = torch.get_num_threads() == 1 and case.device == "cpu"
    rates = {
        w.name: case.images / statistics.median(w.spent if alone else w.seconds) for w in found
    }
    print("  images a second: " + "; ".join(f"{name} {rate:.2f}" for name, rate in rates.items()))
    peers = {name: rate for name, rate in rates.items() if name.startswith(PEERS)}
    for kind in ("README", "tuned"):
        fastest = max((n for n in peers if n.endswith(kind)), key=peers.__getitem__, default=None)
        if fastest is not None:
            print(f"  seewhy is {rates['seewhy'] / peers[fastest]:.2f} times as fast as {fastest}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", action="append")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--classes", type=int, action="append", choices=(1, CLASSES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--ours", action="store_true", help="leave the other libraries out")
    arguments = parser.parse_args()
    versions = [f"{peer} {importlib.metadata.version(_PACKAGES[peer])}" for peer in PEERS]
    print(
        f"PyTorch {torch.__version__}, timm {timm.__version__}, {', '.join(versions)}; "
        f"{arguments.device}, {torch.get_num_threads()} threads, {platform.machine()}; "
        f"{arguments.images} images at {arguments.size} pixels, {arguments.rounds} rounds"
    )
    for name in arguments.model or MODELS:
        for columns in arguments.classes or (1, CLASSES):
            case = Case(name, arguments.images, arguments.size, columns, arguments.device)
            if not arguments.ours and columns == (arguments.classes or [1])[0]:
                check(case)
            found = measure(ways(case, arguments.ours), arguments.rounds)
            show(f"{name}: {columns} class{'es' if columns > 1 else ''} an image", found)
            show_rates(case, found)


if __name__ == "__main__":
    main()
