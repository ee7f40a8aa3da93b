"""Numbers have one format, and only safe URLs become links."""

from neurovault_ica.report.text import (
    breakable,
    doi_address,
    format_number,
    keep_measures,
    percent,
    read_markdown,
    safe_address,
    shorten_text,
)
from neurovault_ica.statistics.p_values import written_q


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


def test_only_very_long_words_may_be_broken():
    assert breakable("autobiographical memory: Frontal_Inf_Oper_L") == "autobiographical memory: Frontal_Inf_Oper_L"
    assert breakable("canlab_2015_Kragel_emotionClass") == "canlab_2015_Kragel_<wbr>emotionClass"
    assert breakable("a " + "<" * 41) == "a " + "<wbr>".join(["&lt;" * 20, "&lt;" * 20, "&lt;"])


def test_numbers():
    assert format_number(-1234.5, 1) == "\u22121,234.5"
    assert format_number(None) == "\u2013"
    assert keep_measures("memory (r -0.32, q < 0.001), q 10 q x") == (
        "memory (r\u00a0\u22120.32, q\u00a0<\u00a00.001), q\u00a010 q x"
    )
    assert [written_q(q) for q in (None, 0.0, 0.0009, 0.001, 0.0312, 0.99, 0.9901, 1.0)] == [
        "\u2013", "< 0.001", "< 0.001", "0.001", "0.031", "0.990", "> 0.99", "> 0.99",
    ]  # fmt: skip
    assert [percent(share) for share in (None, 0.0, 0.0004, 0.0006, 0.5)] == [
        "\u2013", "0.0 %", "< 0.1 %", "0.1 %", "50.0 %",
    ]  # fmt: skip


def test_markdown_of_the_methods_is_read():
    references = "## References\n\n- A (1999). B. https://x.org/a\n- C\n\nThe end.\n"
    text = f"# Methods\n\n**Data.** Maps *of* <b>\nstudies.\n\n{references}"
    assert read_markdown(text) == [
        {"kind": "heading", "text": "Methods"},
        {"kind": "paragraph", "lead": "Data.", "text": "Maps *of* <b>\nstudies."},
        {"kind": "heading", "text": "References"},
        {"kind": "list", "items": [("A (1999). B.", "https://x.org/a"), ("C", None)]},
        {"kind": "paragraph", "lead": "", "text": "The end."},
    ]


def test_a_shortened_title_keeps_the_sign_that_tells_both_halves_of_a_map_apart():
    title = f"sub-01_{'x' * 200}"
    assert shorten_text(f"{title} (activation)", 40) == f"sub-01_{'x' * 19}… (activation)"
    assert shorten_text(f"{title} (deactivation)", 40) == f"sub-01_{'x' * 17}… (deactivation)"
    assert shorten_text(title, 40) == f"sub-01_{'x' * 32}…"
