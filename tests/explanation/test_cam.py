"""The engine against hand-worked maps, against pytorch-grad-cam, and for what it leaves behind."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.layers import choose_layer
from seewhy.explanation.methods import gradcam
from seewhy.explanation.stream import explain_batches


class Tiny(nn.Module):
    """Two channels that copy the image and its negative; pooling; a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.act = nn.Identity()
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.fc.weight.copy_(torch.tensor([[3.0, 1.0], [0.0, 2.0]]))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.act(self.conv(images)).mean((2, 3)))


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


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet18", "layer4"),
        ("vgg11", "features.19"),
        ("densenet121", "features.norm5"),
        ("tf_efficientnet_lite0", "bn2"),
        ("mobilenetv3_small_100", "blocks.5.0"),
    ],
)
def test_gradcam_equals_pytorch_grad_cam(name: str, layer: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=7).eval()
    images = torch.randn(3, 3, 64, 64)
    classes = [1, 6, 3]
    ours = explain(model, images, classes=classes, layer=layer)
    copied = copy.deepcopy(model)
    target = copied.get_submodule(layer)
    # The peer reads in-place activations after they were overwritten; it needs them off.
    for module in copied.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    peer = GradCAM(model=copied, target_layers=[target])
    activations = peer.activations_and_grads(images)
    assert activations.shape == (3, 7)
    torch.stack([activations[i, c] for i, c in enumerate(classes)]).sum().backward()
    theirs = np.maximum(
        peer.get_cam_image(
            images,
            target,
            [ClassifierOutputTarget(c) for c in classes],
            peer.activations_and_grads.activations[0].numpy(),
            peer.activations_and_grads.gradients[0].numpy(),
            False,
        ),
        0,
    )
    np.testing.assert_allclose(ours.maps[:, 0].numpy(), theirs, rtol=1e-4, atol=1e-6 * theirs.max())


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet18", "layer4"), ("vgg11", "features.19"), ("densenet121", "features")],
)
def test_auto_takes_the_last_map_before_pooling(name: str, layer: str) -> None:
    model = timm.create_model(name, num_classes=3).eval()
    found = choose_layer(model, torch.zeros(1, 3, 64, 64))
    with torch.no_grad():
        shapes = {}
        for wanted in (found, layer):
            handle = model.get_submodule(wanted).register_forward_hook(
                lambda module, inputs, output, key=wanted: shapes.__setitem__(key, output)
            )
            model(torch.ones(1, 3, 64, 64))
            handle.remove()
    torch.testing.assert_close(shapes[found], shapes[layer])


def _state(model: nn.Module) -> list[object]:
    return [
        [module.training for module in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules()],
        torch.get_rng_state(),
        torch.is_grad_enabled(),
    ]


def _prepared() -> nn.Module:
    """A network with everything a careless tool could disturb."""
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=4, drop_rate=0.3).train()
    model.layer1.eval()
    model.conv1.requires_grad_(False)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    model.layer2.register_forward_hook(lambda module, inputs, output: None)
    return model


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_everything_is_as_before(context: type) -> None:
    model = _prepared()
    images = torch.randn(2, 3, 64, 64)
    before = _state(model)
    with context():
        enabled = torch.is_grad_enabled()
        found = explain(model, images, classes="all")
        assert torch.is_grad_enabled() == enabled
    torch.testing.assert_close(_state(model), before, rtol=0, atol=0)
    assert not found.maps.requires_grad
    assert found.maps.sum() > 0


def test_everything_is_as_before_when_the_model_raises() -> None:
    model = _prepared()

    class Failing(nn.Module):
        def forward(self, pooled: Tensor) -> Tensor:
            raise ArithmeticError("on purpose")

    model.fc = Failing()
    images = torch.randn(2, 3, 64, 64)
    before = _state(model)
    with pytest.raises(ArithmeticError):
        explain(model, images, layer="layer4")
    torch.testing.assert_close(_state(model), before, rtol=0, atol=0)


def test_a_frozen_model_is_explained_all_the_same() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=4).eval()
    images = torch.randn(2, 3, 64, 64)
    open_maps = explain(model, images).maps
    frozen_maps = explain(model.requires_grad_(False), images).maps
    torch.testing.assert_close(frozen_maps, open_maps, rtol=0, atol=0)


def test_an_in_place_layer_behind_the_target_does_not_change_the_map() -> None:
    torch.manual_seed(0)

    def network(inplace: bool) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=inplace),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )

    first, second = network(True), network(False)
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(
        explain(first, images, layer="1").maps,
        explain(second, images, layer="1").maps,
        rtol=0,
        atol=0,
    )
    assert (explain(second, images, layer="1").maps > 0).any()


def test_a_data_set_streamed_equals_the_same_images_at_once() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=4).eval()
    images = torch.randn(5, 3, 64, 64)
    streamed = explain_batches(model, images.split(2), layer="layer4")
    at_once = explain(model, images, layer="layer4")
    np.testing.assert_allclose(
        streamed.maps.astype(np.float32), at_once.maps[:, 0].numpy(), rtol=2e-3, atol=1e-6
    )
    assert streamed.explained.tolist() == at_once.predicted.tolist()
    np.testing.assert_allclose(streamed.probabilities, at_once.probabilities.numpy(), rtol=1e-4)


def test_maps_are_resized_bilinearly() -> None:
    found = explain(Tiny(), IMAGE, classes=[0])
    # Half-pixel centres: the first of four columns lies on the edge, the second 1/4 of the way.
    expected = torch.tensor([0.5, 0.375, 0.125, 0.0])
    torch.testing.assert_close(found.resized((4, 4))[0, 0, 0], expected)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"method": "gradcan"}, "did you mean gradcam"),
        ({"layer": "cnv"}, "layer 'cnv' is unknown; did you mean conv"),
        ({"layer": "fc"}, "expected a spatial map"),
        ({"classes": "some"}, "expected classes to be None, 'all' or indices"),
        ({"classes": [2]}, "expected classes in 0 … 1"),
        ({"classes": [0, 1]}, "one index for each of 1 images"),
    ],
)
def test_what_cannot_be_explained_is_named(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        explain(Tiny(), IMAGE, **arguments)


def test_a_network_without_a_spatial_map_is_named() -> None:
    with pytest.raises(ConfigError, match="no layer puts out a spatial map"):
        explain(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), IMAGE)


def test_gradcam_formula() -> None:
    activations = torch.tensor([[[[1.0, 2.0]], [[4.0, -8.0]]]])
    gradients = torch.tensor([[[[1.0, 3.0]], [[0.5, 0.5]]]])
    # weights 2 and 1/2: [2 + 2, 4 - 4]
    torch.testing.assert_close(gradcam(activations, gradients), torch.tensor([[[4.0, 0.0]]]))
