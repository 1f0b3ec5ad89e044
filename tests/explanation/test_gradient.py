"""Gradient methods: every formula against values worked out by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.explanation.methods import gradient

# Two channels of 1×2 places.
A = torch.tensor([[[[1.0, 3.0]], [[4.0, -8.0]]]])
G = torch.tensor([[[[1.0, 3.0]], [[0.5, -1.5]]]])


def _map(*values: float) -> Tensor:
    return torch.tensor([[list(values)]])


def test_gradcam() -> None:
    # Mean gradients 2 and -1/2: [2 - 2, 6 + 4].
    torch.testing.assert_close(gradient.gradcam(A, G), _map(0.0, 10.0))


def test_gradcam_plus_plus() -> None:
    # α = 1 / (2 + g ΣA). Channel 1, ΣA = 4: 1/6 and 1/14; weight 1·1/6 + 3·1/14 = 8/21.
    # Channel 2, ΣA = -4: for g = 1/2 it is 1/0, no weight; g = -3/2 is cut off: weight 0.
    torch.testing.assert_close(gradient.gradcam_plus_plus(A, G), _map(8 / 21, 24 / 21))


def test_gradcam_plus_plus_is_the_papers_fraction() -> None:
    torch.manual_seed(0)
    activations, gradients = torch.rand(2, 3, 2, 2).double(), torch.randn(2, 3, 2, 2).double()
    squares, cubes = gradients**2, gradients**3
    alphas = squares / (2 * squares + activations.sum((2, 3), keepdim=True) * cubes)
    weights = (alphas * gradients.relu()).sum((2, 3), keepdim=True)
    expected = (weights * activations).sum(1).relu()
    torch.testing.assert_close(gradient.gradcam_plus_plus(activations, gradients), expected)


def test_hirescam() -> None:
    # [1·1 + 4/2, 3·3 + 8·3/2]
    torch.testing.assert_close(gradient.hirescam(A, G), _map(3.0, 21.0))
    # [1 - 2, 9 - 12] is negative everywhere.
    torch.testing.assert_close(
        gradient.hirescam(A, G * torch.tensor([1.0, -1.0])[:, None, None]), _map(0.0, 0.0)
    )


def test_gradcam_elementwise() -> None:
    # With the second gradient turned its products are negative and left out, each by itself.
    turned = G * torch.tensor([1.0, -1.0])[:, None, None]
    torch.testing.assert_close(gradient.gradcam_elementwise(A, turned), _map(1.0, 9.0))
    torch.testing.assert_close(gradient.gradcam_elementwise(A, G), _map(3.0, 21.0))


def test_xgradcam() -> None:
    # Weights (1 + 9) / 4 and (2 + 12) / -4: [5/2 - 14, 15/2 + 28].
    torch.testing.assert_close(gradient.xgradcam(A, G), _map(0.0, 35.5))
    # A channel that sums to zero gets no weight.
    level = A.clone()
    level[0, 1] = torch.tensor([4.0, -4.0])
    torch.testing.assert_close(gradient.xgradcam(level, G), _map(2.5, 7.5))


def test_layercam() -> None:
    # [1·1 + 1/2·4, 3·3 + 0]
    torch.testing.assert_close(gradient.layercam(A, G), _map(3.0, 9.0))


def test_shapleycam() -> None:
    # Gradients less half of H·A: means 2 - 1 and -1/2 - 1/2: [1 - 4, 3 + 8].
    curvatures = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])
    torch.testing.assert_close(gradient.shapleycam(A, G, curvatures), _map(0.0, 11.0))


def test_cam() -> None:
    # Two classes: weights (2, 1/2) and (-1, 1).
    weights = torch.tensor([[[2.0, 0.5], [-1.0, 1.0]]])
    expected = torch.tensor([[[[4.0, 2.0]], [[3.0, 0.0]]]])
    torch.testing.assert_close(gradient.cam(A, weights), expected)


class Curved(nn.Module):
    """Score 0 is mean(A1)² + 3 mean(A2), score 1 is -mean(A2), with A1 = x and A2 = -x."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        first, second = self.conv(images).mean((2, 3)).unbind(1)
        return torch.stack([first**2 + 3 * second, -second], dim=1)


