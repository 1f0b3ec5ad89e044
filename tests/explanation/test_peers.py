"""Maps against pytorch-grad-cam and torchcam on timm's networks, and where those leave a paper.

Unless a test says more, the largest difference seen is below 1e-6 of the largest value.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import warnings
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy import explain
from seewhy.explanation.methods import gradient

CLASSES = [1, 6, 3]
NARROW = "resnet18 narrow"
NETWORKS = [
    ("resnet18", "layer4"),
    ("resnet18", "layer3"),
    ("vgg11", "features.19"),
    ("densenet121", "features.norm5"),
    ("tf_efficientnet_lite0", "bn2"),
]


OPTIONS: dict[str, Any] = {
    # VGG's own 4096 hidden units would only take time.
    "vgg11": {"mlp_ratio": 0.02},
    # For methods that leave out channel after channel.
    NARROW: {"channels": (8, 16, 32, 64)},
}


@functools.cache
def _case(name: str) -> tuple[nn.Module, Tensor]:
    """A network with random weights and lively normalisation; the peers need in-place ReLUs off."""
    torch.manual_seed(0)
    model = timm.create_model(name.split()[0], num_classes=7, **OPTIONS.get(name, {})).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
        if hasattr(module, "inplace"):
            module.inplace = False
    return model, torch.randn(3, 3, 64, 64)


def _gradcam_peer(
    kind: str, model: nn.Module, layer: str, images: Tensor, **options: Any
) -> NDArray[np.float32]:
    """Return pytorch-grad-cam's maps before it normalises them, cut off at zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    model = copy.deepcopy(model)
    peer = getattr(pytorch_grad_cam, kind)(model, [model.get_submodule(layer)], **options)
    kept: list[NDArray[np.float32]] = []
    original = peer.get_cam_image

    def kept_image(*arguments: Any, **more: Any) -> NDArray[np.float32]:
        kept.append(original(*arguments, **more))
        return kept[-1]

    peer.get_cam_image = kept_image
    with contextlib.redirect_stderr(io.StringIO()):
        peer(images, [ClassifierOutputTarget(c) for c in CLASSES[: len(images)]])
    return np.maximum(kept[0], 0)


def _torchcam_peer(kind: str, model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """Return torchcam's maps, not normalised, cut off at zero."""
    methods = pytest.importorskip("torchcam.methods")
    with getattr(methods, kind)(model, layer) as peer:
        scores = model(images)
        (maps,) = peer(CLASSES[: len(images)], scores, normalized=False)
    return maps.detach().clamp(min=0)


def _assert_equal(ours: Tensor, theirs: Any, tolerance: float = 2e-6) -> None:
    """Correlate to at least 0.999 and differ by at most `tolerance` of the largest value."""
    first, second = ours.numpy().ravel(), np.asarray(theirs).ravel()
    assert second.max() > 0
    assert np.corrcoef(first, second)[0, 1] >= 0.999
    assert np.abs(first - second).max() <= tolerance * second.max()


@pytest.mark.parametrize(("name", "layer"), NETWORKS)
@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("gradcam", "GradCAM"),
        ("hirescam", "HiResCAM"),
        ("gradcam-elementwise", "GradCAMElementWise"),
        ("xgradcam", "XGradCAM"),
        ("layercam", "LayerCAM"),
        ("shapleycam", "ShapleyCAM"),
    ],
)
def test_pytorch_grad_cam(method: str, kind: str, name: str, layer: str) -> None:
    model, images = _case(name)
    ours = explain(model, images, CLASSES, layer, method).maps[:, 0]
    _assert_equal(ours, _gradcam_peer(kind, model, layer, images))


@pytest.mark.parametrize(("name", "layer"), NETWORKS)
@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("gradcam", "GradCAM"),
        ("xgradcam", "XGradCAM"),
        ("layercam", "LayerCAM"),
        ("finercam", "FinerCAM"),
    ],
)
def test_torchcam(method: str, kind: str, name: str, layer: str) -> None:
    model, images = _case(name)
    ours = explain(model, images, CLASSES, layer, method).maps[:, 0]
    _assert_equal(ours, _torchcam_peer(kind, model, layer, images))


@pytest.mark.parametrize(("name", "layer"), [NETWORKS[0], NETWORKS[3], NETWORKS[4]])
def test_cam_is_torchcams(name: str, layer: str) -> None:
    model, images = _case(name)
    ours = explain(model, images, CLASSES, layer, "cam").maps[:, 0]
    _assert_equal(ours, _torchcam_peer("CAM", model, layer, images))


