"""The page in a real browser: it works without errors or requests, and text from the archive does nothing."""

import gzip
import itertools
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
from made_report import BOX, HOSTILE, PEAKS, SPACE, Page, build_report, made_cortex
from neurovault_ica.figures.slices import Scale, paint
from neurovault_ica.figures.surfaces import show_on_cortex
from neurovault_ica.images.clusters import drop_small_clusters
from neurovault_ica.images.cortex import places_of, share_in_mask
from neurovault_ica.images.maps import read_maps
from neurovault_ica.naming.own_names import OwnName, read_own_names
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from wrong_notes import WRONG_NOTES

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
# The surface is below this window, so a visit does not draw it.
WINDOW = {"width": 1000, "height": 700}
DESKTOP, TABLET, TELEPHONE = ({"width": w, "height": h} for w, h in ((1440, 900), (800, 1000), (390, 844)))

MAP_FILES = (f"run_ica/{SPACE}_components.nii.gz", "stack_images/mask.nii.gz")

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="needs chromium, chromium-browser or google-chrome on the PATH; none is there"
)


def hostile_words():
    """Prefix each text of the archive with the next hostile text."""
    texts = itertools.cycle(HOSTILE)
    return lambda text: f"{next(texts)} {text}"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Render the synthetic report with harmless and with hostile texts; return the paths."""
    folder = tmp_path_factory.mktemp("reports")
    return {
        "honest": build_report(folder / "honest", surfaces=True),
        "hostile": build_report(folder / "hostile", word=hostile_words(), surfaces=True),
    }


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=SWITCHES)
        yield browser
        browser.close()


def watch(page, complaints):
    """Add the page's messages, errors and requests to the list `complaints`."""
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda asked: complaints.extend({asked.url} - {page.url, "about:blank"} - allowed(asked)))
    return page


@pytest.fixture(scope="module")
def tab(browser):
    """The tab that most tests share, and its messages, errors and requests. Opening a tab takes longer than a load."""
    context, complaints = browser.new_context(offline=True), []
    yield watch(context.new_page(), complaints), complaints
    context.close()


@pytest.fixture
def visit(browser, pages, tab):
    """Open pages offline. After the test, fail if a page had an error or sent a request.

    All visits share one tab, so each replaces the page before. With `alone` or settings, a visit has a tab of its own.
    """
    contexts, (shared, complaints) = [], tab
    complaints.clear()

    def open_page(kind="honest", place="", *, file=None, viewport=WINDOW, alone=False, **settings):
        page = shared
        if alone or settings:
            contexts.append(browser.new_context(viewport=viewport, offline=True, **settings))
            page = watch(contexts[-1].new_page(), complaints)
        else:
            page.goto("about:blank")
            page.emulate_media(media="null")
            page.set_viewport_size(viewport)
        page.goto(f"{(file or pages[kind]).as_uri()}{place}")
        if place:
            page.wait_for_selector(f"#viewer[data-component='{place[1:]}']")
        return page

    open_page.complaints = complaints
    yield open_page
    for context in contexts:
        context.close()
    if shared.url != "about:blank":
        shared.evaluate("localStorage.clear()")
        shared.mouse.move(0, 0)
        shared.goto("about:blank")
    assert [line for line in complaints if not line.startswith("file:")] == []


def allowed(request):
    """Return the URL of an allowed request: for data within the page, or for the picture beside the page."""
    is_inside = request.url.startswith(("data:", "blob:"))
    return {request.url} if is_inside or request.url.endswith("plot_components/ICA_00_thumbnail.png") else set()


def shown_cards(page):
    return page.locator("#gallery > li:visible").evaluate_all("cards => cards.map(card => card.dataset.component)")


def read_place(page):
    return page.inner_text("[data-part=place]"), page.inner_text("[data-part=value]")


def pixel(page, axis, mm):
    """Read red, green and blue of a slice at a position in mm; the crosshair leaves a hole there."""
    across, up = ((1, 2), (0, 2), (0, 1))[axis]
    where = [
        (mm[across] - BOX.low[across] + 0.5) / (BOX.high[across] - BOX.low[across] + 1),
        1 - (mm[up] - BOX.low[up] + 0.5) / (BOX.high[up] - BOX.low[up] + 1),
    ]
    page.evaluate("() => new Promise(requestAnimationFrame)")
    return page.locator(f"canvas[data-axis='{axis}']").evaluate(
        """(canvas, [x, y]) => {
          const copy = new OffscreenCanvas(1, 1).getContext("2d");
          copy.drawImage(canvas, -Math.floor(x * canvas.width), -Math.floor(y * canvas.height));
          return [...copy.getImageData(0, 0, 1, 1).data];
        }""",
        where,
    )


def is_warm(colour):
    return colour[0] > colour[2] + 100


def is_cold(colour):
    return colour[2] > colour[0] + 50


def is_grey(colour):
    return max(colour[:3]) - min(colour[:3]) < 12 and colour[3] == 255


def move_slider(page, name, value):
    page.locator(name).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


