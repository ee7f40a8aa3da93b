"""Term weights: missing stays missing."""

import json

import pytest
from fetch_terms import read_weights


def test_weights_are_read(tmp_path):
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"data": {"values": {"motor": 0.5, "vision": -0.25}}}))
    assert read_weights(path) == ({"motor": 0.5, "vision": -0.25}, None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "missing_file"),
        ("", "malformed"),
        ('{"data": {"values": {"motor": 0.5', "malformed"),
        ("<html>502</html>", "malformed"),
        ('{"data": {"error": "down"}, "status": 404}', "malformed"),
        ('{"data": {"values": {"motor": "high"}}}', "malformed"),
        ('{"data": {"values": []}}', "malformed"),
        ('{"data": {"values": {}}}', "no_values"),
        ('{"data": {"values": {"motor": NaN}}}', "no_values"),
    ],
)
def test_what_cannot_be_read_has_a_reason_and_no_weights(tmp_path, content, reason):
    path = tmp_path / "words.json"
    if content is not None:
        path.write_text(content)
    assert read_weights(path) == ({}, reason)