IMAGE = torch.tensor([[1.0, -2.0], [9.0, 8.0]]).view(1, 1, 2, 2)


def test_shapleycam_on_a_curved_network() -> None:
    # mean(x) = m = 4. dy0/dA1 = 2m/4 = 2 at every place, dy0/dA2 = 3/4.
    # ∂²y0/∂A1∂A1 = 2/16 for every pair: H·A1 = 2/16 · 16 = 2.
    # Weights 2 - 2/2 = 1 and 3/4: relu(x - 3/4 x) = relu(x / 4).
    found = explain(Curved(), IMAGE, classes=[0], layer="conv", method="shapleycam")
    torch.testing.assert_close(found.maps[0, 0], IMAGE[0, 0].relu() / 4)
    # Grad-CAM keeps 2: relu(2 x - 3/4 x).
    plain = explain(Curved(), IMAGE, classes=[0], layer="conv")
    torch.testing.assert_close(plain.maps[0, 0], IMAGE[0, 0].relu() * 1.25)
    # The other score is linear: no second derivative, relu(-1/4 · -x).
    other = explain(Curved(), IMAGE, classes=[1], layer="conv", method="shapleycam")
    torch.testing.assert_close(other.maps[0, 0], IMAGE[0, 0].relu() / 4)


class Tiny(nn.Module):
    """Three classes on two channels, x and -x: weights (3, 1), (0, 2), (1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.fc = nn.Linear(2, 3, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.fc.weight.copy_(torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 1.0]]))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.conv(images).mean((2, 3)))


def test_cam_on_a_network_is_gradcam_times_the_places() -> None:
    found = explain(Tiny(), IMAGE, classes=[0], layer="conv", method="cam")
    torch.testing.assert_close(found.maps[0, 0], 2 * IMAGE[0, 0].relu())
    plain = explain(Tiny(), IMAGE, classes=[0], layer="conv")
    torch.testing.assert_close(4 * plain.maps, found.maps)


def test_contrast_is_the_map_of_the_difference() -> None:
    # y0 - y1 has weights (3, -1), y0 - (y1 + y2) / 2 has (2.5, -0.5); x and -x, divided by 4.
    found = explain(Tiny(), IMAGE, classes=[0], layer="conv", against=[1])
    torch.testing.assert_close(found.maps[0, 0], IMAGE[0, 0].relu())
    several = explain(Tiny(), IMAGE, classes=[0], layer="conv", against=[[1, 2]])
    torch.testing.assert_close(several.maps[0, 0], 0.75 * IMAGE[0, 0].relu())


def test_finercam_compares_with_the_nearest_logits() -> None:
    # Logits for mean 4: y0 = 12 - 4 = 8, y1 = -8, y2 = 0. Both others are compared (three are
    # asked for): weights (3, 1) - 0.6 · (0.5, 1.5) = (2.7, 0.1), relu(2.6 x / 4).
    found = explain(Tiny(), IMAGE, classes=[0], layer="conv", method="finercam")
    torch.testing.assert_close(found.maps[0, 0], 0.65 * IMAGE[0, 0].relu())
    # Told what to compare with: (3, 1) - 0.6 · (0, 2) = (3, -0.2), relu(3.2 x / 4).
    told = explain(Tiny(), IMAGE, classes=[0], layer="conv", method="finercam", against=[1])
    torch.testing.assert_close(told.maps[0, 0], 0.8 * IMAGE[0, 0].relu())


def test_smoothing_averages_the_maps_of_noisy_images() -> None:
    # The map is relu((x + noise) / 2) per place; noise of 15 % of the range 11, drawn from seed 3.
    found = explain(Tiny(), IMAGE, classes=[0], layer="conv", smooth=3, noise=0.2, seed=3)
    generator = torch.Generator().manual_seed(3)
    noisy = [IMAGE + 0.2 * 11 * torch.randn(IMAGE.shape, generator=generator) for _ in range(3)]
    torch.testing.assert_close(found.maps, torch.stack([n.relu() / 2 for n in noisy]).mean(0))
    # The prediction is that of the image itself.
    torch.testing.assert_close(found.logits, torch.tensor([[8.0, -8.0, 0.0]]))
    assert not torch.equal(found.maps, IMAGE.relu() / 2)
