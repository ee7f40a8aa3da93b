"""The page: what it says, and that nothing from the archive gets out of its place."""

import base64
import io
import re
from itertools import pairwise

import pytest
from conftest import ROOT
from made_report import HOSTILE, Page, build_report
from PIL import Image
from render_report import (
    LONGEST_TEXT,
    REASONS,
    count_missing_terms,
    doi_address,
    explain_rejections,
    find_warnings,
    format_number,
    format_q,
    funnel,
    main_collection,
    safe_address,
    shorten,
)

HOSTILE_ADDRESSES = [
    "javascript:alert(1)",
    " JavaScript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example/x",
    "file:///etc/passwd",
    "https://user:password@evil.example/",
    "https://[broken",
    "https:///nohost",
    "/images/1/",
]


@pytest.fixture
def render(tmp_path):
    """Render the made report in a folder of the given name and return its text."""

    def run(name="run", **choices):
        return build_report(tmp_path / name, **choices).read_text(encoding="utf-8")

    return run


def test_page_says_what_the_tables_say(render):
    text = Page(render()).text()
    for words in (
        "2 independent components of 3 statistic maps from 2 collections",
        "This is the demo",
        "Images used 3 of 5 selected; 2 refused",
        "Variance explained 62.5 %",
        "Images with terms 2 of 3; without: 1 (unreadable answer)",
        "9 iterations; 20 of 20 restarts converged",
        "ICA_01: stability over restarts Iq below 0.6",
        "ICA_01: no term has a q below 0.05. The name may be noise.",
        "ICA_01: mean |r| below 0.5 when the collections are drawn anew",
        "over collections |r| 0.83",
        "with replacement, 17 times",
        "ICA_00 is carried by one collection: number 7 holds 98.9 %",
        "quality control 4 1 3",
        "ICA_00 term 10",
        "−38 23 56 9.50 80",
        "The first 6 of 8",
        "thresholded 1 " + REASONS["thresholded"],
        "Demo check",
        "1 of 1 checks passed",
        "max_images_per_collection:",
        "Python ",
    ):
        assert words in text, words
    assert "ICA_00 term 11" not in text
    assert "word 10" not in text


def test_significant_terms_and_labels_are_marked_in_words_weight_and_bar(render):
    page = render()
    rows = re.findall(
        r'<tr( class="significant")?><td[^>]*><bdi>(ICA_00 term \d+|n-back task)</bdi>.*?<td class="n">([^<]*)'
        r'<span class="star">(\*?)</span></td>(?:<td[^>]*><span class="(bar[^"]*)")?',
        page,
    )
    assert [(bool(row[0]), *row[1:]) for row in rows[:4]] == [
        (True, "ICA_00 term 1", "&lt; 0.001", "*", "bar"),
        (True, "ICA_00 term 2", "0.024", "*", "bar"),
        (False, "ICA_00 term 3", "1.000", "", "bar hollow"),
        (False, "ICA_00 term 4", "1.000", "", "bar hollow"),
    ]
    assert (True, "n-back task", "0.031", "*", "") in [(bool(row[0]), *row[1:]) for row in rows]
    assert "exchanged the collections 1,000 times" in Page(page).text()


def test_what_was_not_tested_has_a_dash_and_no_warning(render):
    page = render(tested=False)
    text = Page(page).text()
    assert text.count("–: not tested in this run.") == 3
    assert "no term has a q" not in text
    assert 'class="significant"' not in page
    assert "bar hollow" not in page


def test_strongest_images_come_first(render):
    page = render()
    rows = re.findall(r'<td class="n">(−?0\.\d{3})</td><td class="w">\s*<a href="[^"]*"[^>]*><bdi>(map \d)', page)
    assert rows == [
        ("0.900", "map 0"), ("0.300", "map 1"), ("0.100", "map 2"),
        ("−0.800", "map 1"), ("0.700", "map 2"), ("0.100", "map 0"),
    ]  # fmt: skip


