"""Term weights are read or fetched. Missing weights stay missing."""

import json
import re
from pathlib import Path

import pytest
from neurovault_ica.archive.term_answers import read_answer
from neurovault_server import Archive


def test_weights_are_read(tmp_path):
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"data": {"values": {"motor": 0.5, "vision": -0.25}}}))
    assert read_answer(path) == ({"motor": 0.5, "vision": -0.25}, None, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "missing_file"),
        ("", "malformed"),
        ('{"data": {"values": {"motor": 0.5', "malformed"),
        ("<html>502</html>", "malformed"),
        ('{"data": {"error": "down"}, "status": 404}', "malformed"),
        ('{"data": {"values": {"motor": "high"}}}', "no_values"),
        ('{"data": {"values": {"motor": 1' + "0" * 400 + "}}}", "no_values"),
        ('{"data": {"values": {"motor": 1' + "0" * 5000 + "}}}", "malformed"),
        ("[" * 100_000, "malformed"),
        ('{"data": {"values": []}}', "malformed"),
        ('{"data": {"values": {}}}', "no_values"),
        ('{"data": {"values": {"motor": NaN}}}', "no_values"),
    ],
)
def test_an_unreadable_answer_has_a_reason_and_no_weights(tmp_path, content, reason):
    path = tmp_path / "words.json"
    if content is not None:
        path.write_text(content)
    assert read_answer(path)[:2] == ({}, reason)


def test_a_folder_in_place_of_a_term_file_is_a_missing_file(tmp_path):
    for path in (tmp_path, Path(__file__) / "words.json"):
        assert read_answer(path, is_own=True)[:2] == ({}, "missing_file")


def test_a_term_file_that_cannot_be_read_is_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    assert read_answer(tmp_path / "words.json", is_own=True)[:2] == ({}, "malformed")
    assert "words.json cannot be read: Permission denied" in caplog.text


# Files of the user.


SPELLINGS = {
    "Pain": 0.4, "pain": 0.4, "PAIN": "0.4", "caf\u00e9": " -2.5e-1 ", "cafe\u0301": -0.25, "\ufb01ne": 0.1,
    "FINE": 0.1, "Working\u00a0 Memory": 0.2, "working mem\u200bory": 0.2, "high": "high", "nan": "nan",
    "large": "12", "": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_spellings_of_a_word_are_one_term_in_files_of_the_user(tmp_path, encoding, caplog):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"data": {"values": SPELLINGS}}, ensure_ascii=False), encoding)
    expected = {"pain": 0.4, "caf\u00e9": -0.25, "fine": 0.1, "working memory": 0.2}
    assert read_answer(path, is_own=True) == (expected, None, 4)
    assert not caplog.records


def test_spellings_with_different_weights_are_reported(tmp_path, caplog):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"data": {"values": {"Pain": 0.4, "pain": 0.3}}}))
    assert read_answer(path, is_own=True) == ({"pain": 0.4}, None, 0)
    assert "mine.json: the weight 0.3 of 'pain' is not used, because the term 'pain' already has the weight 0.4" in (
        caplog.text
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"data": {"values": {"pain": 0.4', "mine.json cannot be read: .* line 1 column"),
        (b'{"pain": 0.4}', r'read: its structure is wrong\. Write \{"data": \{"values": \{"faces": 0.42\}\}\}'),
        (b'{"data": {"values": {"caf\xe9": 0.4}}}', r"mine.json, line 1: the file is not UTF-8 \(byte 0xe9\)"),
    ],
)
def test_why_a_file_of_the_user_is_not_read_is_said(tmp_path, content, message, caplog):
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    assert read_answer(path, is_own=True) == ({}, "malformed", 0)
    assert re.search(message, caplog.text)


def test_terms_of_neurosynth_are_taken_as_they_are(tmp_path):
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"data": {"values": {"Pain": 0.4, "pain": 0.3, "cafe\u0301": 0.2, "text": "0.5"}}}))
    assert read_answer(path) == ({"Pain": 0.4, "pain": 0.3, "cafe\u0301": 0.2}, None, 1)


# Terms of a server.


def reasons(statuses):
    return {int(row["image_id"]): row["reason"] for row in statuses if row["reason"]}


