"""What the benchmarks time is the same thing: other libraries' maps are ours; their tables."""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import benchmarks
from benchmarks import audit, audit_table
from benchmarks.augmentation import table
from benchmarks.explain import LIBRARIES, Case, _only_behind, agreement, plain, seewhy, supported
from benchmarks.localisation import read_boxes
from seewhy import explain
from seewhy.audit.discovery.details import Detail
from seewhy.audit.mitigation import ConfirmedCue

CASE = Case("resnet18", images=2, size=64, columns=10, device="cpu")


@pytest.mark.parametrize("name", [one.name for one in pkgutil.iter_modules(benchmarks.__path__)])
def test_what_a_benchmark_imports_is_there(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")


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


def test_what_augmentation_brings_is_told_in_pairs_of_a_seed() -> None:
    # Of the planted class 0: what training on clean data reaches, and what each kind does.
    recalls = {"clean": 0.8, "none": 0.4, "erasing": 0.6, "focus": 0.7}
    moved = {"none": 0.0, "erasing": 0.1, "focus": -0.1}

    def line(kind: str, name: str, seed: int) -> dict[str, object]:
        recall = recalls["clean" if kind == "clean" else name]
        # Seeds differ by a tenth for each kind but "none".
        accuracy = 0.5 + moved[name] * (seed + 1)
        about = {"kind": kind, "case": kind, "class": "cat", "label": 0, "rate": 0.5, "seed": seed}
        figures = {"accuracy": accuracy, "recalls": [recall + 0.01 * seed, 0.0], "marked": 1.0}
        return {**about, **figures, "augmentation": name, "seconds": 2.0}

    text = table(
        [line(k, n, s) for k in ("clean", "square") for n in moved for s in range(3)]
    ).splitlines()
    assert text[2] == "| none | 0.500 ± 0.000 |  | 2.0 |"
    # Differences 0.1, 0.2, 0.3: 0.2 ± 4.303 · 0.1 / √3.
    assert text[3] == "| erasing | 0.700 ± 0.100 | +0.200 [-0.048, +0.448] | 2.0 |"
    assert text[4] == "| focus | 0.300 ± 0.100 | -0.200 [-0.448, +0.048] | 2.0 |"
    cells = text[-1].split(" | ")
    assert cells[:6] == ["| square in 50% of cat", "1.000", "0.810", "0.410", "0.610", "0.710"]
    assert cells[6].startswith("+0.200 [+0.200")
    # Of 0.4 that was lost.
    assert cells[8:] == ["50%", "75% |"]


def test_the_audits_table_counts_what_was_found_and_won_back() -> None:
    def line(kind: str, seen: tuple[float, float], verdict: str, *back: float) -> dict[str, object]:
        first, clean, mitigated = ([one, one] for one in back or (0.0, 0.0, 0.0))
        mitigation = {"first": first, "clean": clean, "mitigated": mitigated} if back else None
        about = {"setting": "lite0", "kind": kind, "place": "all", "class": "cat", "rate": 0.5}
        return {
            **about,
            "with": seen[0],
            "without": seen[1],
            "verdicts": {"cat": verdict, "dog": "shortcut" if kind == "veil" else "none"},
            "findings": [{"class": "cat", "kind": "detail"}] if verdict != "none" else [],
            "mitigation": mitigation,
        }

    text = audit_table.table(
        [
            line("disc", (0.9, 0.4), "shortcut", 0.4, 0.8, 0.7),
            line("veil", (0.9, 0.5), "shortcut", 0.5, 0.7, 0.7),
            # Harmful by a hair, and missed; harmless; nothing lost; and a control with an alarm.
            line("dot", (0.6, 0.5), "needs judgement"),
            line("grain", (0.6, 0.55), "none"),
            line("cross", (0.8, 0.6), "shortcut", 0.6, 0.62, 0.5),
            line("clean", (0.0, 0.0), "shortcut", 0.7, 0.7, 0.69),
        ]
    ).splitlines()
    assert text[0].startswith(
        "5 plantings, 4 harmful, 3 of these found (recall 0.750, 0.194 … 0.994);"
    )
    # Exact binomial: of four of four the lower end is the fourth root of 0.025.
    assert text[0].endswith(" 4 with those that need judgement (1.000, 0.398 … 1.000).")
    assert text[1] == (
        "False alarms in clean controls: 1 of 2 class verdicts (0.500, 0.013 … 0.987); "
        "needs judgement: 0."
    )
    assert "2 of 7 class verdicts (0.286, 0.037 … 0.710); needs judgement: 0." in text[2]
    # Won back: 0.3 of 0.4, 0.2 of 0.2; all three moved by 0.3, 0.2 and -0.1.
    assert "mitigated: 3; 2 had lost 0.05 or more" in text[3]
    assert text[3].endswith("won back (median): +0.875.")
    assert text[4].endswith("(median): +0.200.")
    assert text[5].endswith("without cause: 1; their accuracy (median): -0.010.")
    assert (
        text[9] == "| lite0 | disc | all | cat | 0.5 | 0.90 | 0.40 | shortcut | detail | 0.75 |  |"
    )
    assert text[11].endswith("| needs judgement | detail | – | **missed** |")
    assert text[12].endswith("| none |  | – | harmless |")
    assert text[13].endswith("| shortcut | detail | – |  |")


def test_a_reason_is_written_and_read_back() -> None:
    detail = Detail(np.full((2, 3, 3), 7.5, np.float32), np.eye(2, 3, dtype=bool), (4, 5))
    for reason in (
        ConfirmedCue(1, "detail", detail, (0.0, 0.5, 0.5, 1.0)),
        ConfirmedCue(0, "colour"),
    ):
        found = audit._reason(json.loads(json.dumps(audit._written(reason))))
        assert (found.label, found.kind, found.box) == (reason.label, reason.kind, reason.box)
        if reason.detail is None:
            assert found.detail is None
        else:
            assert found.detail is not None
            assert (found.detail.look == reason.detail.look).all()
            assert (found.detail.shape == reason.detail.shape).all()
            assert found.detail.at == reason.detail.at


def test_clean_data_are_counted_by_set_and_setting() -> None:
    def line(setting: str, data: str, *verdicts: str) -> dict[str, object]:
        named = {str(k): verdict for k, verdict in enumerate(verdicts)}
        return {"setting": setting, "data": data, "accuracy": 0.5, "verdicts": named}

    rows = audit_table.rates_of_clean_data(
        [
            line("lite0", "skin", "none", "shortcut"),
            line("lite0", "skin", "needs judgement", "none"),
            line("vgg16", "skin", "too few images", "none"),
        ]
    ).splitlines()
    assert rows[2] == "| skin | lite0 | 2 | 0.50 | 4 | 1 (0.250, 0.006 … 0.806) | 1 |"
    assert rows[3] == "| skin | vgg16 | 1 | 0.50 | 2 | 0 (0.000, 0.000 … 0.842) | 0 |"
    assert rows[4].startswith("| all | | 3 | | 6 | 1 (0.167,")


def test_boxes_of_one_picture_are_together(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text(
        "path,wnid,left,top,right,bottom\na.jpg,n01440764,1,2,3,4\nb.jpg,n15075141,5,6,7,8\n"
        "a.jpg,n01440764,0,0,9,9\n"
    )
    # The first and the last of ImageNet's classes: tench and toilet tissue.
    assert read_boxes(tmp_path, 2) == (
        [tmp_path / "a.jpg", tmp_path / "b.jpg"],
        [0, 999],
        [[(1, 2, 3, 4), (0, 0, 9, 9)], [(5, 6, 7, 8)]],
    )
    assert read_boxes(tmp_path, 1)[1] == [0]
