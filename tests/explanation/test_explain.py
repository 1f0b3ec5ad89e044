"""One call, one record: what `explain` takes, what comes out, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError


class Tiny(nn.Module):
    """Two channels that copy the image and its negative; pooling; a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Identity()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.act = nn.Identity()
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.fc.weight.copy_(torch.tensor([[3.0, 1.0], [0.0, 2.0]]))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.act(self.conv(self.image(images))).mean((2, 3)))


IMAGE = torch.tensor([[1.0, -2.0], [0.5, 4.0]]).view(1, 1, 2, 2)


def test_gradcam_on_a_network_worked_out_by_hand() -> None:
    # A1 = x, A2 = -x; y0 = 3 mean(A1) + mean(A2), so its weights are 3/4 and 1/4:
    # map0 = relu(3/4 x - 1/4 x) = relu(x / 2); y1 = 2 mean(A2): map1 = relu(-x / 2).
    found = explain(Tiny(), IMAGE, classes="all", layer="conv")
    torch.testing.assert_close(found.maps[0, 0], torch.tensor([[0.5, 0.0], [0.25, 2.0]]))
    torch.testing.assert_close(found.maps[0, 1], torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    # mean(x) = 0.875: logits 2·0.875 and -2·0.875.
    torch.testing.assert_close(found.logits, torch.tensor([[1.75, -1.75]]))
    torch.testing.assert_close(
        found.probabilities[0, 0], torch.tensor(1 / (1 + np.exp(-3.5))).float()
    )
    assert found.predicted.tolist() == [0]


def test_the_default_explains_the_predicted_class_of_each_image() -> None:
    images = torch.cat([IMAGE, -IMAGE])
    found = explain(Tiny(), images)
    assert found.classes.tolist() == [[0], [1]]
    assert found.layer == "act"
    # -x predicts class 1, whose map is relu(x_original / 2) again.
    torch.testing.assert_close(found.maps[1], found.maps[0])


def test_an_empty_map_is_flagged() -> None:
    found = explain(Tiny(), -IMAGE.abs(), classes=[0])
    assert found.empty.tolist() == [[True]]
    assert not explain(Tiny(), IMAGE, classes=[0]).empty.any()


def test_maps_are_resized_bilinearly() -> None:
    found = explain(Tiny(), IMAGE, classes=[0])
    # Half-pixel centres: the first of four columns is on the edge, the second 1/4 of the way.
    expected = torch.tensor([0.5, 0.375, 0.125, 0.0])
    torch.testing.assert_close(found.resized((4, 4))[0, 0, 0], expected)


def test_the_size_is_the_images_own_unless_another_is_asked_for() -> None:
    found = explain(Tiny(), IMAGE.repeat(1, 1, 3, 4), classes="all")
    assert found.size == (6, 8)
    assert found.resized().shape == (1, 2, 6, 8)
    torch.testing.assert_close(found.resized(), found.maps)


def test_maps_are_normalised_a_map_an_image_or_a_batch_at_a_time() -> None:
    images = torch.cat([IMAGE, -2 * IMAGE.abs()])
    found = explain(Tiny(), images, classes="all")
    # Maxima by hand: relu(x / 2) and relu(-x / 2): 2 and 1; for -2|x|: nothing and 4.
    assert found.maps.amax((2, 3)).tolist() == [[2.0, 1.0], [0.0, 4.0]]
    assert found.normalised().amax((2, 3)).tolist() == [[1.0, 1.0], [0.0, 1.0]]
    assert found.normalised("image").amax((2, 3)).tolist() == [[1.0, 0.5], [0.0, 1.0]]
    assert found.normalised("batch").amax((2, 3)).tolist() == [[0.5, 0.25], [0.0, 1.0]]
    torch.testing.assert_close(found.normalised()[0, 0], found.maps[0, 0] / 2)
    with pytest.raises(ConfigError, match="expected 'map', 'image' or 'batch', but got 'set'"):
        found.normalised("set")


def test_maps_come_in_the_order_of_the_classes() -> None:
    images = torch.cat([IMAGE, 3 * IMAGE])
    every = explain(Tiny(), images, classes="all").maps
    found = explain(Tiny(), images, classes=[[1, 0, 1], [0, 0, 1]])
    assert found.classes.tolist() == [[1, 0, 1], [0, 0, 1]]
    torch.testing.assert_close(found.maps[0], every[0, [1, 0, 1]])
    torch.testing.assert_close(found.maps[1], every[1, [0, 0, 1]])
    top = explain(Tiny(), images, classes="top2")
    torch.testing.assert_close(top.maps, every)


class Deep(nn.Module):
    """A map of 2×2 places, halved to 1×1, doubled and averaged for both classes."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Identity(), nn.MaxPool2d(2)

    def forward(self, images: Tensor) -> Tensor:
        score = self.coarse(self.fine(images) * 1).mean((1, 2, 3))
        return torch.stack([2 * score, -score], dim=1)


def test_several_layers_give_the_mean_of_their_normalised_maps() -> None:
    # 4×4 pixels of which the right half is higher; pooled 2×2 maxima are 1, 2, 1, 4.
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, ::2, ::2] = torch.tensor([[1.0, 2.0], [1.0, 4.0]])
    found = explain(Deep(), image, classes=[0], layer=["fine", "coarse"])
    fine = explain(Deep(), image, classes=[0], layer="fine")
    coarse = explain(Deep(), image, classes=[0], layer="coarse")
    assert found.layer == "fine, coarse"
    assert list(found.by_layer) == ["fine", "coarse"]
    torch.testing.assert_close(found.by_layer["fine"], fine.maps)
    torch.testing.assert_close(found.by_layer["coarse"], coarse.maps)
    # By hand: 2 · mean of four places has the gradient 1/2 at each; mean over 16 places 1/8.
    torch.testing.assert_close(coarse.maps[0, 0], torch.tensor([[0.5, 1.0], [0.5, 2.0]]))
    torch.testing.assert_close(fine.maps[0, 0], image[0, 0] / 8)
    # Both maxima are 1 at the last cell; the coarse map is resized between the cells' centres.
    finer = torch.nn.functional.interpolate(coarse.maps / 2, size=(4, 4), mode="bilinear")
    torch.testing.assert_close(found.maps, (image / 4 + finer) / 2)
    # A layer named twice, or found by itself, counts once.
    again = explain(Deep(), image, classes=[0], layer=["fine", "fine"])
    torch.testing.assert_close(again.maps, fine.maps)


def test_in_a_row_of_layers_every_one_has_its_own_gradient() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=4).eval()
    images = torch.randn(2, 3, 64, 64)
    names = ["layer2", "layer3", "layer4"]
    for method in ("gradcam", "layercam", "shapleycam"):
        found = explain(model, images, layer=names, method=method)
        for name in names:
            alone = explain(model, images, layer=name, method=method).maps
            most = float(alone.max())
            torch.testing.assert_close(found.by_layer[name], alone, rtol=1e-3, atol=1e-5 * most)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"method": "gradcan"}, "did you mean gradcam"),
        ({"method": "captum:salency"}, "did you mean captum:saliency"),
        ({"method": None}, "explanation method None is unknown"),
        (
            {"method": "cam", "layer": "image"},
            "expected nothing but average pooling and one linear",
        ),
        ({"smooth": -1}, "expected smooth to be 0 or more"),
        ({"batch_size": 0}, "batch_size 1 or more"),
        ({"images": IMAGE.byte()}, "expected preprocessed float images, but got torch.uint8"),
        (
            {"images": IMAGE[0]},
            r"of one or more, but got \(1, 2, 2\); images\[None\] makes one of it",
        ),
        ({"images": IMAGE[:0]}, r"of one or more, but got \(0, 1, 2, 2\)"),
        ({"images": IMAGE.numpy()}, "of one or more, but got ndarray"),
        ({"images": IMAGE.to("meta")}, "images: are on meta, but the model on cpu"),
        ({"layer": "cnv"}, "layer 'cnv' is unknown; did you mean conv"),
        ({"layer": "fc"}, "expected a spatial map"),
        ({"classes": "some"}, "expected classes to be None, 'all' or indices"),
        ({"classes": [2]}, "expected classes in 0 … 1"),
        ({"classes": [0, 1]}, "one index, one for each of 1 images"),
    ],
)
def test_what_cannot_be_explained_is_named(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        explain(Tiny(), **{"images": IMAGE, **arguments})


def test_what_is_no_module_is_named() -> None:
    with pytest.raises(ConfigError, match=r"expected an nn\.Module, but got str; .*by its name"):
        explain("resnet18", IMAGE)  # type: ignore[arg-type]


def test_a_model_made_in_inference_mode_is_named() -> None:
    with torch.inference_mode():
        model = Tiny()
    with pytest.raises(ConfigError, match=r"made under torch\.inference_mode"):
        explain(model, IMAGE)