def test_scorecam_is_torchcams() -> None:
    # torchcam scales a channel to 0 … 1 before it is resized, the paper afterwards: the maps
    # differ by up to 5e-3 of the largest value.
    model, images = _case(NARROW)
    ours = explain(model, images[:2], CLASSES[:2], "layer2", "scorecam", batch_size=64).maps[:, 0]
    _assert_equal(ours, _torchcam_peer("ScoreCAM", model, "layer2", images[:2]), 1e-2)


def test_scorecam_is_pytorch_grad_cams_but_for_its_corners(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, images = _case(NARROW)
    ours = explain(model, images[:1], CLASSES[:1], "layer2", "scorecam", batch_size=64).maps[:, 0]
    # It aligns the map's corner cells with the image's corner pixels, which shifts the masks.
    shifted = _gradcam_peer("ScoreCAM", model, "layer2", images[:1])
    monkeypatch.setattr(nn, "UpsamplingBilinear2d", functools.partial(nn.Upsample, mode="bilinear"))
    same = _gradcam_peer("ScoreCAM", model, "layer2", images[:1])
    _assert_equal(ours, same)
    assert np.abs(shifted - same).max() > 1e-5 * same.max()


@pytest.mark.parametrize("layer", ["layer4", "layer3"])
def test_ablationcam_is_pytorch_grad_cams_behind_a_relu(layer: str) -> None:
    model, images = _case("resnet18")
    ours = explain(model, images[:2], CLASSES[:2], layer, "ablationcam", batch_size=64)
    # It divides by the score itself; a negative score then turns the map round.
    scores = ours.logits.gather(1, ours.classes)[:, 0]
    assert (scores > 0).any()
    for index in (scores > 0).nonzero()[:, 0].tolist():
        peer = _one_ablation(model, layer, images[index : index + 1], CLASSES[index])
        # The largest difference is 1e-4 of the largest value: differences of near scores.
        _assert_equal(ours.maps[index], peer, 1e-3)


def _one_ablation(model: nn.Module, layer: str, image: Tensor, label: int) -> NDArray[np.float32]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(globals(), "CLASSES", [label])
        return _gradcam_peer("AblationCAM", model, layer, image, batch_size=64)


def test_ablationcam_leaves_a_channel_out_where_pytorch_grad_cam_puts_a_huge_value() -> None:
    """Where activations can be negative the peer ablates with their least less 1e7, not zero."""
    model, images = _case("resnet18")
    ours = explain(model, images[:1], CLASSES[:1], "layer4.1.bn2", "ablationcam", batch_size=64)
    peer = _gradcam_peer("AblationCAM", model, "layer4.1.bn2", images[:1], batch_size=64)
    seen = ours.maps[0].numpy()
    assert seen.max() > 0
    assert not np.allclose(seen / seen.max(), peer / max(peer.max(), 1e-9), atol=0.05)


def _recorded(name: str, layer: str) -> tuple[Tensor, Tensor]:
    """Return activations and gradients, found without the engine."""
    model, images = _case(name)
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o))
    logits = model(images)
    handle.remove()
    score = logits[range(3), CLASSES].sum()
    return kept[0].detach(), torch.autograd.grad(score, kept[0])[0]


def test_gradcam_plus_plus_is_pytorch_grad_cams_but_for_its_small_constant() -> None:
    """The peer adds 1e-6 to a denominator that is often smaller than that."""
    model, images = _case("resnet18")
    ours = explain(model, images, CLASSES, "layer4", "gradcam++").maps[:, 0]
    theirs = _gradcam_peer("GradCAMPlusPlus", model, "layer4", images)
    assert np.corrcoef(ours.numpy().ravel(), theirs.ravel())[0, 1] > 0.999
    # Here it takes 2 % from the map; its channels with the smallest gradients lose all weight.
    assert 0.01 < np.abs(ours.numpy() - theirs).max() / theirs.max() < 0.1
    # With logits a thousand times as large the constant is nothing, and the maps are the same.
    louder = copy.deepcopy(model)
    with torch.no_grad():
        louder.fc.weight *= 1000
    ours = explain(louder, images, CLASSES, "layer4", "gradcam++").maps[:, 0]
    _assert_equal(ours, _gradcam_peer("GradCAMPlusPlus", louder, "layer4", images), 1e-4)