@pytest.mark.long
def test_the_fixture_detects_console_errors_and_requests(visit, tmp_path):
    file = tmp_path / "page.html"
    file.write_text('<!DOCTYPE html><script>undefinedName()</script><img src="https://example.org/x.png">')
    visit(file=file).wait_for_load_state()
    assert {"undefinedName is not defined", "https://example.org/x.png"} <= set(visit.complaints)
    visit.complaints.clear()


def test_gallery_has_every_component_and_hides_their_pages(visit):
    page = visit()
    assert shown_cards(page) == ["ICA_00", "ICA_01"]
    assert page.locator("article:visible").count() == 0
    for pictures, kind in (("slices", ":not(.surface, .glass)"), ("surface", ".surface"), ("glass", ".glass")):
        page.select_option("#pictures", pictures)
        assert page.locator("#gallery img:visible").count() == 2
        expect(page.locator(f"#gallery img{kind}").first).to_be_visible()
        page.locator("#gallery img:visible").evaluate_all("all => Promise.all(all.map(image => image.decode()))")


def test_gallery_sorts(visit):
    page = visit()
    page.select_option("#sort", "share")
    assert shown_cards(page) == ["ICA_01", "ICA_00"]
    page.select_option("#sort", "restarts")
    assert shown_cards(page) == ["ICA_00", "ICA_01"]


def test_the_search_orders_by_evidence_and_marks_what_it_found(visit):
    page = visit()
    page.keyboard.press("/")
    page.keyboard.type("ICA_01 TERM 2")
    assert shown_cards(page) == ["ICA_01"]
    assert page.inner_text("#shown") == "1 of 2 shown, strongest evidence first; 0 by name or significant evidence"
    # A name with significant evidence is stronger than one without.
    page.fill("#search", "term")
    assert shown_cards(page) == ["ICA_00", "ICA_01"]
    assert page.inner_text("li[data-component=ICA_01] .found").startswith("name: unnamed (closest: ICA_01 term 1")
    assert page.locator("li[data-component=ICA_00] mark").all_inner_texts()[0] == "term"
    # Images, collections and regions are found, too.
    for query, said in (
        ("map 2", "image: map 2 (loading 0.10)"), ("seven", "collection of an image: Study seven (loading 0.90)"),
        ("INSULA", "region: Insula (peak of 9.5 SD)"), ("n-back", "metadata: n-back task (q\u00a00.031)"),
    ):  # fmt: skip
        page.fill("#search", query)
        assert shown_cards(page) == ["ICA_00"]
        assert page.inner_text("li[data-component=ICA_00] .found") == said
    page.fill("#search", "nothing of this")
    assert shown_cards(page) == []
    assert page.inner_text("#shown") == "No component matches."
    page.fill("#search", "")
    assert shown_cards(page) == ["ICA_00", "ICA_01"]
    assert page.locator(".found:visible").count() == 0
    page.fill("#search", "ICA_01")
    page.keyboard.press("Enter")
    page.wait_for_selector("#ICA_01:visible")
    assert page.title() == "ICA_01 unnamed (closest: ICA_01 term 1) · Cross-study ICA: 2 components of 3 images"


def test_a_click_opens_a_component_at_its_peak(visit):
    page = visit()
    page.click("#gallery a[href='#ICA_00']")
    page.wait_for_selector("#viewer[data-component='ICA_00']")
    (place, value), *_ = PEAKS["ICA_00"]
    assert page.locator("article:visible").evaluate_all("found => found.map(article => article.id)") == ["ICA_00"]
    assert read_place(page) == ("x −10, y 12, z 6 mm", f"{value} SD")
    for axis in range(3):
        assert is_warm(pixel(page, axis, place))
        assert is_grey(pixel(page, axis, (14, -10, -8)))


def test_a_dot_of_the_chart_opens_its_component(visit):
    page = visit()
    page.click(".scatter a[href='#ICA_01'] circle.flagged", force=True)
    page.wait_for_selector("#viewer[data-component='ICA_01']")
    assert page.locator(".scatter circle.flagged").count() == 1


def test_a_peak_in_the_table_moves_the_crosshair(visit):
    page = visit(place="#ICA_00")
    place, value = PEAKS["ICA_00"][1]
    page.click(f"button.place[data-mm='{place[0]:.1f} {place[1]:.1f} {place[2]:.1f}']")
    expect(page.locator("[data-part=place]")).to_contain_text("x 14")
    assert read_place(page) == ("x 14, y −20, z 10 mm", f"−{-value} SD")
    assert is_cold(pixel(page, 2, place))
    page.uncheck("[data-part=negative]")
    assert is_grey(pixel(page, 2, place))
    page.check("[data-part=negative]")
    page.uncheck("[data-part=positive]")
    assert is_cold(pixel(page, 2, place))


def limits(page):
    page.evaluate("() => new Promise(requestAnimationFrame)")
    return [page.inner_text(f"[data-part={sign}-limit]") for sign in ("positive", "negative")]


def test_thresholds_change_what_is_shown(visit):
    page = visit(place="#ICA_00")
    beside = (-4, 12, 12)  # 8.5 mm from the peak of 9.5, where the value is 2.3
    assert limits(page) == ["≥ 1.50 SD", "≤ −2.50 SD"]
    assert is_warm(pixel(page, 1, beside))
    move_slider(page, "[data-part=positive-threshold]", 5)
    assert limits(page) == ["≥ 5.00 SD", "≤ −6.00 SD"]
    assert is_grey(pixel(page, 1, beside))
    assert is_warm(pixel(page, 1, PEAKS["ICA_00"][0][0]))
    page.click("[data-part=reset]")
    assert is_warm(pixel(page, 1, beside))


