"""The report in a real browser: controls work, names stay text, nothing leaves the page."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seewhy.explanation.overlay import heat
from seewhy.report.build import build_report

from .sections.test_comparison import judge

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
EVIL = "</script><script>window.ran = 1</script><!--"
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
    page = browser.new_page(reduced_motion="reduce", **settings)
    page.set_default_timeout(60_000)
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(path.as_uri())
    return page


@pytest.fixture(scope="module")
def opened(
    browser: Any, write_run: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Seen]]:
    """One page of two backbones for the whole module, and what it complained about."""
    seen = Seen()
    path = build_report(*write_run(tmp_path_factory.mktemp("page") / "run"))
    page = _open(browser, path, seen)
    yield page, seen
    page.close()
    assert seen.complaints == []
    assert [a for a in seen.requests[1:] if not a.startswith("data:")] == []


@pytest.fixture
def page(opened: tuple[Any, Seen]) -> Any:
    """The module's page, with every control as it was at first."""
    page = opened[0]
    page.evaluate("for (const d of document.querySelectorAll('dialog[open]')) d.close()")
    page.locator("#images-reset").click()
    page.locator("#images-beside").check()
    page.locator("#images .opacity").fill("60")
    return page


def _cards(page: Any) -> list[str]:
    return page.eval_on_selector_all("#images-cards .shot", "all => all.map(a => a.dataset.id)")


def _choose(page: Any, **choices: str) -> list[str]:
    for name, label in choices.items():
        page.select_option(f"#images-{name}", label=label)
    return _cards(page)


def test_names_run_nothing_and_nothing_leaves_the_page(make_run: Callable, browser: Any) -> None:
    names = [EVIL, ATTRIBUTE, "a" * 70]
    path = build_report(
        *make_run(classes=names, names=names, study=EVIL, files=ATTRIBUTE, source=ATTRIBUTE)
    )
    seen = Seen()
    page = _open(browser, path, seen)
    assert page.locator("h1").inner_text() == EVIL
    # In the page, in the gallery that the script makes, in its large view.
    assert page.locator("#evaluation .matrix th", has_text=EVIL).count() > 0
    assert page.locator("#images-cards .truth", has_text=EVIL).count() > 0
    page.select_option("#images-label", label=EVIL)
    page.locator("#images-cards .shot").first.click()
    assert page.locator("#viewer-title").inner_text() == EVIL
    assert page.locator("#viewer h3").first.inner_text() == EVIL
    assert page.evaluate("window.ran") is None
    assert page.locator("script:not([type])").count() == 1
    assert seen.complaints == []
    assert seen.requests[0] == path.as_uri()
    assert [a for a in seen.requests[1:] if not a.startswith("data:")] == []
    page.close()


def test_the_page_runs_no_script_but_its_own(make_run: Callable, browser: Any) -> None:
    path = build_report(*make_run())
    slipped_in = "<script>window.ran = 3</script></body>"
    path.write_text(path.read_text("utf-8").replace("</body>", slipped_in), "utf-8")
    page = _open(browser, path)
    assert page.evaluate("window.ran") is None
    assert page.locator("#images-controls").is_visible()
    page.close()


