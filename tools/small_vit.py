"""A small vision transformer, trained in a few minutes on a few photographs, to show LeGrad on.

The hybrid of Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (arXiv 2010.11929),
section 3.1: the tokens are the places of a convolutional network's feature map, here the last one
of the pretrained tf_efficientnet_lite0 at 448×448, 14×14 places. That part stays as it is; a
projection and three blocks behind it are trained from random weights. Each
photograph passes the frozen part once, and once more a crop. Knows nothing of maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers import HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from seewhy import NamedClassifier, open_classifier
from seewhy.data.decoding.fit import Fit
from seewhy.data.pixels import to_input
from seewhy.data.sources.folder import list_folder
from seewhy.errors import DataError
from seewhy.explanation.layer_choice import choose_layer

SIZE, CROPS = 448, 5
WIDTH, DEPTH, HEADS = 96, 3, 4
EPOCHS, BATCH, RATE = 10, 20, 1e-3
FOLDS = 6


@dataclass(frozen=True)
class SmallVit:
    """A transformer that never saw some photographs, and what such transformers are worth.

    Attributes
    ----------
    classifier : NamedClassifier
        The first fold's, trained on all photographs but that fold's.
    right, photographs : int
        How many were classified rightly by the network that was not trained on them, of how many.
    own_right, own_by_mean, own_photographs : int
        The same for the first fold alone; and how many by the mean of the last block's tokens.
    """

    classifier: NamedClassifier
    right: int
    photographs: int
    own_right: int
    own_by_mean: int
    own_photographs: int


def train_small_vit(folder: Path, held_out: Sequence[Path], pooling: str) -> SmallVit:
    """Train a transformer a fold; hand on the one that was not trained on the photographs named.

    Parameters
    ----------
    folder : Path
        Of class folders.
    held_out : sequence of Path
        Photographs in it.
    pooling : {"token", "avg"}
        What the head reads: a class token, or the mean of all tokens.

    Raises
    ------
    DataError
        Where one is not there.
    """
    base = open_classifier("timm:tf_efficientnet_lite0", size=SIZE, device="cpu")
    stem = nn.Sequential(base.module.conv_stem, base.module.bn1, *base.module.blocks)
    listing = list_folder(folder, None, base.max_megapixels)
    places = {(folder / name).resolve(): k for k, name in enumerate(listing.paths)}
    for path in held_out:
        if path.resolve() not in places:
            raise DataError(f"{path}: expected a photograph in a class folder of {folder}")
    first = [places[path.resolve()] for path in held_out]
    folds, labels = divide(listing.labels, first), torch.from_numpy(listing.labels)
    squares = np.stack([Fit(SIZE).picture(listing.load(k)) for k in range(len(labels))])
    features = keep_features(stem, torch.from_numpy(squares), base)
    networks, right = [], []
    for fold in range(FOLDS):
        network = build(stem, SIZE, len(listing.classes), pooling, seed=fold)
        fit(network, features[folds != fold], labels[folds != fold], seed=fold)
        answers = answer(network, features[folds == fold, 0])
        right.append(int((answers == labels[folds == fold]).sum()))
        networks.append(network)
    by_mean = answer_by_mean(networks[0], features[folds == 0, 0])
    classifier = replace(
        base,
        name="small hybrid ViT",
        weights="trained here",
        module=networks[0],
        classes=listing.classes,
        labels=listing.classes,
        layer=choose_layer(networks[0], torch.zeros(1, 3, SIZE, SIZE)),
    )
    return SmallVit(
        classifier,
        right=sum(right),
        photographs=len(labels),
        own_right=right[0],
        own_by_mean=int((by_mean == labels[folds == 0]).sum()),
        own_photographs=len(by_mean),
    )


def divide(labels: NDArray[np.int64], first: Sequence[int]) -> Tensor:
    """Draw each photograph's fold (N,), class by class; those of `first` lie in fold 0.

    Raises
    ------
    DataError
        Where so many of a class are asked for that they fill more than a fold.
    """
    folds = torch.empty(len(labels), dtype=torch.int64)
    generator = np.random.default_rng(0)
    for label in np.unique(labels):
        drawn = generator.permutation(np.flatnonzero(labels == label))
        asked = np.isin(drawn, first)
        order = np.concatenate([drawn[asked], drawn[~asked]])
        folds[order] = torch.arange(len(order)) * FOLDS // len(order)
    if folds[list(first)].any():
        raise DataError(f"expected at most one in {FOLDS} photographs of a class to be held out")
    return folds


def keep_features(stem: nn.Module, squares: Tensor, base: NamedClassifier) -> Tensor:
    """Send photographs and crops of them, half of those mirrored, through the frozen part.

    Parameters
    ----------
    stem : nn.Module
    squares : Tensor of uint8, (N, S, S, 3)
    base : NamedClassifier
        Whose preprocessing the frozen part wants.

    Returns
    -------
    Tensor of float16, (N, 1 + CROPS, C, h, w)
        The whole square first.
    """
    generator = torch.Generator().manual_seed(0)
    kept = []
    for names in ((), *[("crop", "flip")] * CROPS):
        inputs = (to_input(s, base.preprocess, "cpu", names, generator) for s in squares.split(20))
        with torch.no_grad():
            kept.append(torch.cat([stem(batch).half() for batch in inputs]))
    return torch.stack(kept, dim=1)


def build(stem: nn.Module, size: int, classes: int, pooling: str, seed: int) -> VisionTransformer:
    """Return a transformer of random weights on the feature map of a convolutional network."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return VisionTransformer(
            img_size=size,
            patch_size=1,
            num_classes=classes,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=HEADS,
            mlp_ratio=2,
            global_pool=pooling,
            class_token=pooling == "token",
            proj_drop_rate=0.1,
            embed_layer=partial(HybridEmbed, backbone=stem),
        ).eval()


def fit(network: VisionTransformer, features: Tensor, labels: Tensor, seed: int) -> None:
    """Train all but the frozen part, on its features (N, crops, C, h, w), one crop an epoch."""
    generator = torch.Generator().manual_seed(seed)
    stem, network.patch_embed.backbone = network.patch_embed.backbone, nn.Identity()
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.05)
    steps = EPOCHS * -(-len(labels) // BATCH)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # dropout's
        network.train()
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(labels), generator=generator).split(BATCH):
                crops = torch.randint(features.shape[1], rows.shape, generator=generator)
                loss = F.cross_entropy(network(features[rows, crops].float()), labels[rows])
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                pace.step()
    network.patch_embed.backbone = stem
    network.eval().requires_grad_(False)


def answer(network: VisionTransformer, features: Tensor) -> Tensor:
    """Return the classes (N,) predicted from kept features (N, C, h, w)."""
    stem, network.patch_embed.backbone = network.patch_embed.backbone, nn.Identity()
    with torch.no_grad():
        found = network(features.float()).argmax(dim=1)
    network.patch_embed.backbone = stem
    return found


def answer_by_mean(network: VisionTransformer, features: Tensor) -> Tensor:
    """Return what the mean of the last block's tokens is taken for, which is what LeGrad asks."""
    handle = network.blocks[-1].register_forward_hook(
        lambda block, inputs, tokens: tokens.mean(dim=1, keepdim=True).expand_as(tokens)
    )
    try:
        return answer(network, features)
    finally:
        handle.remove()