def test_each_sign_has_its_own_threshold(visit):
    page = visit(place="#ICA_00")
    place, _ = PEAKS["ICA_00"][1]
    page.click(f"button.place[data-mm='{place[0]:.1f} {place[1]:.1f} {place[2]:.1f}']")
    page.uncheck("[data-part=together]")
    move_slider(page, "[data-part=negative-threshold]", 6.5)
    assert limits(page) == ["≥ 1.50 SD", "≤ −6.50 SD"]
    assert is_grey(pixel(page, 2, place))
    # At 4.5 the cluster is large enough to be shown.
    move_slider(page, "[data-part=negative-threshold]", 4.5)
    assert is_cold(pixel(page, 2, place))


@pytest.mark.long
def test_small_clusters_are_left_out_at_any_threshold(visit):
    """The cluster around the value of -6 has about 40 mm3 beyond 5.5, and 380 mm3 beyond 4."""
    page = visit(place="#ICA_00")
    place, _ = PEAKS["ICA_00"][1]
    page.click(f"button.place[data-mm='{place[0]:.1f} {place[1]:.1f} {place[2]:.1f}']")
    page.uncheck("[data-part=together]")
    move_slider(page, "[data-part=negative-threshold]", 5.5)
    assert is_grey(pixel(page, 2, place))
    move_slider(page, "[data-part=negative-threshold]", 4)
    assert is_cold(pixel(page, 2, place))
    # The cluster of the highest peak is always shown, however small.
    page.press("canvas[data-axis='2']", "Home")
    move_slider(page, "[data-part=positive-threshold]", 9)
    assert is_warm(pixel(page, 2, PEAKS["ICA_00"][0][0]))


@pytest.mark.long
def test_the_colour_bar_ends_where_the_values_end(visit):
    """ICA_00 has values from -6 to 9.5 and colours up to 9; ICA_01 has no negative values."""

    def bar():
        page.evaluate("() => new Promise(requestAnimationFrame)")
        return page.locator("[data-part=bar]").evaluate(
            """canvas => {
              const copy = new OffscreenCanvas(canvas.width, 1).getContext("2d");
              copy.drawImage(canvas, 0, -7);
              const bytes = copy.getImageData(0, 0, canvas.width, 1).data;
              return Array.from({ length: canvas.width }, (_, at) => [...bytes.slice(4 * at, 4 * at + 4)])
                .filter(one => one[3] === 255);
            }"""
        )

    page = visit(place="#ICA_00")
    colours = bar()
    assert page.evaluate("page.viewer.ends()") == pytest.approx([-6, 9.5], abs=0.05)
    shares = [np.mean([kind(colour) for colour in colours]) for kind in (is_cold, is_warm)]
    # Thresholds are -2.5 and 1.5; the upper end has a point of 7 pixels.
    assert shares == pytest.approx([3.5 / 15, 7.5 / 15], abs=0.05)
    page.uncheck("[data-part=negative]")
    assert not any(map(is_cold, bar()))
    page.check("[data-part=negative]")
    page = visit(place="#ICA_01")
    assert not any(map(is_cold, bar()))
    assert page.evaluate("page.viewer.ends()")[0] == 0
    assert any(map(is_warm, bar()))


def test_a_click_in_a_slice_moves_the_crosshair_there(visit):
    page = visit(place="#ICA_00")
    box = page.locator("canvas[data-axis='2']").bounding_box()
    zoom = box["width"] / (BOX.high[0] - BOX.low[0] + 1)
    page.mouse.click(box["x"] + (20.5 - BOX.low[0]) * zoom, box["y"] + (BOX.high[1] + 0.5 + 20) * zoom)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert read_place(page)[0] == "x 20, y −20, z 6 mm"
    # The wheel now changes the slice.
    page.mouse.wheel(0, -100)
    expect(page.locator("[data-part=place]")).to_contain_text("z 8 mm")


def see_surface(page, label="ICA_00"):
    """Scroll to the surface, wait until it is drawn, and return its state."""
    page.locator("#surface").scroll_into_view_if_needed()
    page.wait_for_selector(f"#surface[data-component='{label}']")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate(
        "(({ azimuth, elevation, sides, zoom }) => ({ azimuth, elevation, sides, zoom }))(page.surface)"
    )


def origin_of(page):
    """Return where the middle of a hemisphere is drawn, in pixels of the page."""
    return np.array(
        page.evaluate(
            """(({ surface }) => surface.project([0, 0, 0]).slice(0, 2)
                .map(at => at * surface.canvas.clientWidth / surface.size[0]))(page)"""
        )
    )


