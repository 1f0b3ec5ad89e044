"""Asking a real network, and an audit as it lies in a run directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seewhy.audit.asking import Asking, evidence_layer
from seewhy.audit_records import Audit, ClassAudit
from seewhy.data.pixels import to_input
from seewhy.errors import RunError
from seewhy.models.backbones import create_architecture
from seewhy.models.classifier import Classifier, Design, Head
from seewhy.models.compute import choose_compute
from seewhy.models.cut import cut_trunk
from seewhy.records import Preprocess
from seewhy.rundir import RunDirectory


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """A resnet18 with random weights at 64 pixels, for images of 32."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_architecture("resnet18").eval().requires_grad_(False)
    preprocess = Preprocess(64, (0.5,) * 3, (0.25,) * 3, "bilinear")
    design = Design("resnet18", 0.5, (), 0.0, ("cat", "dog"), preprocess, 32)
    return Classifier(cut_trunk(model, 0.5, 64), Head(512, (), 0.0, 2, seed=0), design).eval()


def test_a_network_is_asked_as_it_answers(classifier: Classifier) -> None:
    asking = Asking(classifier, choose_compute("cpu", "float32"), evidence_layer(classifier))
    pixels = np.random.default_rng(0).integers(0, 256, (35, 32, 32, 3), dtype=np.uint8)
    found = asking.probabilities(pixels)
    with torch.no_grad():
        images = to_input(torch.from_numpy(pixels), classifier.design.preprocess, "cpu")
        straight = classifier(images).softmax(dim=1).numpy()
    assert np.allclose(found, straight, atol=1e-6)
    classes = np.arange(35) % 2
    maps = asking.evidence(pixels, classes)
    assert maps.shape == (35, 4, 4)
    # Each map is for its own class, whatever batch it came in.
    assert np.allclose(maps[33:34], asking.evidence(pixels[33:34], classes[33:34]), atol=1e-5)


def test_the_evidence_comes_from_a_fine_map(classifier: Classifier) -> None:
    # At 64 pixels the trunk behind the cut has maps of 4 and 2 places a side.
    layer = evidence_layer(classifier)
    assert "layer3" in layer


def test_an_audit_comes_back_from_disk(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    one = ClassAudit(**{"class": "cat", "verdict": "none", "candidates": 2})
    audit = Audit(
        stage="adaptation",
        images=9,
        candidates=2,
        seconds=1.5,
        sentences=[],
        searched="Nothing.",
        classes=[one],
    )
    pictures = {"0-0": np.zeros((2, 3, 8, 8, 3), np.uint8)}
    assert run.read_audit("net", "adaptation") is None
    run.write_audit("net", audit, pictures)
    assert run.read_audit("net", "adaptation") == audit
    assert run.read_audit_pictures("net", "adaptation")["0-0"].shape == (2, 3, 8, 8, 3)
    text = (tmp_path / "backbones" / "net" / "adaptation" / "audit.json").read_text("utf-8")
    assert '"class": "cat"' in text
    assert run.audit_path("net", "finetuning") == tmp_path / "backbones" / "net" / "audit.json"
    run.audit_path("net", "adaptation").with_suffix(".npz").write_bytes(b"no pictures")
    with pytest.raises(RunError, match=r"audit\.npz: cannot be read"):
        run.read_audit_pictures("net", "adaptation")