def test_nothing_is_wider_than_the_page(make_run: Callable, browser: Any) -> None:
    names = ["an_extraordinarily_long_class_name_without_any_space_in_it", "dog", "frog"]
    path = build_report(*make_run(classes=names, files="a_long_file_name_" * 6))
    seen = Seen()
    page = _open(browser, path, seen)
    background = "getComputedStyle(document.body).backgroundColor"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert (page.evaluate(background) == "rgb(251, 250, 246)") == (scheme == "light")
        for width in (360, 768, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") == width
    page.set_viewport_size({"width": 360, "height": 800})
    page.locator("#images-cards .shot").first.click()
    dialog = "const d = document.getElementById('viewer'); d.scrollWidth <= d.clientWidth"
    assert page.evaluate(dialog)
    assert seen.complaints == []
    page.close()


MEASURE_TABLES = """() => [...document.querySelectorAll("main table")].map((table) => {
  const region = table.closest(".scroll");
  const column = document.querySelector("main").getBoundingClientRect();
  const shadows = getComputedStyle(region ?? table).backgroundAttachment.split(", ");
  return {
    name: region?.getAttribute("aria-label") ?? table.className,
    beyond: (region ?? table).getBoundingClientRect().right > column.right + 1,
    cut: region !== null && region.scrollWidth > region.clientWidth + 1,
    hinted: shadows.includes("scroll") && shadows.includes("local"),
  };
})"""


@pytest.mark.parametrize("width", [1280, 390])
def test_no_table_is_cut_without_a_visible_hint(
    make_run: Callable, browser: Any, width: int
) -> None:
    made = make_run(names=["tf_efficientnet_lite0.in1k", "resnet50.tv_in1k"])
    judge(made)
    page = _open(browser, build_report(*made), viewport={"width": width, "height": 900})
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    tables = page.evaluate(MEASURE_TABLES)
    assert len(tables) > 15
    assert [one["name"] for one in tables if one["beyond"]] == []
    assert [one["name"] for one in tables if one["cut"] and not one["hinted"]] == []
    if width == 390:
        assert any(one["cut"] for one in tables)
    page.close()


def test_the_shadow_at_a_cut_table_is_seen_and_goes_at_its_end(
    make_run: Callable, browser: Any
) -> None:
    made = make_run()
    judge(made)
    page = _open(browser, build_report(*made), viewport={"width": 390, "height": 900})
    region = page.locator(".scroll[aria-label='Calibration']")
    region.scroll_into_view_if_needed()
    # Without words and lines, only the hint can darken the right edge.
    region.evaluate("box => { box.firstElementChild.style.visibility = 'hidden' }")

    def edge() -> float:
        shown = np.asarray(Image.open(io.BytesIO(region.screenshot())).convert("L"), dtype=float)
        return float(shown[:, -4:].mean())

    cut = edge()
    region.evaluate("box => { box.scrollLeft = box.scrollWidth }")
    assert cut < edge() - 20
    page.close()


def test_sections_come_in_the_order_in_which_a_reader_asks(page: Any) -> None:
    order = ["summary", "shortcuts", "evaluation", "explanations", "comparison", "training",
             "search", "data", "provenance"]  # fmt: skip
    assert page.eval_on_selector_all("main > section", "all => all.map(a => a.id)") == order
    links = page.eval_on_selector_all(".contents a", "all => all.map(a => a.hash.slice(1))")
    assert links == order


def test_every_slider_changes_all_maps(page: Any) -> None:
    opacity = "all => [...new Set(all.map(a => getComputedStyle(a).opacity))]"
    assert page.eval_on_selector_all(".heat", opacity) == ["0.6"]
    slider = page.locator("#images .opacity")
    slider.fill("25")
    assert page.eval_on_selector_all(".heat", opacity) == ["0.25"]
    assert page.locator(".opacity + output").all_inner_texts()[0] == "25 %"
    slider.focus()
    page.keyboard.press("Home")
    assert page.eval_on_selector_all(".heat", opacity) == ["0"]


def test_choosing_and_sorting(page: Any) -> None:
    # Confidences of Net A: 0.9 0.6 0.7 0.5 0.8 0.95 0.99 0.4, test images begin at id009.
    surest = ["id015", "id014", "id009", "id013", "id011", "id010", "id012", "id016"]
    assert _cards(page) == surest
    assert _choose(page, order="least confident first") == surest[::-1]
    assert _choose(page, order="as in the data") == sorted(surest)
    # Wrong are 3 and 5, dogs taken for cats; a dog's own score is 0.25 and 0.025 there.
    own = _choose(page, order="lowest probability of its class first")
    assert own[:3] == ["id014", "id012", "id016"]
    assert _choose(page, right="wrong only") == ["id014", "id012"]
    assert page.locator("#images-count").inner_text().startswith("2 of 8 images")
    assert _choose(page, right="correct and wrong", label="dog", taken="dog") == ["id013"]
    assert _choose(page, label="frog", taken="cat") == []
    assert page.locator("#images-count").inner_text() == "No test image matches."
    page.locator("#images-reset").click()
    # They name images 1, 3, 5 and 6 differently.
    apart = _choose(page, right="where backbones disagree", order="as in the data")
    assert apart == ["id010", "id012", "id014", "id015"]


def test_backbone_and_stage(page: Any) -> None:
    by = "#images-cards .shot >> nth=0 >> .by"
    assert page.locator(by).all_inner_texts() == ["net_a", "net_b"]
    _choose(page, backbone="net_b", label="dog", taken="frog")
    assert _cards(page) == ["id014"]
    assert page.locator(by).all_inner_texts() == ["net_b", "net_a"]
    page.locator("#images-beside").uncheck()
    assert page.locator("#images-cards .tile").count() == 2
    # At adaptation Net A has Net B's answers.
    page.locator("#images-reset").click()
    _choose(page, backbone="net_a", stage="Adaptation", right="wrong only")
    assert sorted(_cards(page)) == ["id010", "id014", "id015"]


def test_a_cell_of_a_matrix_opens_its_images_by_mouse_and_keyboard(page: Any) -> None:
    # Net B fine-tuned: one dog taken for a frog.
    matrix = page.locator("table.matrix[data-backbone='1'][data-stage='1']")
    cell = matrix.locator("tbody tr").nth(1).locator("td").nth(2).locator("button")
    assert cell.get_attribute("title") == "dog predicted as frog, 33%"
    cell.click()
    assert _cards(page) == ["id014"]
    values = page.evaluate("[...document.querySelectorAll('#images select')].map(a => a.value)")
    assert values[:5] == ["1", "1", "1", "2", ""]
    page.locator("#images-back").click()
    assert cell.evaluate("button => button === document.activeElement")
    # One stop for the Tab key, arrows inside; where only zeros are left, the focus stays.
    assert matrix.locator("button[tabindex='0']").count() == 1
    first = matrix.locator("button").first
    first.focus()
    page.keyboard.press("ArrowDown")
    assert first.evaluate("button => button === document.activeElement")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    shown = page.evaluate(
        "['label', 'taken'].map(a => document.getElementById('images-' + a).value)"
    )
    assert shown == ["1", "1"]
    assert page.locator("#images-title").evaluate("title => title === document.activeElement")


def test_the_large_view(page: Any) -> None:
    _choose(page, order="as in the data")
    page.locator("#images-cards .shot").nth(5).focus()
    page.keyboard.press("Enter")
    viewer = page.locator("#viewer")
    assert viewer.is_visible()
    assert page.locator("#viewer-title").inner_text() == "dog"
    assert page.locator("#viewer-place").inner_text() == "6 of 8"
    # Net A after fine-tuning takes it for a cat with 0.95.
    chances = viewer.locator("section").first.locator(".chances").nth(1).locator("li")
    texts = [[*one.locator("span").all_inner_texts()] for one in chances.all()]
    assert [[a, c] for a, _, c in texts] == [
        ["cat", "0.950"],
        ["dog (true)", "0.025"],
        ["frog", "0.025"],
    ]
    page.keyboard.press("ArrowRight")
    assert page.locator("#viewer-title").inner_text() == "frog"
    page.locator("#viewer-previous").click()
    page.locator("#viewer-previous").click()
    assert page.locator("#viewer-file").inner_text() == "photo13.jpg"
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    page.locator(".gallery .shot .enlarge").first.click()
    first = page.locator(".gallery .shot").first.get_attribute("data-id")
    assert page.locator("#viewer-file").inner_text() == f"photo{int(first[2:])}.jpg"
    page.locator("#viewer-close").click()
    assert not viewer.is_visible()


@pytest.mark.parametrize(("of", "corner"), [("the predicted class", 0), ("the true class", 2)])
def test_maps_are_drawn_as_elsewhere(page: Any, of: str, corner: int) -> None:
    # A dog that Net A takes for a cat: its two maps have their peaks in opposite corners.
    assert (
        _choose(page, label="dog", right="wrong only", order="most confident first", map=of)[0]
        == "id014"
    )
    draw = """canvas => [...canvas.getContext('2d').getImageData(0, 0, 96, 96).data]"""
    found = page.locator("#images-cards .shot >> nth=0 >> canvas >> nth=0").evaluate(draw)
    map_ = np.ones((3, 3))
    map_[corner, corner] = 4
    expected = heat(map_, (96, 96)).astype(int)
    shown = np.array(found).reshape(96, 96, 4)
    # A canvas keeps colours times their coverage, so that a faint one is rounded more.
    assert np.abs(shown[..., 3] - expected[..., 3]).max() <= 2
    covered = expected[..., 3] > 120
    assert np.abs(shown - expected)[covered].max() <= 4
    assert covered.mean() > 0.9


@pytest.fixture(scope="module")
def outlined(
    browser: Any, write_run: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """One page of a study with masks of a black and of a white picture; the others have none."""
    run, summary = write_run(tmp_path_factory.mktemp("masked") / "run", backbones=["net_a"])
    data = run.data.read()
    dark, light = data.where("test")[[2, 7]]
    masks = np.zeros(data.pixels.shape[:3], dtype=bool)
    masks[[dark, light], 16:48, 16:48] = True
    pixels = np.array(data.pixels)
    pixels[dark], pixels[light] = 0, 255
    np.save(run.data.masks_path, masks)
    np.save(run.data.pixels_path, pixels)
    run.data.write(replace(data, masks=masks))
    page = _open(browser, build_report(run, summary))
    yield page
    page.close()


def test_outlines_are_seen_on_dark_and_on_light_pictures(outlined: Any) -> None:
    page = outlined
    page.locator("#images .opacity").fill("0")
    ids = [f"id{number:03d}" for number in (9 + 2, 9 + 7)]
    for place in (".gallery", "#images-cards"):
        for id_, background in zip(ids, (0, 255), strict=True):
            layers = page.locator(f"{place} .shot[data-id={id_}] .layers").first
            page.evaluate(
                "for (const a of document.querySelectorAll('.class')) delete a.dataset.off"
            )
            layers.scroll_into_view_if_needed()
            shown = np.asarray(Image.open(io.BytesIO(layers.screenshot())).convert("L"), np.int16)
            side = shown.shape[0]
            # Across the left edge of the object, a quarter from the left, half way down.
            across = shown[side // 2, side // 8 : side * 3 // 8]
            assert across.min() < 60
            assert across.max() > 140
            changed = np.abs(across - background) > 100
            assert 1 <= changed.sum() <= 5
            # The line keeps its width in pixels whatever the size of the picture.
            assert abs(int(np.flatnonzero(changed).mean()) + side // 8 - side // 4) <= 2
    assert page.locator("#images-cards .outline").count() == 2
    assert page.locator("#images-cards .shot .tile").first.locator(".outline").count() == 0


def test_outlines_can_be_hidden_everywhere(outlined: Any) -> None:
    page = outlined
    box = page.locator("#images .outlines")
    box.uncheck()
    assert page.locator(".outline:visible").count() == 0
    assert not page.locator(
        ".gallery ~ * .outlines, #explanations form .outlines"
    ).last.is_checked()
    box.check()
    page.locator(f"#images-cards .shot[data-id=id{9 + 2:03d}]").click()
    assert page.locator("#viewer .outline:visible").count() == 2
    page.locator("#viewer .outlines").uncheck()
    assert page.locator(".outline:visible").count() == 0
    page.locator("#viewer .outlines").check()
    page.locator("#viewer-close").click()


def test_a_study_without_masks_says_nothing_of_outlines(page: Any) -> None:
    assert page.locator(".outline, .outlines").count() == 0
    assert page.locator("#explanations", has_text="is the outline of").count() == 0


def test_pictures_are_really_seen(page: Any) -> None:
    for picture in (".gallery .layers .picture", "#images-cards .layers"):
        place = page.locator(picture).first
        place.scroll_into_view_if_needed()
        page.locator("#images .opacity").fill("0")
        bare = place.screenshot()
        page.locator("#images .opacity").fill("100")
        assert place.screenshot() != bare


def test_the_selection_shows_one_class_at_a_time(page: Any) -> None:
    shown = page.locator(".gallery .class:visible")
    assert [one.get_attribute("id") for one in shown.all()] == ["class-0"]
    page.locator(".averages a", has_text="frog").click()
    assert [one.get_attribute("id") for one in shown.all()] == ["class-2"]
    page.locator(".jump a", has_text="all classes").focus()
    page.keyboard.press("Enter")
    assert shown.count() == 3
    page.locator(".jump a", has_text="cat").click()
    assert page.locator(".jump [aria-current]").all_inner_texts() == ["cat"]


def test_an_empty_map_is_said_to_be_empty(page: Any) -> None:
    _choose(page, order="as in the data")
    second = page.locator("#images-cards .shot").nth(1)
    assert second.locator(".empty").all_inner_texts() == ["empty map", "empty map"]
    assert second.locator("canvas").count() == 0


def test_without_scripts_and_in_print_the_selection_shows(
    make_run: Callable, browser: Any, page: Any
) -> None:
    path = build_report(*make_run())
    still = _open(browser, path, java_script_enabled=False)
    assert still.locator(".shot:visible").count() == still.locator(".shot").count() > 0
    assert not still.locator("#images").is_visible()
    still.close()
    page.emulate_media(media="print")
    shots = page.locator(".gallery .shot")
    assert shots.filter(visible=True).count() == shots.count() > 0
    assert not page.locator("#images").is_visible()
    # A4 less its margins: nothing is cut off.
    size = page.viewport_size
    page.set_viewport_size({"width": 718, "height": 1000})
    assert page.evaluate("document.documentElement.scrollWidth") == 718
    page.set_viewport_size(size)
    page.emulate_media(media="screen")


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
    page.close()
