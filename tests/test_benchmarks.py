"""What the benchmark times is the same thing: other libraries' maps are ours."""

from __future__ import annotations

import pytest
import timm
import torch

from benchmarks.explain import LIBRARIES, Case, _only_behind, agreement, plain, seewhy, supported
from seewhy import explain

CASE = Case("resnet18", images=2, size=64, columns=10, device="cpu")


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("peer", LIBRARIES)
def test_every_library_makes_our_maps(peer: str, tuned: bool) -> None:
    case = Case("resnet18", images=2, size=64, columns=2, device="cpu", tuned=tuned)
    assert supported(peer, case)
    assert agreement(peer, case) >= 0.999


def test_a_column_is_one_class_an_image() -> None:
    model, images, layer = CASE.load()
    columns = seewhy(CASE)()
    assert len(columns) == 10
    assert plain(CASE)() == []
    for labels, maps in zip(CASE.labels(), columns, strict=True):
        expected = explain(model, images, labels, layer).maps[:, 0]
        torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6)


def test_the_graph_of_a_tuned_network_begins_at_the_layers_last_weights() -> None:
    model = timm.create_model("resnet18", num_classes=10)
    _only_behind(model, "layer4")
    asking = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert asking == ["layer4.1.bn2.weight", "layer4.1.bn2.bias"]
