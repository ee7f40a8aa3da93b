"""The page shows what the tables contain, and text from the archive never becomes markup."""

import base64
import hashlib
import io
import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from made_report import ALWAYS_SHOWN, FIGURES, HOSTILE, PEAKS, Page, build_report
from neurovault_ica.decomposition.summary import RULE
from neurovault_ica.naming.own_names import OwnName
from neurovault_ica.report.page import list_settings
from neurovault_ica.report.pictures import read_scan
from neurovault_ica.report.tables import REASONS
from neurovault_ica.report.text import LONGEST_TEXT, safe_address, shorten_text
from PIL import Image

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


@pytest.fixture(scope="module")
def render(tmp_path_factory):
    """Render the synthetic report and return its text. Equal choices are rendered only once per name."""
    known = {}

    def run(name="", **choices):
        key = (name, *choices.items()) if not {"changes", "own", "word"} & set(choices) else object()
        if key not in known:
            known[key] = build_report(tmp_path_factory.mktemp("run"), **choices).read_text(encoding="utf-8")
        return known[key]

    return run


def test_page_shows_the_numbers_of_the_tables(render):
    text = Page(render()).text()
    for words in (
        "2 independent components of 3 statistic maps from 2 collections",
        "This is the demo",
        "Images used 3 of 5 selected; 2 rejected",
        "Components 2 1 without warnings",
        "Variance explained 62.5 %",
        "Images with terms 2 of 3; missing: 1 (unreadable answer)",
        "9 iterations; 20 of 20 restarts converged",
        "Computed 2023-11-14 22:13 UTC",
        "Different random starts give different components: ICA_01.",
        "Unnamed, because no candidate passed both tests for a name (q < 0.05, and a better fit than 95 % of random"
        " maps): ICA_01.",
        "ICA_01 unnamed (closest: ICA_01 term 1)",
        "Name from terms. Significant (q < 0.05): term maps: term map ; terms: ICA_00 term 1 , ICA_00 term 2 ;"
        " metadata: n-back task .",
        "Supported by more than one source: term .",
        "Based on 2 of 3 images, from 1 collection.",
        "term map 0.61 0.003 *",
        "ICA_01 depends on one collection: collection 7 has 70.0 %",
        "Iq 0.93 · |r| 0.83",
        "in 17 bootstrap samples of the collections",
        "quality control 1 thresholded 1 3",
        "ICA_00 term 10",
        "−10, 12, 6 9.50 Insula 1 80",
        "Showing the strongest 15 of 32 peaks; all are in desc-ICA_peaks.tsv",
        "|r| 0.57 mean when studies are resampled; lowest 0.31",
        "Passed all checks.",
        "Flagged: unstable start, not reproduced, one study, not grey matter, nothing above threshold, name uncertain.",
        "0.31 too low when studies are resampled; must exceed 0.5 and chance (0.20)",
        "Effective number of collections 1.6 of 2 largest share: 80.0 %",
        "In grey matter 62.0 % share of the squared map (mask: 52.9 %); must be at least 45.0 %",
        "Outside grey and white matter 2.0 % fluid, vessels, outside the brain (mask: 2.3 %)",
        "At the brain's rim 31.0 % too high outermost 3 mm (mask: 12.9 %); must be at most 25.0 %",
        "Study seven 80.0 % 0.600 2",
        "thresholded 1 " + REASONS["thresholded"],
        "thresholded 0.83 (limit 0.6 )",
        "Demo check",
        "Checks passed: 1 of 1.",
        "Data. 3 images of 2 collections.",
        "Hyvärinen, Aapo (1999). Fast ICA. https://doi.org/10.1109/72.761722",
        "Collections without a DOI: 1 of 2",
        "Python 3.12.1 · numpy 2.0 · Linux x86_64",
        "archive.data_dir elsewhere data",
    ):
        assert words in text, words
    assert re.search(r"Values that differ from the defaults in the workflow's config.yaml: 1 of \d\d\.", text)
    assert "ICA_00 term 11" not in text
    assert "word 10" not in text


