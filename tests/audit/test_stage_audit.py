"""Asking a real network, and an audit as it is in a run directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from seewhy.audit.audit import AuditResult
from seewhy.audit.classifier_access import StudyClassifierAccess, evidence_layer
from seewhy.audit.discovery.details import Detail
from seewhy.audit.stage_audit import audit_stage, read_details
from seewhy.data.pixels import to_input
from seewhy.errors import RunError
from seewhy.models.backbones import create_architecture
from seewhy.models.classifier import Classifier, ClassifierSpec, Head
from seewhy.models.cut import cut_trunk
from seewhy.runtime.device import choose_compute
from seewhy.runtime.progress import Silent
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.audit import (
    Audit,
    AuditImages,
    CarrierScore,
    ClassAudit,
    EffectRecord,
    Finding,
)
from seewhy.storage.schemas.dataset import Preprocess


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """A resnet18 with random weights at 64 pixels, for images of 32."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_architecture("resnet18").eval().requires_grad_(False)
    preprocess = Preprocess(64, (0.5,) * 3, (0.25,) * 3, "bilinear")
    design = ClassifierSpec("resnet18", 0.5, (), 0.0, ("cat", "dog"), preprocess, 32)
    return Classifier(cut_trunk(model, 0.5, 64), Head(512, (), 0.0, 2, seed=0), design).eval()


def test_a_network_is_asked_as_it_answers(classifier: Classifier) -> None:
    access = StudyClassifierAccess(
        classifier, choose_compute("cpu", "float32"), evidence_layer(classifier)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (35, 32, 32, 3), dtype=np.uint8)
    found = access.probabilities(pixels)
    with torch.no_grad():
        images = to_input(torch.from_numpy(pixels), classifier.design.preprocess, "cpu")
        straight = classifier(images).softmax(dim=1).numpy()
    assert np.allclose(found, straight, atol=1e-6)
    classes = np.arange(35) % 2
    maps = access.evidence(pixels, classes)
    assert maps.shape == (35, 4, 4)
    # Each map is for its own class, whatever batch it came in.
    assert np.allclose(maps[33:34], access.evidence(pixels[33:34], classes[33:34]), atol=1e-5)


def test_what_was_seen_is_gathered_where_the_evidence_lies(classifier: Classifier) -> None:
    access = StudyClassifierAccess(
        classifier, choose_compute("cpu", "float32"), evidence_layer(classifier)
    )
    pixels = np.random.default_rng(1).integers(0, 256, (34, 32, 32, 3), dtype=np.uint8)
    maps = np.zeros((34, 4, 4), np.float32)
    maps[:, 1, 2], maps[:, 3, 0] = 3, 1
    maps[33] = 0
    found = access.gathered(pixels, maps)
    kept: list[Tensor] = []
    layer = classifier.get_submodule(access.layer)
    handle = layer.register_forward_hook(lambda module, given, out: kept.append(out))
    with torch.no_grad():
        classifier(to_input(torch.from_numpy(pixels), classifier.design.preprocess, "cpu"))
    handle.remove()
    by_hand = (3 * kept[0][:, :, 1, 2] + kept[0][:, :, 3, 0]).numpy() / 4
    assert np.allclose(found[:33], by_hand[:33], atol=1e-4)
    assert not found[33].any()
    assert not layer._forward_hooks


def test_the_evidence_comes_from_a_fine_map(classifier: Classifier) -> None:
    # At 64 pixels the trunk after the cut has maps of 4 and 2 places a side.
    layer = evidence_layer(classifier)
    assert "layer3" in layer


