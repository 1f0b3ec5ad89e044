"""Take a picture of a part of a study's report: python tools/screenshot_report.py RUN OUT.webp.

The README's pictures are made with it. It needs Playwright and a chromium; any element of the
page can be the part, by its CSS selector: ``#summary`` (the default), ``#explanations``,
``#comparison``, ``#viewer`` (after ``--click "#images-cards .shot"``).
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright


def main() -> None:
    """Read the command line, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("out", type=Path, help="the picture; its ending says which kind")
    parser.add_argument("--part", default="#summary", help="a CSS selector")
    parser.add_argument("--click", action="append", default=[], help="what to click first")
    parser.add_argument("--width", type=int, default=1280, help="of the page, CSS pixels")
    parser.add_argument("--height", type=int, default=900, help="at most, CSS pixels; 0: all")
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": given.width, "height": 1200},
            color_scheme="dark" if given.dark else "light",
            reduced_motion="reduce",
        )
        page.goto((given.run / "report" / "index.html").resolve().as_uri())
        for selector in given.click:
            page.locator(selector).first.click()
        shown = page.locator(given.part).first.screenshot()
        browser.close()
    with Image.open(io.BytesIO(shown)) as picture:
        height = min(picture.height, given.height or picture.height)
        picture.convert("RGB").crop((0, 0, picture.width, height)).save(given.out, quality=88)
    print(f"{given.out}: {picture.width} × {height} pixels, {given.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