def colour_at(page, vertex):
    """Read the colour of a vertex, or nothing if the reader does not see it."""
    return page.evaluate(
        """vertex => {
          const { surface } = page;
          const place = [0, 1, 2].map(axis => surface.mm(surface.meshes.inflated, axis, vertex));
          place[0] += surface.shift(vertex < surface.meshes.half ? "left" : "right");
          const [x, y, z] = surface.project(place);
          const [column, row] = [Math.floor(x), Math.floor(y)];
          if (z < surface.picture.depths[row * surface.size[0] + column] - 3) return null;
          const copy = new OffscreenCanvas(1, 1).getContext("2d");
          copy.drawImage(surface.canvas, -column, -row);
          return [...copy.getImageData(0, 0, 1, 1).data];
        }""",
        vertex,
    )


@pytest.fixture(scope="module")
def on_cortex(pages):
    """ICA_00 on the made-up cortex, as plot_surfaces shows it, and its scale."""
    maps = read_maps(*(str(pages["honest"].parents[1] / name) for name in MAP_FILES))
    cortex, scale = made_cortex(), Scale(1.5, 2.5, 9.0)
    volume, places = maps.volume(0), places_of(maps.affine, cortex)
    share = share_in_mask(maps.inside, places, cortex)
    dropped = drop_small_clusters(volume, scale.threshold, scale.negative_threshold, 200)
    is_kept = (dropped.data >= scale.threshold) | (dropped.data <= -scale.negative_threshold)
    return show_on_cortex(volume.data, np.where(is_kept, volume.data, 0), scale, share, places), scale


def test_the_surface_has_the_values_and_colours_of_the_figure(visit, on_cortex):
    page = visit(place="#ICA_00")
    found, scale = on_cortex
    # The peak of 9.5 is on the left, the peak of -6 on the right.
    assert see_surface(page)["sides"] == ["left"]
    values = page.evaluate("[...page.surface.values].map(one => Number.isNaN(one) ? null : one)")
    values = np.array(values, dtype=float)
    assert 100 < np.isnan(values).sum() < 1000
    # Tolerance: the page's values have 8 bits. Its coordinates are rounded to 0.05 mm, and the map changes by up to 1.2
    # per mm.
    np.testing.assert_allclose(values, found.values, atol=9.5 / 127 / 2 + 0.06)
    shown = np.array(page.evaluate("[...page.surface.shown]"), dtype=bool)
    limits = np.where(found.values > 0, scale.threshold, scale.negative_threshold)
    is_clear = ~(np.abs(np.abs(found.values) - limits) < 0.1)
    np.testing.assert_array_equal(shown[is_clear], found.is_shown[is_clear])
    highest, lowest = int(np.nanargmax(found.values)), int(np.nanargmin(found.values))
    for vertex, is_right in ((highest, False), (lowest, True)):
        colours = []
        for side in ("lateral", "medial"):
            page.click(f"button[data-turn={'right' if is_right else 'left'}-{side}]")
            see_surface(page)
            colours.append(colour_at(page, vertex))
        (seen,) = filter(None, colours)
        expected = paint(found.values[[vertex], None], np.ones((1, 1)), scale)[0, 0]
        np.testing.assert_allclose(seen[:3], expected, atol=12)
    # The surface follows the slices: the lowest vertex is hidden by the threshold, and by switching off its sign.
    move_slider(page, "[data-part=negative-threshold]", -float(found.values[lowest]) + 0.3)
    see_surface(page)
    assert not any(map(is_cold, filter(None, [colour_at(page, lowest)])))
    page.click("[data-part=reset]")
    page.uncheck("[data-part=negative]")
    see_surface(page)
    assert not any(map(is_cold, filter(None, [colour_at(page, lowest)])))


