"""The page in a real browser: complete, quiet, nothing of the archive's text at work, not wider than a telephone."""

import itertools
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from made_report import HOSTILE, Page, build_report
from PIL import Image

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--enable-logging=stderr", "--v=0",
]  # fmt: skip
# Holds a page in a frame of a telephone's width, because the page itself allows no script to measure it, and headless
# windows may not be that narrow. The frame is of the same origin only with --allow-file-access-from-files.
FRAME = """<!DOCTYPE html><body style="margin: 0">
<iframe id="page" src="{page}" style="width: 390px; height: 844px; border: 0"></iframe>
<script>
window.onload = () => {{
  const root = document.getElementById("page").contentDocument.documentElement;
  document.body.dataset.widths = [root.clientWidth, root.scrollWidth];
}};
</script>
"""

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="needs chromium, chromium-browser or google-chrome on the PATH; none is there"
)


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Open a file in the browser with further switches; return standard output and error."""
    profile = tmp_path_factory.mktemp("profile")

    def run(file, *switches):
        done = subprocess.run(
            [BROWSER, *SWITCHES, f"--user-data-dir={profile}", *switches, file.as_uri()],
            env=os.environ | {"HOME": str(profile)}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    return run


def hostile_words():
    """Put another hostile text before each text of the archive."""
    texts = itertools.cycle(HOSTILE)
    return lambda text: f"{next(texts)} {text}"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Render the made report with honest and with hostile texts; return the paths."""
    folder = tmp_path_factory.mktemp("reports")
    return {
        "honest": build_report(folder / "honest"),
        "hostile": build_report(folder / "hostile", word=hostile_words()),
    }


def measure_widths(browse, page):
    """Return the widths in pixels of a telephone's view of the page and of what there is to scroll through."""
    frame = page.with_name(f"frame-{page.name}")
    frame.write_text(FRAME.format(page=page.as_uri()))
    dom, _ = browse(frame, "--allow-file-access-from-files", "--dump-dom")
    return [int(width) for width in re.search(r'data-widths="(\d+),(\d+)"', dom).groups()]


def test_every_component_has_its_section(browse, pages):
    dom, _ = browse(pages["honest"], "--dump-dom")
    page = Page(dom)
    assert [attributes["id"] for attributes in page.all("article")] == ["ICA_00", "ICA_01"]
    assert "What q means" in page.text()


def test_hostile_texts_make_no_element_and_the_console_is_quiet(browse, pages):
    honest, hostile = (browse(page, "--dump-dom") for page in pages.values())
    assert Page(hostile[0]).names() == Page(honest[0]).names()
    assert 'alert("x")' in Page(hostile[0]).text()
    for _, log in (honest, hostile):
        assert "CONSOLE" not in log


def test_console_errors_would_be_seen(browse, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><script>undefinedName()</script>")
    _, log = browse(page, "--dump-dom")
    assert "CONSOLE" in log


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["desktop", "telephone"])
@pytest.mark.parametrize("kind", ["honest", "hostile"])
def test_something_is_drawn(browse, pages, tmp_path, kind, size):
    picture = tmp_path / "page.png"
    browse(pages[kind], f"--window-size={size[0]},{size[1]}", f"--screenshot={picture}")
    with Image.open(picture) as image:
        assert image.size == size
        grey = np.asarray(image.convert("L"), dtype=float)
    # Text in the upper and in the lower half: the picture is neither blank nor torn off.
    for half in np.split(grey, 2):
        assert (abs(half - np.median(half)) > 100).mean() > 0.005


@pytest.mark.parametrize("kind", ["honest", "hostile"])
def test_page_does_not_scroll_sideways_on_a_telephone(browse, pages, kind):
    assert measure_widths(browse, pages[kind]) == [390, 390]


def test_a_page_that_is_too_wide_would_be_seen(browse, tmp_path):
    page = tmp_path / "wide.html"
    page.write_text('<!DOCTYPE html><body style="margin: 0"><div style="width: 600px">wide</div>')
    assert measure_widths(browse, page) == [390, 600]