def test_significant_terms_and_labels_are_marked_in_words_weight_and_bar(render):
    page = render()
    rows = re.findall(
        r'<tr( class="significant")?><td[^>]*><bdi>(ICA_00 term \d+|n-back task)</bdi>.*?<td class="n"[^>]*>([^<]*)'
        r'<span class="star">(\*?)</span></td>(?:<td[^>]*><span class="(bar[^"]*)")?',
        page,
    )
    assert [(bool(row[0]), *row[1:]) for row in rows[:4]] == [
        (True, "ICA_00 term 1", "&lt; 0.001", "*", "bar"),
        (True, "ICA_00 term 2", "0.024", "*", "bar"),
        (False, "ICA_00 term 3", "&gt; 0.99", "", "bar hollow"),
        (False, "ICA_00 term 4", "&gt; 0.99", "", "bar hollow"),
    ]
    assert (True, "n-back task", "0.031", "*", "") in [(bool(row[0]), *row[1:]) for row in rows]
    assert re.search(r'<tr><td[^>]*><bdi>rare label</bdi>.*?<td class="n" data-value="">–<span', page)
    text = Page(page).text()
    assert text.count("–: not tested, because too few collections have this field.") == 1
    assert "permuted the collections 1,000 times" in text


def test_the_meaning_of_q_is_told_for_each_kind_of_evidence_on_the_page(render):
    text = Page(render()).text()
    text = text[text.index("What q means Term maps.") :]
    places = [text.index(f" {kind}. ") for kind in ("Term maps", "Terms of the images", "Metadata of the images")]
    assert places == sorted(places)
    assert "Term maps give a component its name only if p corr of one of them is at most 0.05." in text


def test_what_was_not_tested_has_a_dash_and_no_warning(render):
    page = render(tested=False)
    text = Page(page).text()
    assert text.count("–: not tested in this run.") == 4
    assert "term maps: not tested ; terms: not tested ; metadata: not tested ." in text
    assert "unnamed (closest: ICA_00 term 1)" in text
    unnamed = "no candidate passed both tests for a name"
    assert unnamed in Page(render()).text()
    assert unnamed not in text
    assert 'class="significant"' not in page
    assert "bar hollow" not in page


def test_stability_at_a_glance_is_that_of_halves_if_nothing_was_resampled(render):
    text = Page(render(r_bootstraps=(None, None))).text()
    assert "Stability |r| 0.47 mean between halves of the studies; lowest 0.21" in text


def test_reference_networks_are_shown_where_there_are_any(render):
    assert "Reference network" not in Page(render()).text()
    page = render(networks=True)
    text = Page(page).text()
    assert "network: visual (r 0.71)" in text
    assert (
        "Most similar: visual , r 0.71 (0.76 for the positive side of the component alone; this network has values of"
        " one sign only), q 0.002 *." in text
    )
    assert "Most similar: default mode , r 0.71 (0.76 for the positive side of the component alone), q 0.200." in text
    assert "One-to-one match: visual , r 0.60, q 0.300." in text
    assert 'data-network="default mode"' in page
    assert "beside the reference network default mode." in {image["alt"][7:] for image in Page(page).all("img")}


def test_the_rule_for_the_number_of_components_comes_with_the_scan_if_there_is_one(render):
    text = Page(render()).text()
    assert f"{RULE[1:]}." in text
    assert "scan_components --configfile mine.yaml" in text
    advice = "For the scan, set run_ica.n_bootstraps or n_splits above 0"
    assert advice not in text
    assert advice in Page(render(changes={"n_bootstraps": 0, "n_splits": 0})).text()
    page = Page(render(scan="Based on 3 images.\nAdvice: run_ica.n_components: <4>.\n"))
    assert f"{RULE[1:]}. Based on 3 images. Advice: run_ica.n_components: <4>." in page.text()
    assert "scan_components --configfile mine.yaml" not in page.text()
    assert len(page.all("img")) == len(Page(render()).all("img")) + 1