@pytest.mark.long
def test_the_surface_turns_by_pointer_keys_and_buttons(visit):
    page = visit(place="#ICA_00")
    see_surface(page)
    page.click("button[data-turn=left-lateral]")
    assert see_surface(page) == {"azimuth": 180, "elevation": 0, "sides": ["left"], "zoom": 1}
    canvas = page.locator("canvas[data-part=surface]")
    read = "canvas => canvas.toDataURL()"
    before, box = canvas.evaluate(read), canvas.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 20, steps=3)
    page.mouse.up()
    # The surface follows the pointer, by half a degree per pixel.
    assert see_surface(page) == {"azimuth": 150, "elevation": 10, "sides": ["left"], "zoom": 1}
    assert canvas.evaluate(read) != before
    assert page.locator("button[aria-pressed=true]").count() == 0
    canvas.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowUp", "+", "-"):
        page.keyboard.press(key)
    assert see_surface(page) == {"azimuth": 180, "elevation": 0, "sides": ["left"], "zoom": 1}
    # Arrows on the surface do not open another component.
    assert page.url.endswith("#ICA_00")
    assert canvas.evaluate(read) == before
    page.click("button[data-turn=top]")
    assert see_surface(page)["sides"] == ["left", "right"]
    assert page.locator("button[aria-pressed=true]").all_inner_texts() == ["top"]
    # From above, the left hemisphere is on the left. A click moves the crosshair into the cortex. A click beside the
    # brain does nothing.
    for share, said in ((0.4, "x −"), (0.01, "x −"), (0.6, "x 1")):
        canvas.click(position={"x": share * box["width"], "y": box["height"] / 2})
        expect(page.locator("[data-part=place]")).to_contain_text(said)
    # With Shift, a magnified surface follows the pointer. The wheel zooms around the pointer.
    page.click("button[data-turn=left-lateral]")
    page.click("[data-part=zoom-in]")
    assert see_surface(page)["zoom"] == pytest.approx(1.44)
    first = origin_of(page)
    page.mouse.move(*middle)
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(middle[0] + 20, middle[1] - 10, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    see_surface(page)
    second = origin_of(page)
    np.testing.assert_allclose(second - first, [20, -10], atol=0.1)
    canvas.hover(position={"x": 100, "y": 80})
    page.mouse.wheel(0, -100)
    page.wait_for_function("page.surface.zoom > 1.7")
    see_surface(page)
    np.testing.assert_allclose(origin_of(page) - [100, 80], 1.2 * (second - [100, 80]), atol=0.1)
    page.click("[data-part=reset-view]")
    assert see_surface(page)["zoom"] == 1
    assert page.evaluate("page.surface.slid") == [0, 0]
    page.click("button[data-turn=top]")
    # The reader's view stays when another component is opened.
    page.keyboard.press("n")
    page.wait_for_selector("#viewer[data-component='ICA_01']")
    assert see_surface(page, "ICA_01")["elevation"] == 90
    file = saved(page, lambda: page.click("[data-part=save-surface]"))
    assert file.suggested_filename == "ICA_01_surface_view.png"


@pytest.mark.long
def test_two_fingers_move_and_zoom_the_surface(visit):
    page = visit(place="#ICA_00", viewport=TELEPHONE, has_touch=True, is_mobile=True)
    see_surface(page)
    page.click("button[data-turn=left-lateral]")
    see_surface(page)
    first, scrolled = origin_of(page), page.evaluate("scrollY")
    box = page.locator("canvas[data-part=surface]").bounding_box()
    half = np.array([box["width"], box["height"]]) / 2
    fingers = page.context.new_cdp_session(page)

    def touch(kind, *places):
        """Touch at these places, in pixels from the middle of the surface."""
        middle = half + np.array([box["x"], box["y"]])
        points = [{"x": x, "y": y, "id": order} for order, (x, y) in enumerate(middle + place for place in places)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    # Fingers 40 pixels apart go to 80 pixels apart, and their middle goes 12 pixels to the right and 9 down.
    touch("touchStart", (-20, 0), (20, 0))
    for step in (1, 2, 3):
        apart = 20 + 20 * step / 3
        touch("touchMove", (4 * step - apart, 3 * step), (4 * step + apart, 3 * step))
    touch("touchEnd")
    assert see_surface(page) == {"azimuth": 180, "elevation": 0, "sides": ["left"], "zoom": pytest.approx(2)}
    np.testing.assert_allclose(origin_of(page) - half, 2 * (first - half) + [12, 9], atol=0.6)
    assert page.evaluate("scrollY") == scrolled
    # One finger still turns, and a tap moves the crosshair.
    before = read_place(page)
    touch("touchStart", (0, 0))
    touch("touchMove", (30, 0))
    touch("touchMove", (60, 0))
    touch("touchEnd")
    assert see_surface(page)["azimuth"] == pytest.approx(165)
    assert read_place(page) == before
    touch("touchStart", (0, 0))
    touch("touchEnd")
    page.wait_for_function("text => document.querySelector('[data-part=place]').textContent !== text", arg=before[0])


@pytest.mark.long
def test_if_the_surface_fails_its_figure_is_shown(browser, pages):
    context = browser.new_context(offline=True)
    context.add_init_script("delete window.IntersectionObserver")
    page = context.new_page()
    page.goto(f"{pages['honest'].as_uri()}#ICA_00")
    page.wait_for_selector("#ICA_00 .on-cortex img:visible")
    page.wait_for_selector("#viewer[data-component='ICA_00']")
    assert not page.is_visible("#surface")
    context.close()


def test_outside_the_mask_there_is_no_value(visit):
    page = visit(place="#ICA_00")
    move_slider(page, "#viewer input[data-axis='0']", BOX.low[0])
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert read_place(page) == ("x −30, y 12, z 6 mm", "outside the mask")


def test_everything_works_with_the_keyboard(visit):
    page = visit()
    page.focus("#gallery a[href='#ICA_00']")
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer[data-component='ICA_00']")
    page.focus("canvas[data-axis='1']")
    for key in ("ArrowRight", "ArrowUp", "PageUp", "PageUp", "+"):
        page.keyboard.press(key)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert read_place(page)[0] == "x −8, y 16, z 8 mm"
    assert limits(page) == ["≥ 1.60 SD", "≤ −2.60 SD"]
    page.keyboard.press("Home")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert read_place(page)[0] == "x −10, y 12, z 6 mm"
    # Arrows belong to the slice that has the focus, and to the page otherwise.
    page.focus("#ICA_00 h2")
    for key, label in (("n", "ICA_01"), ("p", "ICA_00"), ("ArrowRight", "ICA_01")):
        page.keyboard.press(key)
        page.wait_for_selector(f"#viewer[data-component='{label}']")
    page.keyboard.press("Escape")
    page.wait_for_selector("#gallery")
    assert page.evaluate("document.activeElement.hash") == "#ICA_01"
    assert page.locator("article:visible").count() == 0
    page.go_back()
    page.wait_for_selector("#ICA_01:visible")


def test_tables_sort_and_filter(visit):
    page = visit(place="#ICA_00")
    values = "#ICA_00 .peaks td:nth-child(2)"
    assert page.locator(values).all_inner_texts()[:2] == ["9.50", "−6.00"]
    header = page.locator("#ICA_00 .peaks th:nth-child(2) button")
    header.click()
    assert page.locator(values).all_inner_texts()[:2] == ["−6.00", "2.00"]
    header.click()
    assert page.locator(values).all_inner_texts()[0] == "9.50"
    assert page.locator("#ICA_00 .peaks th:nth-child(2)").get_attribute("aria-sort") == "descending"


def test_hostile_texts_make_no_element_and_do_nothing(visit):
    names = []
    for kind in ("honest", "hostile"):
        page = visit(kind, "#ICA_00")
        names.append(Page(page.content()).names())
        page.keyboard.press("Escape")
        page.select_option("#sort", "term")
        page.fill("#search", "ICA_00 term")
    assert names[0] == names[1]
    assert any(text in page.inner_text("#gallery") for text in HOSTILE)


@pytest.mark.long
def test_dark_mode_is_dark_and_light_is_light(visit):
    page = visit(place="#ICA_00", color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(page.evaluate(background)) < 60
    # Around the brain a slice is transparent and shows the page's background.
    assert pixel(page, 0, (0, BOX.low[1] + 3, BOX.high[2] - 3))[3] == 0
    page.emulate_media(color_scheme="light")
    assert min(page.evaluate(background)) > 200


def is_blank(page, file):
    """Tell whether a half of the window has no text."""
    page.screenshot(path=file)
    grey = np.asarray(Image.open(file).convert("L"), dtype=float)
    return any((abs(half - np.median(half)) > 100).mean() <= 0.005 for half in np.split(grey, 2))


@pytest.mark.parametrize("kind", ["honest", pytest.param("hostile", marks=pytest.mark.long)])
def test_the_page_is_not_blank_and_does_not_scroll_sideways_on_a_telephone(visit, tmp_path, kind):
    page = visit(kind, viewport=DESKTOP)
    assert not is_blank(page, tmp_path / "desktop.png")
    page.set_viewport_size(TELEPHONE)
    assert not is_blank(page, tmp_path / "telephone.png")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.evaluate("location.hash = '#ICA_00'")
    page.wait_for_selector("#viewer[data-component='ICA_00']")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_table_wider_than_a_telephone_scrolls_in_its_own_frame(visit):
    page = visit(viewport=TELEPHONE)
    page.add_style_tag(content=".scroll table { min-width: 900px }")
    assert page.evaluate("[...document.querySelectorAll('.scroll')].some(frame => frame.scrollWidth >= 900)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.long
def test_the_checks_detect_a_page_that_is_too_wide_or_blank(visit, tmp_path):
    file = tmp_path / "wide.html"
    file.write_text('<!DOCTYPE html><body style="margin: 0"><div style="width: 600px">wide</div>')
    page = visit(file=file, viewport=TELEPHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 600
    assert is_blank(page, tmp_path / "page.png")


def wait_for_figures(page):
    """Wait for the static figures. A browser loads a figure, and knows its size, only when it is near the window."""
    figures = page.locator("article .static img")
    assert figures.count() == 4
    for figure in figures.all():
        figure.evaluate("image => image.scrollIntoView()")
        figure.wait_for(state="visible")


def test_without_scripts_all_components_are_there_with_their_figures(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("article:visible").count() == 2
    wait_for_figures(page)
    assert page.locator("#viewer:visible, #surface:visible, .js-only:visible").count() == 0


@pytest.mark.long
def test_without_decompression_the_figure_stays(browser, pages):
    context = browser.new_context(offline=True)
    context.add_init_script("delete window.DecompressionStream")
    page = context.new_page()
    page.goto(f"{pages['honest'].as_uri()}#ICA_00")
    page.wait_for_selector("#ICA_00 .static img:visible")
    assert page.locator("#viewer:visible, #surface:visible").count() == 0
    context.close()


@pytest.mark.long
def test_print_shows_figures_in_place_of_the_viewer(visit):
    page = visit()
    page.emulate_media(media="print")
    assert page.locator("article:visible").count() == 2
    wait_for_figures(page)
    assert page.locator("nav:visible, .tools:visible, #viewer:visible, #surface:visible, .moves:visible").count() == 0
    page = visit(place="#ICA_01")
    page.emulate_media(media="print")
    assert page.locator("article:visible").evaluate_all("found => found.map(article => article.id)") == ["ICA_01"]
    assert [one.is_visible() for one in page.locator("#ICA_01 .static img").all()] == [True, True]
    assert page.locator("#viewer:visible, #surface:visible").count() == 0


@pytest.mark.long
def test_pdf_has_pages_of_text_and_figures(visit):
    page = visit()
    page.emulate_media(media="print")
    wait_for_figures(page)
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    # The thumbnails and figures of two components, lazily loaded ones included.
    assert pdf.count(b"/Subtype /Image") >= 4
    assert len(re.findall(rb"/Type /Page\b", pdf)) >= 3
    page = visit(place="#ICA_00")
    page.emulate_media(media="print")
    assert len(re.findall(rb"/Type /Page\b", page.pdf(format="A4"))) <= 2


def saved(page, click):
    with page.expect_download() as download:
        click()
    return download.value


def test_notes_are_kept_exported_and_read_by_the_configuration(visit, tmp_path):
    page = visit(place="#ICA_01")
    article = page.locator("#ICA_01")
    article.get_by_label("Name").fill('hand "area"')
    article.get_by_label("Verdict").select_option("accept")
    article.get_by_label("Remark").fill("=see\np. 3")
    assert page.title().startswith('ICA_01 hand "area" ·')
    assert article.locator(".kept").inner_text() == "Kept in this browser."
    page.reload()
    page.wait_for_selector("#viewer[data-component='ICA_01']")
    assert article.locator("h2 .mine").inner_text() == 'hand "area"'
    page.keyboard.press("Escape")
    assert page.inner_text("#noted") == "1 of 2 components"
    assert page.inner_text("li[data-component=ICA_01] .verdict") == "accept"
    page.fill("#search", "hand")
    assert shown_cards(page) == ["ICA_01"]
    page.fill("#search", "")
    file = saved(page, lambda: page.click("#export-notes"))
    assert file.suggested_filename == "component_notes.tsv"
    file.save_as(tmp_path / "notes.tsv")
    assert read_own_names(str(tmp_path / "notes.tsv"), list(PEAKS)) == {
        "ICA_01": OwnName('hand "area"', "accept", "=see p. 3", (0.0, 20.0, -8.0))
    }
    # A person may write the peak with commas and a true minus sign.
    table = (tmp_path / "notes.tsv").read_text()
    (tmp_path / "notes.tsv").write_text(table.replace("\t0 20 -8", "\t0, 20, \u22128"))
    other = visit(alone=True)
    assert other.inner_text("#noted") == "none"
    other.set_input_files("#import-notes", tmp_path / "notes.tsv")
    expect(other.locator("#imported")).to_have_text("Imported notes on 1 component.")
    assert other.inner_text("li[data-component=ICA_01] .mine") == 'hand "area"'
    assert other.input_value("#ICA_01 [data-note=remark]") == "=see p. 3"
    wrong = tmp_path / "wrong.tsv"
    elsewhere = "ICA_00 had its peak at 60 0 0 mm, but in this run it is at -10 12 6"
    for text, said in [*WRONG_NOTES, ("component\tname\tpeak\nICA_00\ta\t60 0 0\n", elsewhere)]:
        wrong.write_text(text)
        other.set_input_files("#import-notes", wrong)
        expect(other.locator("#imported")).to_contain_text(said)
    assert other.inner_text("#noted") == "1 of 2 components"
    # A name that the component already has is not written twice.
    given = other.inner_text("li[data-component=ICA_01] .given")
    wrong.write_text(f"component\tname\nICA_01\t{given}\n")
    other.set_input_files("#import-notes", wrong)
    expect(other.locator("#ICA_01 [data-note=name]")).to_have_value(given)
    assert other.inner_text("li[data-component=ICA_01] .mine") == ""


@pytest.mark.long
def test_names_and_remarks_of_the_configuration_are_written_once(visit, tmp_path):
    own = {"ICA_01": OwnName("salience", "unsure", "see p. 3", None)}
    page = visit(file=build_report(tmp_path / "own", own=own), place="#ICA_01", alone=True)
    article = page.locator("#ICA_01")
    assert article.get_by_label("Name").input_value() == "salience"
    assert article.locator("h2 .mine").inner_text() == ""
    assert article.locator(".noted").text_content() == ""
    article.get_by_label("Verdict").select_option("accept")
    assert article.locator(".noted").text_content() == "Verdict: accept"


@pytest.mark.long
def test_the_saved_map_and_view_show_the_component(visit, pages, tmp_path):
    page = visit(place="#ICA_00")
    file = saved(page, lambda: page.click("#ICA_00 .save-map"))
    assert file.suggested_filename == "ICA_00.nii.gz"
    file.save_as(tmp_path / "ICA_00.nii.gz")
    found, original = (
        nib.load(tmp_path / "ICA_00.nii.gz"),
        nib.load(pages["honest"].parents[1] / f"run_ica/{SPACE}_components.nii.gz"),
    )
    np.testing.assert_array_equal(found.affine, original.affine)
    assert (int(found.header["sform_code"]), found.header.get_xyzt_units()[0]) == (4, "mm")
    values = original.get_fdata()[..., 0]
    np.testing.assert_allclose(found.get_fdata(), values, atol=np.abs(values).max() / 127 / 2 + 1e-6)
    assert gzip.decompress((tmp_path / "ICA_00.nii.gz").read_bytes())[344:348] == b"n+1\0"
    view = saved(page, lambda: page.click("#ICA_00 .save-view"))
    assert view.suggested_filename == "ICA_00_view.png"
    view.save_as(tmp_path / "view.png")
    with Image.open(tmp_path / "view.png") as image:
        # The picture has four pixels per mm: sagittal, coronal and axial slice with gaps of 6 mm, and 26 mm below them.
        width, depth, height = (high - low + 1 for low, high in zip(BOX.low, BOX.high, strict=True))
        assert image.size == (4 * (depth + 2 * width + 12), 4 * (depth + 26))
        (_, y, z), _ = PEAKS["ICA_00"][0]
        left, top = y - BOX.low[1] + 0.5, depth - height + BOX.high[2] - z + 0.5
        assert is_warm(image.convert("RGB").getpixel((int(4 * left), int(4 * top))))
        foot = np.asarray(image.convert("RGB"), dtype=int)[4 * depth :]
        assert (foot[0] == 255).all()
        # Black letters below each slice, and both ends of the colour bar.
        assert all((part.max(axis=2) < 60).any() for part in np.array_split(foot, 3, axis=1))
        assert is_warm(foot.reshape(-1, 3)[np.argmax(foot[..., 0] - foot[..., 2])])
        assert is_cold(foot.reshape(-1, 3)[np.argmax(foot[..., 2] - foot[..., 0])])


def test_a_page_without_its_folder_says_so_and_links_nowhere(visit, pages, tmp_path):
    page = visit(place="#ICA_00")
    assert page.locator("a.file").first.get_attribute("href") == "../plot_components/ICA_00.png"
    assert not page.is_visible("p.alone")
    lonely = shutil.copy(pages["honest"], tmp_path / "sent.html")
    page = visit(file=lonely)
    expect(page.locator("p.alone")).to_contain_text("This page is not in its results folder")
    assert page.locator("a.file[href], a.table[href]").count() == 0
    assert page.locator("a.file[aria-disabled=true]").count() > 0
    visit.complaints.remove("Failed to load resource: net::ERR_FILE_NOT_FOUND")


@pytest.mark.long
def test_lines_and_texts_are_copied(visit):
    page = visit(place="#ICA_00", permissions=["clipboard-read", "clipboard-write"])
    page.click("#ICA_00 button[data-copies=fsleyes-ICA_00]")
    expect(page.locator("#ICA_00 .take output")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#fsleyes-ICA_00").text_content()
    page.goto(re.sub("#.*", "#methods", page.url))
    page.click("button[data-copies=methods-text]")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("Data. 3 images of 2 collections.\n\nReferences\n\nHyvärinen, Aapo (1999). Fast ICA.")


@pytest.mark.parametrize(
    ("first", "second", "scheme"),
    [
        (DESKTOP, TELEPHONE, "light"),
        pytest.param(TELEPHONE, DESKTOP, "dark", marks=pytest.mark.long),
        pytest.param(TABLET, TABLET, "dark", marks=pytest.mark.long),
    ],
    ids=["desktop and telephone", "telephone and desktop", "tablet"],
)
def test_axe_finds_no_barrier_and_targets_have_24_pixels(visit, first, second, scheme):
    """The gallery has the size and colour scheme of the first screen, the component the other ones."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    # bypass_csp: the page's own policy forbids the script of axe.
    page = visit(viewport=first, bypass_csp=True, color_scheme=scheme)
    options = {"resultTypes": ["violations"], "preload": False, "rules": {"target-size": {"enabled": True}}}
    for place in ("", "#ICA_00"):
        page.evaluate("place => { location.hash = place; }", place)
        found = axe.Axe().run(page, options=options).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []
        page.set_viewport_size(second)
        page.emulate_media(color_scheme={"light": "dark", "dark": "light"}[scheme])


def test_on_a_telephone_nothing_is_cut_off(visit):
    page = visit(viewport=TELEPHONE)
    links = page.locator("nav a")
    assert links.count() == 8
    for link in links.all():
        box = link.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    assert page.locator("#gallery .names").evaluate_all(
        "all => all.every(one => one.scrollWidth <= one.clientWidth + 1)"
    )
    # The chart scrolls sideways within its figure, so that a finger can choose its circles.
    sizes = page.locator(".scatter .target").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
    assert sizes
    assert min(sizes) >= 24
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.long
def test_a_long_table_is_laid_out_only_near_the_screen(visit, tmp_path):
    """Layout of thousands of rows takes most of the time to open a page. Its place keeps its size, so nothing jumps."""
    file = build_report(tmp_path, n_rejected=150)
    for has_scripts in (True, False):
        page = visit(file=file, java_script_enabled=has_scripts)
        last = page.locator("#image-table tbody tr").last
        is_shown = "row => row.checkVisibility({ contentVisibilityAuto: true })"
        box, before = page.locator(".many").first, page.locator(".many").first.bounding_box()
        assert (page.locator("#image-table tbody tr").count(), page.locator(".many").count()) == (153, 1)
        assert not last.evaluate(is_shown)
        box.scroll_into_view_if_needed()
        page.screenshot()  # draws a frame, also without scripts
        assert last.evaluate(is_shown)
        assert box.bounding_box()["height"] == before["height"]
        page.evaluate("() => scrollTo(0, 0)")
        page.emulate_media(media="print")
        assert last.evaluate(is_shown)
        assert last.bounding_box()["height"] > 10
