"""Works are cited in the usual form, and metadata of collections cannot break out of a BibTeX field."""

import pytest
from bibtex import parse_bibtex
from neurovault_ica.archive.doi import quoted_doi
from neurovault_ica.record.bibliography import (
    SOFTWARE_FILE,
    bibtex_authors,
    cite,
    collection_entries,
    escape_bibtex,
    read_works,
    reference_line,
    references_text,
)


def study(collection_id, **fields):
    empty = {"name": f"Study {collection_id}", "DOI": None, "preprint_DOI": None, "authors": None, "journal_name": None}
    return {"collection_id": collection_id} | empty | fields


def test_software_bib_is_read_as_bibtex_would_read_it():
    parsed = parse_bibtex(SOFTWARE_FILE.read_text(encoding="utf-8"))
    assert read_works() == {key: fields for key, (_, fields) in parsed.items()}
    assert len(parsed) >= 12
    for fields in read_works().values():
        assert {"author", "title", "journal", "volume", "pages", "year"} <= set(fields)
        assert quoted_doi(fields["doi"]) == fields["doi"] if "doi" in fields else fields["url"].startswith("https://")


def test_entries_may_have_another_indentation_and_no_last_comma(tmp_path):
    file = tmp_path / "own.bib"
    file.write_text("@article{lee1999,\n\tauthor={Lee, Te-Won},\n    year   = {1999}\n}\n")
    assert read_works(file) == {"lee1999": {"author": "Lee, Te-Won", "year": "1999"}}


def test_works_are_cited_by_one_two_or_more_authors():
    works = read_works()
    assert cite(works["hyvarinen1999fastica"]) == "Hyvärinen 1999"
    assert cite(works["benjamini1995fdr"]) == "Benjamini and Hochberg 1995"
    assert cite(works["himberg2004icasso"]) == "Himberg et al. 2004"
    assert len({cite(work) for work in works.values()}) == len(works)


def test_reference_line():
    works = read_works()
    assert reference_line(works["gorgolewski2015neurovault"]) == (
        "Gorgolewski, Krzysztof J. et al. (2015). NeuroVault.org: a web-based repository for collecting and sharing"
        " unthresholded statistical maps of the human brain. Frontiers in Neuroinformatics 9, 8."
        " https://doi.org/10.3389/fninf.2015.00008"
    )
    assert "Himberg, Johan; Hyvärinen, Aapo; Esposito, Fabrizio (2004)" in reference_line(works["himberg2004icasso"])
    assert "22, 1214–1222." in reference_line(works["himberg2004icasso"])


def test_references_list_cited_works_and_papers_and_mention_collections_without_a_doi():
    entries, without = collection_entries([study(7, DOI="10.1000/a"), study(8)], {7: 1, 8: 2}, archive="NeuroVault")
    text = references_text(entries, without, "decomposed (Hyvärinen 1999), corrected (Benjamini and Hochberg 1995)")
    assert set(parse_bibtex(text)) == {"hyvarinen1999fastica", "benjamini1995fdr", "neurovault7"}
    assert text.endswith("\n% NeuroVault collection 8, 2 images: Study 8\n")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a & b", r"a \& b"),
        ("100% #1 $x_y$", r"100\% \#1 \$x\_y\$"),
        ("{a}\\b", r"{\textbraceleft}a{\textbraceright}{\textbackslash}b"),
        ("~^", r"{\textasciitilde}{\textasciicircum}"),
        ("a@b", r"a{\char64}b"),
        ("Müller\n  O'Neil", "Müller O'Neil"),
    ],
)
def test_bibtex_escapes(text, escaped):
    assert escape_bibtex(text) == escaped
    assert escaped.count("{") == escaped.count("}")


def test_collections_of_one_paper_share_an_entry():
    studies = [study(9, DOI="10.1000/ABC"), study(7, preprint_DOI="10.1000/abc"), study(8, DOI="10.1000/unused")]
    entries, without = collection_entries(studies, {9: 2, 7: 1}, archive="NeuroVault")
    assert without == []
    assert len(entries) == 1
    assert parse_bibtex(entries[0])["neurovault7"][1]["note"] == "NeuroVault collections 7, 9"


def test_own_collections_are_not_said_to_be_in_a_public_archive():
    entries, without = collection_entries([study("lab", DOI="10.1000/a"), study("b")], {"lab": 1, "b": 2}, archive="")
    assert parse_bibtex(entries[0])["collectionlab"][1]["note"] == "collection lab"
    assert without == ["% collection b, 2 images: Study b"]


def test_authors():
    assert bibtex_authors("A. Horn, D. Ostwald and F. B") == "A. Horn and D. Ostwald and F. B"
    assert bibtex_authors("A. B, C. D, and E. F") == "A. B and C. D and E. F"
    assert bibtex_authors("Sandy Anderson") == "Sandy Anderson"
    assert bibtex_authors(None) == ""