def test_page_is_complete_without_demo_terms_and_peaks(render):
    page = Page(render(recovery=False, changes={"converged": False, "n_restarts": 1, "n_restarts_converged": 1}))
    assert "Demo check" not in page.text()
    assert "FastICA did not converge in 500 iterations" in page.text()
    assert "No voxel reaches the threshold." in page.text()


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_text_adds_no_element_and_no_attribute(render, hostile):
    honest = Page(render("honest"))
    page = Page(render("hostile", word=lambda text: f"{hostile} {text}"))
    assert page.names() == honest.names()
    for shown in ("map 0", "Study seven", "refused map", "n-back task", "0.83", "visual"):
        assert {shorten(f"{hostile} {shown}", longest) for longest in (LONGEST_TEXT, 90, 80, 60)} & set(page.isolated)


def test_long_text_is_cut_and_direction_marks_are_dropped(render):
    assert shorten("y" * 5000) == "y" * (LONGEST_TEXT - 1) + "…"
    assert shorten("a\u202eb\u2066c\u2069") == "abc"
    assert shorten(None) == ""
    assert "y" * LONGEST_TEXT not in re.sub(r"<pre>.*?</pre>", "", render(word=lambda _: "y" * 5000), flags=re.DOTALL)


@pytest.mark.parametrize("address", HOSTILE_ADDRESSES)
def test_only_http_addresses_become_links(render, address):
    assert safe_address(address) is None
    page = Page(render(address=address))
    outward = {attributes["href"] for attributes in page.all("a") if not attributes["href"].startswith("#")}
    assert outward == {"https://doi.org/10.1000/a"}
    assert "map 0" in page.text()


def test_safe_addresses_stay():
    for address in ("https://neurovault.org/images/1/?a=b&c=d", "http://neurovault.org:8000/collections/1/"):
        assert safe_address(address) == address
    assert safe_address(None) is None
    assert safe_address(5) is None


def test_doi_becomes_the_address_of_its_resolver():
    assert doi_address("10.1016/j.x.2013.09.069") == "https://doi.org/10.1016/j.x.2013.09.069"
    assert doi_address("https://doi.org/10.1000/a b") == "https://doi.org/10.1000/a"
    assert doi_address('10.1000/a"onclick=<b>') == "https://doi.org/10.1000/a%22onclick%3D%3Cb%3E"
    assert doi_address("javascript:alert(1)") is None
    assert doi_address(None) is None