def test_a_scan_of_other_images_is_not_shown(tmp_path):
    files = [tmp_path / name for name in ("orders.tsv", "orders.png", "advice.txt", "images.tsv")]
    for file in files:
        file.write_text("")
    Image.new("RGB", (4, 4)).save(files[1])
    os.utime(files[3], (0, 2))
    assert read_scan(files[:3], files[3])["advice"] == []
    os.utime(files[0], (0, 1))
    assert read_scan(files[:3], files[3]) is None
    assert read_scan([], files[3]) is None


def test_images_come_with_their_glass_brains(render):
    page = render()
    rows = re.findall(
        r'<tr><td class="g">(<img src="data:image/png[^>]*>)?</td><td class="n" data-value="[\d.]+">([^<]*)</td>'
        r".*?<bdi>(map \d)",
        page,
    )
    assert [(bool(picture), *row) for picture, *row in rows] == [
        (True, "0.900", "map 0"), (False, "0.300", "map 1"), (False, "0.100", "map 2"),
    ]  # fmt: skip
    red, _, blue, alpha = decoded(rows[0][0]).convert("RGBA").getpixel((10, 4))
    assert red > blue + 100
    assert alpha == 255
    assert decoded(rows[0][0]).convert("RGBA").getpixel((0, 0))[3] == 0


def test_fitted_mixtures_are_shown_where_there_are_any(render):
    assert "Activation or noise?" not in Page(render()).text()
    page = Page(render(mixtures=True))
    assert page.text().count("Activation or noise?") == 2
    assert sum(image["alt"].startswith("Histogram of the values of ICA_0") for image in page.all("img")) == 2


def decoded(text):
    """Decode the picture in a data URI."""
    return Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]*)", text).group(1))))


def test_page_is_complete_without_demo_terms_and_peaks(render):
    page = Page(render(recovery=False, changes={"converged": False, "n_restarts": 1, "n_restarts_converged": 1}))
    assert "Demo check" not in page.text()
    assert "FastICA did not converge within 500 iterations" in page.text()
    assert "No voxel reaches the threshold." in page.text()


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_text_adds_no_element_and_no_attribute(render, hostile):
    honest = Page(render())
    page = Page(render(word=lambda text: f"{hostile} {text}"))
    assert page.names() == honest.names()
    for shown in ("map 0", "Study seven", "refused map", "n-back task", "0.83", "visual", "term map", "Insula"):
        assert {shorten_text(f"{hostile} {shown}", longest) for longest in (LONGEST_TEXT, 90, 80, 60)} & set(
            page.isolated
        )


def test_long_text_is_cut_and_direction_marks_are_dropped(render):
    assert shorten_text("y" * 5000) == "y" * (LONGEST_TEXT - 1) + "…"
    assert shorten_text("a\u202eb\u2066c\u2069d\u200ee\u061c") == "abcde"
    assert shorten_text(None) == ""
    assert "y" * LONGEST_TEXT not in re.sub(
        r"<pre[^>]*>.*?</pre>", "", render(word=lambda _: "y" * 5000), flags=re.DOTALL
    )


@pytest.mark.parametrize("address", HOSTILE_ADDRESSES)
def test_only_http_addresses_are_safe(address):
    assert safe_address(address) is None


def test_unsafe_addresses_become_no_links(render):
    page = Page(render(address=HOSTILE_ADDRESSES[0]))
    outward = {attributes["href"] for attributes in page.all("a") if not attributes["href"].startswith(("#", "../"))}
    assert outward == {"https://doi.org/10.1000/a", "https://doi.org/10.1109/72.761722"}
    assert "map 0" in page.text()


