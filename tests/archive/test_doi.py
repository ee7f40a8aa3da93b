"""DOIs are recognised however they were typed."""

import pytest
from neurovault_ica.archive.doi import quoted_doi


@pytest.mark.parametrize(
    ("text", "doi"),
    [
        ("10.1016/j.neuroimage.2013.09.069", "10.1016/j.neuroimage.2013.09.069"),
        ("https://doi.org/10.1000/XYZ_1", "10.1000/XYZ_1"),
        ("doi:10.1000/a(b)c.", "10.1000/a(b)c"),
        ("10.1000/a}{b\\c", "10.1000/a%7D%7Bb%5Cc"),
        (
            "10.1002/(SICI)1097-0193(1996)4:1<58::AID>3.0.CO;2-O",
            "10.1002/(SICI)1097-0193(1996)4:1%3C58::AID%3E3.0.CO;2-O",
        ),
        ("https://doi.org/10.1000/a%3Cb", "10.1000/a%3Cb"),
        ("in press", None),
        ("", None),
        (None, None),
    ],
)
def test_a_doi_is_found_and_quoted(text, doi):
    assert quoted_doi(text) == doi
