"""Digital object identifiers."""

import re
import urllib.parse


def bare_doi(text: str | None) -> str | None:
    """Return the DOI in a text without ``doi:``, resolver address and final punctuation; None if there is none."""
    found = re.search(r"10\.\d+/\S+", urllib.parse.unquote(text or ""))
    return found.group().rstrip(".,;") if found else None


def quoted_doi(text: str | None) -> str | None:
    """Return the DOI in a text, percent-encoded for addresses and for BibTeX; None if there is none."""
    doi = bare_doi(text)
    return urllib.parse.quote(doi, safe="/:;()._-") if doi else None