def test_page_loads_nothing(render):
    page = Page(render())
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.elements}
    assert all(attributes["src"].startswith("data:image/jpeg;base64,") for attributes in page.all("img"))
    assert [attributes["href"] for attributes in page.all("link")] == ["data:,"]
    assert not re.search(r"url\(|@import", render())
    policy = next(
        attributes["content"]
        for attributes in page.all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")
    for attributes in page.all("a"):
        assert attributes["href"].startswith("#") or attributes["rel"] == "noopener noreferrer"


def test_links_in_the_page_have_their_place(render):
    page = Page(render())
    places = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(places) == len(set(places))
    inner = {attributes["href"][1:] for attributes in page.all("a") if attributes["href"].startswith("#")}
    assert inner <= set(places)
    named = {attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes}
    assert named <= set(places)


def test_figures_are_inside_with_alternative_text(render):
    images = Page(render()).all("img")
    assert len(images) == 4
    assert all(attributes["alt"] for attributes in images)
    assert "−38, 23, 56 mm" in images[1]["alt"]
    with Image.open(io.BytesIO(base64.b64decode(images[1]["src"].partition(",")[2]))) as image:
        assert image.size == (60, 40)
        red, green, blue = image.getpixel((30, 20))
    assert red > 180
    assert max(green, blue) < 60


def test_headings_leave_out_no_level(render):
    levels = [int(tag[1]) for tag, _ in Page(render()).elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_same_tables_give_the_same_bytes(render):
    assert render("first") == render("second")


def test_funnel_ends_with_the_images_of_the_matrix():
    selection = [{"level": "image", "criterion": "a", "tested": 30, "dropped": 10, "kept": 20}]
    rejected = [{"stage": "stack_images"}] * 3 + [{"stage": "mask_images"}] * 2 + [{"stage": "download_images"}]
    steps = funnel(selection, rejected)
    assert [(step["tested"], step["dropped"], step["kept"]) for step in steps] == [
        (30, 10, 20), (20, 1, 19), (19, 2, 17), (17, 3, 14),
    ]  # fmt: skip


def test_missing_terms_are_counted_over_the_used_images():
    status = [
        {"image_id": 1, "terms": 5, "reason": None},
        {"image_id": 2, "terms": 0, "reason": "malformed"},
        {"image_id": 3, "terms": 0, "reason": "missing_file"},
    ]
    assert count_missing_terms(status, [1, 2]) == (1, [("unreadable answer", 1)])


def test_main_collection_is_by_squared_loadings():
    images = {1: {"collection_id": 7}, 2: {"collection_id": 8}, 3: {"collection_id": 8}}
    mixing = [{"image_id": 1, "ICA_00": -3.0}, {"image_id": 2, "ICA_00": 2.0}, {"image_id": 3, "ICA_00": 2.0}]
    assert main_collection("ICA_00", mixing, images) == (7, pytest.approx(9 / 17))


def test_warnings_in_words():
    component = {
        "iq_restarts": 0.9,
        "r_restarts": 0.9,
        "r_bootstraps": 0.9,
        "collections": 5,
        "collection_share": 0.2,
        "collection_id": 7,
    }
    component["n_significant_terms"] = None
    components = [component | {"component": f"ICA_0{k}", "names": ["a", "b", "c"][:: (-1) ** k]} for k in range(2)]
    calm = {"converged": True, "max_iter": 500, "n_restarts": 20, "n_restarts_converged": 19}
    found = find_warnings(
        components=components, decomposition=calm, n_images=60, n_rejected=3, n_with_terms=60, recovery=[]
    )
    assert found == ["ICA_00 and ICA_01 have the same first three terms."]
    components[1]["names"] = []
    components[0]["n_significant_terms"] = components[1]["n_significant_terms"] = 0
    worried = calm | {"converged": False, "n_restarts_converged": 12}
    found = find_warnings(
        components=components, decomposition=worried, n_images=5, n_rejected=9, n_with_terms=2, recovery=[]
    )
    assert [line.split(":")[0] for line in found] == [
        "FastICA did not converge in 500 iterations",
        "8 of 20 restarts of FastICA did not converge.",
        "Only 5 images for 2 components",
        "Only 2 of 5 images have term weights",
        "ICA_00 and ICA_01",
        "More images were refused (9) than used (5); see the reasons below.",
    ]


def test_every_reason_of_the_workflow_is_explained():
    codes = set()
    for script in ("download_images", "mask_images", "quality", "stack_images"):
        source = (ROOT / "workflow" / "scripts" / f"{script}.py").read_text()
        codes |= set(re.findall(r'(?:UnusableError|_failed|_rejection|Duplicate)\(\s*"(\w+)"', source))
        codes |= set(re.findall(r'^ {8,12}\("(\w+)", (?:measured|rarer)', source, flags=re.MULTILINE))
    assert {"missing_file", "unreadable", "not_3d", "thresholded", "one_signed"} <= codes
    assert codes <= set(REASONS)
    rows = explain_rejections([{"reason": "duplicate", "stage": "stack_images"}] * 2)
    assert rows == [{"reason": "duplicate", "stage": "stack_images", "count": 2, "explanation": REASONS["duplicate"]}]


def test_numbers():
    assert format_number(-1234.5, 1) == "\u22121,234.5"
    assert format_number(None) == "\u2013"
    assert [format_q(q) for q in (None, 0.0, 0.0009, 0.001, 0.0312, 1.0)] == [
        "\u2013", "< 0.001", "< 0.001", "0.001", "0.031", "1.000",
    ]  # fmt: skip