def test_an_audit_comes_back_from_disk(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    one = ClassAudit(**{"class": "cat", "verdict": "none", "candidates": 2})
    audit = Audit(
        stage="adaptation",
        images=IMAGES,
        candidates=2,
        seconds=1.5,
        sentences=[],
        searched="Nothing.",
        classes=[one],
    )
    pictures = {"0-0": np.zeros((2, 3, 8, 8, 3), np.uint8)}
    assert run.audit.read("net", "adaptation") is None
    run.audit.write("net", audit, pictures, {})
    assert run.audit.read("net", "adaptation") == audit
    assert run.audit.read_pictures("net", "adaptation")["0-0"].shape == (2, 3, 8, 8, 3)
    text = (tmp_path / "backbones" / "net" / "adaptation" / "audit.json").read_text("utf-8")
    assert '"class": "cat"' in text
    assert run.audit.path("net", "finetuning") == tmp_path / "backbones" / "net" / "audit.json"
    run.audit.path("net", "adaptation").with_suffix(".npz").write_bytes(b"no pictures")
    with pytest.raises(RunError, match=r"audit\.npz: cannot be read"):
        run.audit.read_pictures("net", "adaptation")


IMAGES = AuditImages(discovery=9, screening=3, extra_donors=2, confirmation=4)
EFFECT = EffectRecord(change=0.5, low=0.4, high=0.6, p=0.001, turned=0.8, turned_control=0.1,
                      donors=12, images=96)  # fmt: skip


def found_details(*kinds: str) -> Audit:
    """An audit whose second class has a finding of each kind."""
    findings = [
        Finding(kind=kind, verdict="shortcut", sentence=f"'dog': {kind}.", where="the middle",
                carriers=[], insertion=EFFECT, range=0.9, with_it=CarrierScore(images=0))
        for kind in kinds
    ]  # fmt: skip
    classes = [
        ClassAudit(**{"class": "cat", "verdict": "none", "candidates": 0}),
        ClassAudit(**{"class": "dog", "verdict": "shortcut", "findings": findings,
                      "candidates": len(kinds)}),
    ]  # fmt: skip
    sentences = [one.sentence for one in findings[:1]]
    return Audit(stage="finetuning", images=IMAGES, candidates=len(kinds), seconds=1.5,
                 sentences=sentences, searched="", classes=classes)  # fmt: skip


def test_details_come_back_from_disk_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    shape = np.array([[True, False, True], [True, True, True]])
    look = (255 * rng.random((2, 3, 3))).astype(np.float32)
    kept = {
        "1-0": Detail(look, shape, (3, 0), {}, 1 / 3, 0.004),
        "1-1": Detail(look[:1], shape[:1], None, {}, 0.25, 0.1),
    }
    record = found_details("detail", "moving detail", "colour")
    audited = AuditResult(record, {}, kept)
    monkeypatch.setattr("seewhy.audit.stage_audit.audit_classifier", lambda *_: audited)
    monkeypatch.setattr("seewhy.audit.stage_audit.evidence_layer", lambda _: "")
    run, nobody = RunDirectory(tmp_path), Nobody()
    audit_stage(run, "net", "finetuning", nobody, None, None, None, 0, Silent())  # type: ignore[arg-type]
    assert run.audit.read("net", "finetuning") == record
    found = read_details(run, "net", "finetuning", record)
    assert found.keys() == kept.keys()
    for name, one in found.items():
        for part in ("look", "shape"):
            ours, theirs = getattr(one, part), getattr(kept[name], part)
            assert ours.dtype == theirs.dtype
            assert ours.tobytes() == theirs.tobytes()
            assert ours.shape == theirs.shape
        assert (one.at, one.places) == (kept[name].at, {})
        assert (one.own, one.others) == (kept[name].own, kept[name].others)


class Nobody:
    """Stands where a classifier would; nobody asks it."""

    def eval(self) -> None:
        pass


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (None, "cannot be read .*No such file or directory"),
        (b"no arrays", "cannot be read"),
        ({"1-0.look": np.zeros((2, 3, 3), np.float32)}, "cannot be read .'1-0.shape'."),
        ({"1-0.look": np.zeros((2, 3, 3), np.float64), "1-0.shape": np.ones((2, 3), bool)},
         "cannot be read .1-0.look: expected float32"),
        ({"1-0.look": np.zeros((2, 3, 3), np.float32), "1-0.shape": np.ones((3, 2), bool),
          "1-0.shares": np.ones(2), "1-0.at": np.ones(2, np.int64)},
         "is not as seewhy writes it .1-0: look and shape."),
    ],
)  # fmt: skip
def test_damaged_details_are_one_sentence(
    tmp_path: Path, damage: bytes | dict[str, np.ndarray] | None, says: str
) -> None:
    run, record = RunDirectory(tmp_path), found_details("detail")
    path = tmp_path / "backbones" / "net" / "audit-details.npz"
    path.parent.mkdir(parents=True)
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    elif damage is not None:
        np.savez(path, **damage)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=rf"audit-details\.npz: {says}") as caught:
        read_details(run, "net", "finetuning", record)
    assert "\n" not in str(caught.value)
