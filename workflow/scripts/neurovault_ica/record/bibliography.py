"""Cite methods and software from software.bib, and the papers of the collections."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from neurovault_ica.archive.doi import quoted_doi
from neurovault_ica.runtime.files import package_file
from neurovault_ica.runtime.ids import natural_key
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Row

SOFTWARE_FILE = package_file("record/software.bib")
# A reference with more authors names only the first, followed by "et al.".
MOST_AUTHORS_LISTED = 3
# How special characters are written in BibTeX. Braces become commands, because BibTeX counts them even after a
# backslash. So does @, because it would start an entry even inside a comment.
ESCAPED = {
    "\\": r"{\textbackslash}",
    "{": r"{\textbraceleft}",
    "}": r"{\textbraceright}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"{\textasciicircum}",
    "~": r"{\textasciitilde}",
    "@": r"{\char64}",
}


def read_works(path: str | Path = SOFTWARE_FILE) -> dict[str, dict[str, str]]:
    """Read the entries of a BibTeX file such as software.bib, with each field on one line."""
    works: dict[str, dict[str, str]] = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if opened := re.fullmatch(r"@\w+\{(\w+),\s*", line):
            fields = works.setdefault(opened.group(1), {})
        elif field := re.fullmatch(r"\s+(\w+)\s*=\s*\{(.*)\},?\s*", line):
            fields[field.group(1)] = field.group(2)
    return works


def cite(work: Mapping[str, str]) -> str:
    """Cite a work in the text: ``Hyvärinen 1999``, ``Benjamini and Hochberg 1995``, ``Himberg et al. 2004``."""
    surnames = [name.partition(",")[0] for name in _plain(work["author"]).split(" and ")]
    names = " and ".join(surnames) if len(surnames) <= 2 else f"{surnames[0]} et al."
    return f"{names} {work['year']}"


WORKS = read_works()


def cited(*keys: str) -> str:
    """Cite works of software.bib in parentheses."""
    return "(" + "; ".join(cite(WORKS[key]) for key in keys) + ")"


def reference_line(work: Mapping[str, str]) -> str:
    """Format a work as a line of the list of references."""
    fields = {name: _plain(value) for name, value in work.items()}
    names = fields["author"].split(" and ")
    authors = "; ".join(names) if len(names) <= MOST_AUTHORS_LISTED else f"{names[0]} et al."
    where = f"https://doi.org/{fields['doi']}" if "doi" in fields else fields["url"]
    pages = fields["pages"].replace("--", "\u2013")
    return f"{authors} ({fields['year']}). {fields['title']}. {fields['journal']} {fields['volume']}, {pages}. {where}"


def _plain(text: str) -> str:
    return re.sub(r"[{}]", "", text)


def escape_bibtex(text: str) -> str:
    """Escape text for a BibTeX field in braces."""
    shown = (character for character in " ".join(text.split()) if not unicodedata.category(character).startswith("C"))
    return "".join(ESCAPED.get(character, character) for character in shown)


def bibtex_entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """Format one entry. Values must be escaped; empty ones are left out."""
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def collection_entries(
    collections: Iterable[Row], n_used: Mapping[str, int], *, archive: str
) -> tuple[list[str], list[str]]:
    """Write an entry for each DOI of the used collections, and a comment for each collection without a DOI.

    Collections of the same paper share one entry.

    Parameters
    ----------
    collections : iterable of mappings
        Rows of collections.tsv.
    n_used : mapping of str to int
        Number of used images by collection id.
    archive : str
        Name of the public archive of the collections, or empty.

    Returns
    -------
    entries, without : list of str
        BibTeX entries, and comments.
    """
    kind_of_collection = f"{archive} collection".strip()
    papers: dict[str, list[Row]] = {}
    without = []
    for collection in sorted(collections, key=lambda row: natural_key(row["collection_id"])):
        count = n_used.get(collection["collection_id"], 0)
        doi = quoted_doi(collection["DOI"]) or quoted_doi(collection["preprint_DOI"])
        if count and doi:
            papers.setdefault(doi.lower(), []).append(collection | {"doi": doi})
        elif count:
            name = escape_bibtex(collection["name"] or "")
            images = counted(count, "image")
            without.append(f"% {kind_of_collection} {collection['collection_id']}, {images}: {name}")
    entries = []
    for group in papers.values():
        first = group[0]
        numbers = ", ".join(str(collection["collection_id"]) for collection in group)
        fields = {
            "author": bibtex_authors(first["authors"]),
            "title": "{" + escape_bibtex(first["name"] or f"{kind_of_collection} {first['collection_id']}") + "}",
            "journal": escape_bibtex(first["journal_name"] or ""),
            "doi": first["doi"],
            "note": f"{kind_of_collection}{'s' if len(group) > 1 else ''} {numbers}",
        }
        kind = "article" if fields["journal"] else "misc"
        entries.append(bibtex_entry(kind, f"{(archive or 'collection').lower()}{first['collection_id']}", fields))
    return entries, without


def bibtex_authors(text: str | None) -> str:
    """Convert authors from NeuroVault's ``A, B and C`` to BibTeX's ``A and B and C``."""
    names = re.split(r"(?:,|\s+and|,\s+and)\s+(?!and\s)", text or "")
    return " and ".join(escape_bibtex(name) for name in names if name.strip())


def references_text(entries: list[str], without: list[str], text: str) -> str:
    """Write references.bib: the works that `text` cites, then the papers of the collections.

    Parameters
    ----------
    entries, without : list of str
        From `collection_entries`.
    text : str
        The methods text.
    """
    heading, *software = SOFTWARE_FILE.read_text(encoding="utf-8").rstrip().split("\n\n")
    in_text = [entry for entry, work in zip(software, WORKS.values(), strict=True) if cite(work) in text]
    missing = ["% Collections without a DOI: cite them by their URL.", *without] if without else []
    data = ["% Data: the papers of the contributing collections", *entries]
    return "\n\n".join([heading, *in_text, *data, "\n".join(missing)]).rstrip() + "\n"