def test_page_loads_nothing(render):
    page = Page(render())
    assert not {"iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.elements}
    assert all(attributes["src"].startswith("data:image/") for attributes in page.all("img"))
    assert not any("src" in attributes for attributes in page.all("script"))
    assert [attributes["href"] for attributes in page.all("link")] == ["data:,"]
    assert not re.search(r"url\(|@import", render())
    for attributes in page.all("a"):
        inside = attributes["href"].startswith(("#", "../"))
        assert inside or attributes["rel"] == "noopener noreferrer"


def test_page_allows_only_its_own_scripts(render):
    text = render(word=lambda text: f"<script>alert(1)</script> {text}")
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    (policy,) = [
        found["content"] for found in Page(text).all("meta") if "Content-Security" in found.get("http-equiv", "")
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [f"'sha256-{found}'" for found in hashes]
    assert len(hashes) == 7
    assert rules["img-src"] == "data: 'self' file:"


def test_links_within_the_page_have_a_target(render):
    page = Page(render())
    places = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(places) == len(set(places))
    inner = {attributes["href"][1:] for attributes in page.all("a") if attributes["href"].startswith("#")}
    assert inner <= set(places)
    named = {attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes}
    assert named <= set(places)


def test_linked_tables_are_files_of_the_demo(render):
    linked = {attributes["href"] for attributes in Page(render(networks=True)).all("a") if "../" in attributes["href"]}
    written = (Path(__file__).parents[1] / "demo_files.txt").read_text().split()
    assert {"../run_ica/desc-ICA_stability.tsv", "../stack_images/rejected.tsv"} <= linked
    assert linked <= {file.replace("results", "..", 1) for file in written}


def test_a_component_links_to_its_files_and_has_its_volume_and_range(render):
    page = Page(render(networks=True))
    links = [attributes["href"] for attributes in page.all("a") if attributes.get("class") == "file"]
    maps = [f"../{place}/space-MNI152NLin2009aSym_res-2_desc-ICA_{name}.nii.gz" for place, name in (
        ("run_ica", "components"), ("plot_components", "thresholded"),
    )]  # fmt: skip
    figures = [f"../{place}/ICA_01" for place in ("plot_components", "match_networks")]
    figures += [f"../plot_components/ICA_01_{name}" for name in ALWAYS_SHOWN]
    pictures = [f"{figure}.{kind}" for figure in figures for kind in ("png", "pdf")]
    assert links[len(links) // 2 :] == [*pictures, *maps]
    assert "volume 1 of space-MNI152NLin2009aSym_res-2_desc-ICA_components.nii.gz" in page.text()
    # FSLeyes opens the thresholded map, because the thresholds of the signs differ.
    assert "--name ICA_01 --volume 1 --cmap red-yellow" in page.text()
    assert "--displayRange 1.50 9.00" in page.text()
    assert "FSLeyes and plot_stat_map show the thresholded map, as the figures do." in page.text()


def test_a_name_of_a_person_is_shown_with_the_evidence_beside_it(render):
    own = {"ICA_01": OwnName("salience", "unsure", "see p. 3", None)}
    text = Page(render(own=own)).text()
    assert "given by a person (plot_components.labels). Name by the evidence: unnamed (closest: ICA_01 term 1)" in text
    assert "Verdict: unsure . Remark: “ see p. 3 ”. " in text
    assert "no candidate passed both tests for a name" not in text


def test_figures_are_embedded_with_alternative_text(render):
    images = Page(render()).all("img")
    figures = [image for image in images if "Slices through" not in image["alt"] and "data:image/webp" in image["src"]]
    assert len(figures) == len(PEAKS) * (1 + len(ALWAYS_SHOWN)) + len(FIGURES)
    assert all(figure["alt"] for figure in figures)
    assert "−10, 12, 6 mm" in figures[0]["alt"]
    red, green, blue = decoded(figures[0]["src"]).getpixel((30, 20))
    assert red > 180
    assert max(green, blue) < 60


def test_configuration_shows_what_differs_from_the_defaults(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text("a: {x: 1, y: null}\nb: 4\n")
    monkeypatch.setattr("neurovault_ica.report.page.DEFAULTS_FILE", tmp_path / "config.yaml")
    rows = list_settings({"a": {"x": 1, "y": [2]}, "b": 3})
    assert [tuple(row.values()) for row in rows] == [
        ("a.x", "1", "1", False), ("a.y", "[2]", "null", True), ("b", "3", "4", True),
    ]  # fmt: skip


def test_headings_skip_no_level(render):
    levels = [int(tag[1]) for tag, _ in Page(render()).elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_same_tables_give_the_same_bytes(render):
    first, second = (re.sub(r"\S+/run\d+/", "", render(name)) for name in ("first", "second"))
    assert first == second