def test_torchcams_gradcam_plus_plus_is_not_divided() -> None:
    """Its division works on a copy that `alpha[mask]` makes: α stays the squared gradient."""
    model, images = _case("resnet18")
    theirs = _torchcam_peer("GradCAMpp", model, "layer4", images)
    activations, gradients = _recorded("resnet18", "layer4")
    undivided = (gradients.square() * gradients.relu()).sum((2, 3), keepdim=True)
    _assert_equal((undivided * activations).sum(1).relu(), theirs)
    ours = explain(model, images, CLASSES, "layer4", "gradcam++").maps[:, 0]
    torch.testing.assert_close(ours, gradient.gradcam_plus_plus(activations, gradients))
    assert ours.max() > 1000 * theirs.max()
    assert np.corrcoef(ours.numpy().ravel(), theirs.numpy().ravel())[0, 1] < 0.99


@pytest.mark.parametrize(("name", "layer"), NETWORKS)
def test_eigencam_is_pytorch_grad_cams_of_what_is_not_centred(name: str, layer: str) -> None:
    """The peer subtracts every channel's mean, which the paper does not, and leaves the sign."""
    model, images = _case(name)
    ours = explain(model, images, CLASSES, layer, "eigencam").maps[:, 0]
    activations, _ = _recorded(name, layer)
    expected = []
    for image in activations.double().numpy():
        matrix = image.reshape(len(image), -1).T
        component = matrix @ np.linalg.svd(matrix, full_matrices=False)[2][0]
        expected.append(np.maximum(component * np.sign(component.sum()), 0))
    _assert_equal(ours, np.stack(expected), 1e-5)
    theirs = _gradcam_peer("EigenCAM", model, layer, images)
    assert np.corrcoef(ours.numpy().ravel(), theirs.ravel())[0, 1] < 0.95


@pytest.mark.parametrize(("name", "layer"), NETWORKS)
def test_eigengradcam_is_pytorch_grad_cams_but_for_its_sign(name: str, layer: str) -> None:
    model, images = _case(name)
    ours = explain(model, images, CLASSES, layer, "eigengradcam").maps[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
    activations, gradients = _recorded(name, layer)
    signed = get_2d_projection((activations * gradients).numpy())
    # Either the positive part of the peer's component, or of its negative.
    for image, component in zip(ours.numpy(), signed, strict=True):
        sign = 1 if (image * component).sum() > 0 else -1
        _assert_equal(torch.from_numpy(image), np.maximum(sign * component, 0), 1e-4)


def test_finercam_weighs_comparisons_alike_where_pytorch_grad_cam_takes_probabilities() -> None:
    """One comparison is the same in both, with the same strength; for several theirs differ."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam.utils.model_targets import FinerWeightedTarget
    model, images = _case("resnet18")
    model = copy.deepcopy(model)
    nn.init.normal_(model.fc.weight, 0, 0.02)
    activations, _ = _recorded("resnet18", "layer4")
    likeliest = model(images).argmax(1).tolist()
    for many, same in ((1, True), (2, False)):
        references = [[(c + 1 + k) % 7 for k in range(many)] for c in likeliest]
        leaf = activations.clone().requires_grad_()
        targets = map(FinerWeightedTarget, likeliest, references, [0.6] * 3)
        score = sum(t(output) for t, output in zip(targets, model.forward_head(leaf), strict=True))
        (gradients,) = torch.autograd.grad(score, leaf)
        theirs = gradient.gradcam(activations, gradients)
        assert theirs.max() > 0
        ours = explain(model, images, likeliest, "layer4", "finercam", against=references)
        most = float(theirs.max())
        assert torch.allclose(ours.maps[:, 0], theirs, rtol=1e-4, atol=1e-6 * most) == same


@pytest.mark.parametrize(
    ("name", "layer"),
    [("vit_tiny_patch16_224", "blocks.1.norm1"), ("swin_tiny_patch4_window7_224", "auto")],
)
def test_transformers_with_a_reshape_written_by_hand(name: str, layer: str) -> None:
    torch.manual_seed(0)
    own = {"depth": 2} if "vit" in name else {"depths": (1, 1, 1, 2), "window_size": 2}
    model = timm.create_model(name, num_classes=7, img_size=64, **own).eval()
    nn.init.normal_(model.get_classifier().weight)
    images = torch.randn(3, 3, 64, 64)

    def reshape(tokens: Tensor) -> Tensor:
        if tokens.ndim == 3:
            return tokens[:, 1:].reshape(3, 4, 4, -1).permute(0, 3, 1, 2)
        return tokens.permute(0, 3, 1, 2)

    for method, kind in (("gradcam", "GradCAM"), ("layercam", "LayerCAM")):
        found = explain(model, images, CLASSES, layer, method)
        theirs = _gradcam_peer(kind, model, found.layer, images, reshape_transform=reshape)
        _assert_equal(found.maps[:, 0], theirs, 1e-5)
