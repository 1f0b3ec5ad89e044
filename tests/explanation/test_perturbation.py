"""Score-CAM and Ablation-CAM by hand, and how few forwards they take."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.methods.perturbation import ablationcam, scorecam

A = torch.tensor([[[[1.0, 3.0]], [[4.0, -8.0]]]])


def test_scorecam_formula() -> None:
    # Softmax of (log 3, 0) is (3/4, 1/4): [3/4 + 1, 9/4 - 2].
    scores = torch.tensor([[[3.0], [1.0]]]).log()
    torch.testing.assert_close(scorecam(A, scores), torch.tensor([[[[1.75, 0.25]]]]))


def test_ablationcam_formula() -> None:
    # Drops (5 - 1) / 5 and (5 - 7) / 5: [0.8 - 1.6, 2.4 + 3.2].
    found = ablationcam(A, torch.tensor([[5.0]]), torch.tensor([[[1.0], [7.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[[0.0, 5.6]]]]))
    # A negative score: from -5 to -7 is a drop all the same; [0.8·-1 + 0.4·4, -2.4 - 3.2].
    found = ablationcam(A, torch.tensor([[-5.0]]), torch.tensor([[[-1.0], [-7.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[[0.8, 0.0]]]]))
    # A score of zero: the drops as they are.
    found = ablationcam(A, torch.tensor([[0.0]]), torch.tensor([[[-1.0], [0.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[[1.0, 3.0]]]]))


class Tiny(nn.Module):
    """Channels x and 2 - x; class 0 is the mean of the first squared, class 1 of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.sizes: list[int] = []
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.conv.bias.copy_(torch.tensor([0.0, 2.0]))

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        return (self.conv(images) ** 2).mean((2, 3))


IMAGE = torch.tensor([[0.0, 1.0], [2.0, 1.0]]).view(1, 1, 2, 2)


def test_scorecam_on_a_network() -> None:
    # The map's resolution is the image's. Masks x / 2 and (2 - x) / 2, so the masked images are
    # (0, 1/2, 2, 1/2) and (0, 1/2, 0, 1/2). Class 0, mean of squares: 4.5 / 4 and 0.5 / 4; class
    # 1, of 2 - x: (4 + 2.25 + 0 + 2.25) / 4 and (4 + 2.25 + 4 + 2.25) / 4. Both differ by 1.
    found = explain(Tiny(), IMAGE, classes="all", layer="conv", method="scorecam")
    first = 1 / (1 + torch.e**-1)
    x = IMAGE[0, 0]
    torch.testing.assert_close(found.maps[0, 0], first * x + (1 - first) * (2 - x))
    torch.testing.assert_close(found.maps[0, 1], (1 - first) * x + first * (2 - x))


def test_a_channel_that_is_the_same_everywhere_masks_all() -> None:
    model = Tiny()
    with torch.no_grad():
        model.conv.weight[1] = 0
    # Masked images (0, 1/2, 2, 1/2) and zero: class 0 scores 4.5 / 4 and 0.
    found = explain(model, IMAGE, classes=[0], layer="conv", method="scorecam")
    first = 1 / (1 + torch.e ** (-4.5 / 4))
    torch.testing.assert_close(found.maps[0, 0], first * IMAGE[0, 0] + (1 - first) * 2)


def test_ablationcam_on_a_network() -> None:
    # Each class depends on one channel alone: without it the score drops to 0, a weight of 1.
    found = explain(Tiny(), IMAGE, classes="all", layer="conv", method="ablationcam")
    torch.testing.assert_close(found.maps[0, 0], IMAGE[0, 0])
    torch.testing.assert_close(found.maps[0, 1], 2 - IMAGE[0, 0])


def test_variants_run_in_batches() -> None:
    model = Tiny()
    images = torch.cat([IMAGE, IMAGE + 1, IMAGE * 3])
    explain(model, images, classes="all", layer="conv", method="scorecam", batch_size=1)
    # One forward for the images; then a forward pass per channel, whatever the number of classes.
    assert model.sizes == [3, *[1] * 6]
    model.sizes.clear()
    explain(model, images, layer="conv", method="scorecam", batch_size=2)
    assert model.sizes == [3, 2, 2, 2]
    model.sizes.clear()
    explain(model, images, layer="conv", method="ablationcam", batch_size=2)
    # Two variants and the unchanged output, of one image in front of the layer.
    assert model.sizes == [3, 1, 1, 1]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize("join", ["nothing", "sum", "concatenation"])
def test_ablation_behind_a_layer_is_ablation_of_the_whole(join: str, batch_size: int) -> None:
    class Joined(nn.Module):
        """What is before the target layer also goes around it."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.target = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 5, 1)
            self.fc = nn.Linear(10 if join == "concatenation" else 5, 4)

        def forward(self, images: Tensor, without: int | None = None) -> Tensor:
            before = self.first(images).relu()
            after = self.target(before)
            if without is not None:
                after = after.clone()
                after[:, without] = 0
            if join == "concatenation":
                after = torch.cat([before, after], dim=1)
            elif join == "sum":
                after = before + after
            return self.fc(F.gelu(after).mean((2, 3)))

    torch.manual_seed(0)
    model, images = Joined().eval(), torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        activations = model.target(model.first(images).relu())
        scores = model(images)
        ablated = torch.stack([model(images, without=k) for k in range(5)], dim=1)
    drops = (scores[:, None] - ablated) / scores.abs()[:, None]
    expected = torch.einsum("nck,nchw->nkhw", drops, activations).relu()
    found = explain(model, images, "all", "target", "ablationcam", batch_size=batch_size).maps
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_ablation_of_tokens_takes_the_channel_from_all_of_them() -> None:
    torch.manual_seed(0)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm, self.fc = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6), nn.Linear(6, 2)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.embed(images).flatten(2).transpose(1, 2)
            tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1)
            return self.fc(self.norm(tokens).square()[:, 0] + self.norm(tokens).amax(1))

    model, images = Tokens(), torch.randn(1, 3, 16, 16)
    found = explain(model, images, classes=[1], layer="norm@2", method="ablationcam")
    assert found.maps.shape == (1, 1, 4, 4)
    with torch.no_grad():
        tokens = model.embed(images).flatten(2).transpose(1, 2)
        tokens = model.norm(torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1))

        # The norm runs twice, side by side; its last run is explained.
        def score(last: Tensor) -> Tensor:
            return model.fc(tokens.square()[:, 0] + last.amax(1))[0, 1]

        drops = []
        for k in range(6):
            without = tokens.clone()
            without[..., k] = 0
            drops.append((score(tokens) - score(without)) / score(tokens).abs())
        expected = (tokens[0, 1:] @ torch.stack(drops)).relu().view(4, 4)
    torch.testing.assert_close(found.maps[0, 0], expected)


def test_a_network_that_mixes_the_images_of_a_batch_is_named() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, images: Tensor) -> Tensor:
            values = self.conv(images)
            return (values / values.std(0, keepdim=True).add(1)).mean((2, 3))

    torch.manual_seed(0)
    with pytest.raises(ConfigError, match="lets images of a batch change each other's logits"):
        explain(Mixing(), torch.randn(2, 3, 6, 6), layer="conv", method="ablationcam")
