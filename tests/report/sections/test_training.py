"""The report on training, where the head was fitted at once instead of trained."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from seewhy.report.build import build_report
from seewhy.storage.schemas.training import FittedHeadSummary

CHOSEN = "5 training images per class: logistic regression (C = 0.1), chosen by cross-validation"
FITTED = FittedHeadSummary(
    kind="logistic", parameter=0.1, temperature=0.5, images_per_class=5, folds=4, chosen=CHOSEN
)


def _words(page: str, section: str) -> str:
    source = page.partition(f'<section id="{section}">')[2].partition("</section>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", source)).split())


def _page(made: tuple, *fitted: str) -> str:
    run, summary = made
    for slug in fitted:
        summary.backbones[slug].head.fitted = FITTED
    return build_report(run, summary).read_text("utf-8")


def test_a_fitted_head_has_no_epochs_and_no_learning_rate(make_run: Callable) -> None:
    page = _page(make_run(searched=()), "net_a")
    words = _words(page, "training")
    assert f"Head {CHOSEN}; fine-tuning in batches of 64" in words
    assert len(re.findall(r"Adaptation – – 0\.\d+ – ", words)) == 1
    assert words.count("The head was fitted to all training images at once") == 1
    assert _words(page, "search") == f"Search net_a: {CHOSEN}."


def test_beside_a_search_the_reason_is_in_the_backbones_part(make_run: Callable) -> None:
    words = _words(_page(make_run(), "net_b"), "search")
    assert words.endswith(f"net_b {CHOSEN}.")
    assert "The search was off" not in words
