"""The report in a real browser: controls work, names stay text, nothing leaves the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from seewhy.report.build import build_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
EVIL = "<script>window.ran = 1</script>"
ATTRIBUTE = '"><img src=x onerror="window.ran = 2">'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a page complained about and asked for."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def _open(browser: Any, path: Path, seen: Seen | None = None, **settings: Any) -> Any:
    seen = seen or Seen()
    page = browser.new_page(**settings)
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(path.as_uri())
    return page


def test_names_run_nothing_and_nothing_leaves_the_page(make_run: Callable, browser: Any) -> None:
    names = [EVIL, ATTRIBUTE, "a" * 70]
    path = build_report(*make_run(classes=names, study=EVIL, files=ATTRIBUTE, source=ATTRIBUTE))
    seen = Seen()
    page = _open(browser, path, seen)
    assert page.evaluate("window.ran") is None
    assert page.locator("h1").inner_text() == EVIL
    assert page.locator(f"text={EVIL}").count() > 1
    assert seen.complaints == []
    assert seen.requests[0] == path.as_uri()
    assert [a for a in seen.requests[1:] if not a.startswith("data:")] == []


def test_the_page_runs_no_script_but_its_own(make_run: Callable, browser: Any) -> None:
    path = build_report(*make_run())
    slipped_in = "<script>window.ran = 3</script></body>"
    path.write_text(path.read_text("utf-8").replace("</body>", slipped_in), "utf-8")
    page = _open(browser, path)
    assert page.evaluate("window.ran") is None
    assert page.locator(".controls").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_page(make_run: Callable, browser: Any, scheme: str) -> None:
    names = ["an_extraordinarily_long_class_name_without_any_space_in_it", "dog", "frog"]
    path = build_report(*make_run(classes=names, files="a_long_file_name_" * 6))
    seen = Seen()
    page = _open(browser, path, seen, color_scheme=scheme)
    for width in (360, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 250, 246)"
    assert light == (scheme == "light")
    assert seen.complaints == []


def test_the_slider_changes_the_maps(make_run: Callable, browser: Any) -> None:
    page = _open(browser, build_report(*make_run()))
    opacity = "getComputedStyle(document.querySelector('.gallery .heat')).opacity"
    assert float(page.evaluate(opacity)) == pytest.approx(0.6)
    slider = page.locator("#opacity")
    slider.fill("25")
    assert float(page.evaluate(opacity)) == pytest.approx(0.25)
    assert page.locator("#opacity-shown").inner_text() == "25 %"
    slider.focus()
    page.keyboard.press("Home")
    assert float(page.evaluate(opacity)) == 0


def test_filters(make_run: Callable, browser: Any) -> None:
    page = _open(browser, build_report(*make_run()))
    visible = page.locator(".shot:visible")
    everything = visible.count()
    page.select_option("#filter-class", "0")
    assert visible.count() == 7
    page.select_option("#filter-backbone", "0")
    assert visible.count() == 5
    page.select_option("#filter-right", "0")
    assert [shot.get_attribute("data-id") for shot in visible.all()] == ["id012", "id014"]
    assert page.locator("#filter-count").inner_text() == f"2 of {everything} shown"
    assert page.locator(".class:visible").count() == 1
    page.select_option("#filter-class", "2")
    assert visible.count() == 0
    for name in ("class", "backbone", "right"):
        page.select_option(f"#filter-{name}", "")
    assert visible.count() == everything


def test_without_scripts_everything_shows(make_run: Callable, browser: Any) -> None:
    path = build_report(*make_run())
    page = _open(browser, path, java_script_enabled=False)
    assert page.locator(".shot:visible").count() == page.locator(".shot").count() > 0
    assert not page.locator(".controls").is_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_the_search_is_reached_and_unfolded_by_keyboard(
    make_run: Callable, browser: Any, scripts: bool
) -> None:
    path = build_report(*make_run(failed=ATTRIBUTE + EVIL))
    seen = Seen()
    view = {"width": 360, "height": 800}
    page = _open(browser, path, seen, viewport=view, java_script_enabled=scripts)
    heading = sync_api.expect(page.locator("#search h2"))
    heading.not_to_be_in_viewport()
    page.locator(".contents a", has_text="Search").focus()
    page.keyboard.press("Enter")
    heading.to_be_in_viewport()
    table = page.locator("#search .trials")
    assert not table.is_visible()
    page.locator("#search summary").focus()
    page.keyboard.press("Enter")
    assert table.is_visible()
    # From the folded table's heading on into the table, which scrolls by keyboard.
    page.keyboard.press("Tab")
    region = page.locator("#search details .scroll")
    assert region.evaluate("box => box === document.activeElement")
    # Chromium lets one scroll any box by keyboard, other browsers only those that say so.
    assert region.get_attribute("tabindex") == "0"
    assert table.locator("tbody tr").count() == 9
    assert page.locator("#search svg:visible").count() == 8
    assert page.evaluate("window.ran") is None
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert seen.complaints == []


def test_photographs_and_maps_are_really_drawn(make_run: Callable, browser: Any) -> None:
    page = _open(browser, build_report(*make_run()))
    picture = page.locator(".gallery .layers .picture").first
    picture.scroll_into_view_if_needed()
    page.locator("#opacity").fill("0")
    bare = picture.screenshot()
    page.locator("#opacity").fill("100")
    assert picture.screenshot() != bare
