"""Three backbones and 2,000 test images: the page stays small, and its galleries quick."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from seewhy.report.build import build_report

NETS = ("net_a", "net_b", "net_c")
IMAGES = 2000


@pytest.mark.soak
@pytest.mark.parametrize("side", [32, 192])
def test_three_backbones_and_two_thousand_images(make_run: Callable, side: int) -> None:
    """Noise is what no compression makes smaller: real photographs take less."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    rng = np.random.default_rng(0)
    labels = np.arange(IMAGES) % 10
    answers = {}
    for net in NETS:
        wrong = rng.random(IMAGES) < 0.2
        predicted = np.where(wrong, rng.integers(0, 10, IMAGES), labels)
        confidence = rng.uniform(0.3, 1, IMAGES)
        rows = zip(labels.tolist(), predicted.tolist(), confidence.tolist(), strict=True)
        answers[net] = list(rows)
    classes = [f"class {k}" for k in range(10)]
    made = make_run(classes=classes, backbones=NETS, side=side, answers=answers, cells=14)
    started = time.process_time()
    path = build_report(*made)
    built = time.process_time() - started
    megabytes = path.stat().st_size / 1e6
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        started = time.monotonic()
        page.goto(path.as_uri())
        page.locator("#images-cards .shot").first.wait_for()
        opened = time.monotonic() - started
        started = time.monotonic()
        page.select_option("#images-right", "wrong")
        page.select_option("#images-order", "least")
        chosen = time.monotonic() - started
        assert page.locator("#images-cards .shot").count() == 24
        shown = page.locator("#images-cards .shot >> nth=0 >> img >> nth=0")
        assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") >= 32
        browser.close()
    sys.stdout.write(
        f"\n{side} px: {megabytes:.1f} MB, written in {built:.1f} s of processor time, "
        f"opened in {opened:.1f} s, chosen and sorted twice in {chosen:.2f} s\n"
    )
    assert megabytes <= 25
    assert chosen < 5
