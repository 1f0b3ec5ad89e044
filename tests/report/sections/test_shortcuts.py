"""The audit's section, from records written by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seewhy.report.build import build_report
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.audit import (
    Audit,
    AuditImages,
    CarrierScore,
    ClassAudit,
    EffectRecord,
    EvidencePlace,
    Finding,
    ObjectEvidence,
)

SENTENCE = "Shortcut for '<dog>': a detail in the lower left corner, in 48 % of its images."


def audit() -> Audit:
    finding = Finding(
        kind="detail",
        verdict="shortcut",
        sentence=SENTENCE,
        where="the lower left corner",
        box=[0.75, 0.0, 1.0, 0.25],
        carriers=["000003"],
        share=0.48,
        share_of_others=0.004,
        insertion=EffectRecord(
            change=0.614,
            low=0.5,
            high=0.7,
            p=0.0012,
            turned=0.83,
            turned_control=0.02,
            donors=12,
            images=96,
        ),
        other_patches=0.011,
        own_patches=-0.004,
        range=0.9,
        ablation=None,
        objects=ObjectEvidence(
            images=35, placed=33, placed_off=0.97, covered=0.021, with_map=12, evidence_off=0.81
        ),
        with_it=CarrierScore(images=2, accuracy=1.0),
        without_it=CarrierScore(images=1, accuracy=0.0),
        examples=1,
    )
    place = EvidencePlace(excess=4.25, concentration=0.5, border=0.4, corners=0.3)
    classes = [
        ClassAudit(**{"class": "cat", "verdict": "none", "candidates": 2}),
        ClassAudit(
            **{
                "class": "dog",
                "verdict": "shortcut",
                "findings": [finding],
                "evidence": place,
                "candidates": 3,
            }
        ),
        ClassAudit(**{"class": "frog", "verdict": "none", "candidates": 1}),
    ]
    return Audit(
        stage="finetuning",
        images=AuditImages(discovery=9, screening=3, extra_donors=2, confirmation=4),
        candidates=6,
        seconds=61.0,
        sentences=[SENTENCE],
        searched="Looked for everything.",
        classes=classes,
    )


def page_of(run: RunDirectory) -> str:
    return build_report(run, run.summary.read()).read_text("utf-8")


def test_a_confirmed_shortcut_follows_the_result_at_once(
    make_run: Callable[..., tuple[RunDirectory, object]],
) -> None:
    run, _ = make_run(backbones=("net_a",))
    pictures = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16, 3), dtype=np.uint8)
    run.audit.write("net_a", audit(), {"1-0": pictures}, {})
    page = page_of(run)
    safe = SENTENCE.replace("'", "&#39;").replace("<", "&lt;").replace(">", "&gt;")
    lead = page[page.index('<p class="lead">') :]
    assert lead.index('<p class="warning">') < lead.index('<figure class="highlights">')
    assert f'<p class="warning">{safe}' in lead
    section = page[page.index('<section id="shortcuts">') :]
    assert "+0.61 (+0.50 … +0.70) on 96 images, 12 donors" in section
    assert "share predicted as dog: 0.83, control 0.02; corrected p = 0.0012" in section
    assert (
        "with it: accuracy 1.00 on 2 test images; without it: accuracy 0.00 on 1 test image"
        in section
    )
    assert (
        "<dt>Object masks</dt><dd>the cue is off the object in 0.97 of 33 images (share of the cue "
        "on the object: 0.02); 0.81 of the evidence is off the object (12 images)</dd>"
    ) in section
    assert section.count('<div class="row"><img') == 1
    assert 'class="patch"' in section
    assert "Looked for everything. Time: 1 min 1 s." in section
    assert "4.25" in section


def test_what_was_not_audited_is_said(make_run: Callable[..., tuple[RunDirectory, object]]) -> None:
    run, _ = make_run(backbones=("net_a",))
    page = page_of(run)
    assert page.count("The fine-tuned classifier has not been audited") == 1


def test_nothing_found_says_what_was_searched(
    make_run: Callable[..., tuple[RunDirectory, object]],
) -> None:
    run, _ = make_run(backbones=("net_a",))
    found = audit()
    for one in found.classes:
        one.findings, one.verdict = [], "none"
    found.sentences = []
    run.audit.write("net_a", found, {}, {})
    page = page_of(run)
    assert "No shortcut was found." in page
    assert "Looked for everything." in page