def test_answers_are_stored_as_by_nilearn_and_requested_once(serve):
    archive = Archive.small({1: 3, 2: 2})
    server, run = serve(archive)
    terms, statuses = run.terms()
    assert reasons(statuses) == {}
    stored = run.data_dir / "neurovault/collection_2/neurosynth_words_for_image_202.json"
    assert stored.read_bytes() == archive.terms[202]
    values = json.loads(archive.terms[202])["data"]["values"]
    assert {row["term"]: row["weight"] for row in terms if row["image_id"] == "202"} == values
    assert run.terms() == (terms, statuses)
    assert server.count("/api/decode/") == 5


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("fault", ["json", "html", "502", "429", "refuse", "form"])
def test_a_request_for_terms_that_fails_once_is_repeated(serve, fault):
    server, run = serve(Archive.small({1: 3}))
    server.misbehave("neurovault=102", fault)
    assert reasons(run.terms()[1]) == {}


def test_missing_terms_stay_missing_and_have_a_reason(serve):
    archive = Archive.small({1: 2})
    archive.add_image(150, 1, terms=False)
    archive.add_image(151, 1, file_size=4_000_001)
    archive.add_image(152, 1)
    archive.terms[152] = b'{"data": {"values": {}}}'
    server, run = serve(archive)
    server.misbehave("neurovault=102", always="json")
    terms, statuses = run.terms()
    assert reasons(statuses) == {102: "bad_answer", 150: "refused", 151: "image_too_large", 152: "no_values"}
    assert {row["image_id"] for row in terms} == {"101"}
    assert server.count("neurovault=151") == 0
    assert server.count("neurovault=150") == 1


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("how", ["502", "silence_at_once"])
def test_the_run_continues_with_a_warning_if_the_server_is_down(serve, how):
    server, run = serve(Archive.small({1: 80}))
    server.misbehave("/api/decode/", always=how)
    terms, statuses = run.terms()
    assert terms == []
    assert len(reasons(statuses)) == 80
    assert server.count("/api/decode/") <= 30


@pytest.mark.parametrize("how", ["429_without_pause", "429"])
def test_a_busy_server_is_not_down(serve, how):
    server, run = serve(Archive.small({1: 12}))
    server.misbehave("/decode", *[how] * 12)
    _, statuses = run.terms(network={"attempts": 13})
    assert reasons(statuses) == {}


def test_without_an_address_no_request_is_sent(serve):
    server, run = serve(Archive.small({1: 2}))
    run.archive["neurosynth_url"] = None
    assert set(reasons(run.terms()[1]).values()) == {"not_asked"}
    assert server.count("/api/decode/") == 0


def test_only_terms_with_a_name_and_a_correlation_are_used(tmp_path):
    path = tmp_path / "words.json"
    values = {
        "motor": 1, "flag": True, "large": 5e300, "huge": 10**400, "none": None, "text": "0.5", "nan": float("nan"),
        "rounded": -1.0000001, "more": 1.001, "": 0.1, "\n\t": 0.1, "work\ning\x1b memory": 0.2, "work ing memory": 0.3,
    }  # fmt: skip
    path.write_text(json.dumps({"data": {"values": values}}))
    weights, reason, dropped = read_answer(path)
    assert weights == {"motor": 1.0, "rounded": -1.0000001, "work ing memory": 0.2}
    assert (reason, dropped) == (None, len(values) - 3)


@pytest.mark.parametrize(
    "content",
    [
        b'{"data": {"values": {"caf\xe9": 0.1}}}', '{"data": {"values": {"a": 0.1}}}'.encode("utf-16"), b"[" * 100_000,
        b'{"data": {"values": {"a": 1' + b"0" * 5000 + b"}}}",
    ],
)  # fmt: skip
def test_an_answer_that_is_not_utf8_json_is_not_stored(serve, content, caplog):
    archive = Archive.small({1: 2})
    archive.terms[101] = content
    _, run = serve(archive)
    caplog.set_level("INFO")
    terms, statuses = run.terms()
    assert reasons(statuses) == {101: "bad_answer"}
    assert "term weights found for 1 of 2 images; none for 1 (bad_answer)" in caplog.text
    assert {row["image_id"] for row in terms} == {"102"}
    assert not (run.data_dir / "neurovault/collection_1/neurosynth_words_for_image_101.json").exists()


def test_one_invalid_weight_does_not_affect_the_others(serve, caplog):
    archive = Archive.small({1: 1})
    archive.terms[101] = b'{"data": {"values": {"good": 0.1, "bad": 1e300, "worse": true}}}'
    _, run = serve(archive)
    caplog.set_level("INFO")
    assert run.terms()[0] == [{"image_id": "101", "term": "good", "weight": 0.1}]
    assert "ignored 2 terms of 1 image, because" in caplog.text
