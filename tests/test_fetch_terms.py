"""Term weights: missing stays missing."""

import json

import pytest
from fetch_terms import read_weights
from fetching import Run
from neurovault_server import Archive, Server


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


# From a server.


@pytest.fixture
def serve(tmp_path):
    servers = []

    def start(archive, **options):
        server = Server(archive, **options)
        servers.append(server.__enter__())
        run = Run(tmp_path, server=server)
        run.select(batches=2)
        return server, run

    yield start
    for server in servers:
        server.__exit__()


def reasons(statuses):
    return {row["image_id"]: row["reason"] for row in statuses if row["reason"]}


def test_answers_are_kept_as_nilearn_keeps_them_and_come_once(serve):
    archive = Archive.small({1: 3, 2: 2})
    server, run = serve(archive)
    terms, statuses = run.terms()
    assert reasons(statuses) == {}
    stored = run.data_dir / "neurovault/collection_2/neurosynth_words_for_image_202.json"
    assert stored.read_bytes() == archive.terms[202]
    values = json.loads(archive.terms[202])["data"]["values"]
    assert {row["term"]: row["weight"] for row in terms if row["image_id"] == 202} == values
    assert run.terms() == (terms, statuses)
    assert server.count("/api/decode/") == 5


@pytest.mark.parametrize("fault", ["json", "html", "502", "429", "refuse", "form"])
def test_an_answer_that_fails_once_is_asked_for_again(serve, fault):
    server, run = serve(Archive.small({1: 3}))
    server.misbehave("neurovault=102", fault)
    assert reasons(run.terms()[1]) == {}


def test_what_is_missing_stays_missing_with_its_reason(serve):
    archive = Archive.small({1: 2})
    archive.add_image(150, 1, terms=False)
    archive.add_image(151, 1, file_size=4_000_001)
    archive.add_image(152, 1)
    archive.terms[152] = b'{"data": {"values": {}}}'
    server, run = serve(archive)
    server.misbehave("neurovault=102", always="json")
    terms, statuses = run.terms()
    assert reasons(statuses) == {102: "bad_answer", 150: "refused", 151: "image_too_large", 152: "no_values"}
    assert {row["image_id"] for row in terms} == {101}
    assert server.count("neurovault=151") == 0
    assert server.count("neurovault=150") == 1


@pytest.mark.parametrize("how", ["502", "silence"])
def test_a_server_that_is_down_is_noticed_and_the_run_goes_on(serve, how):
    server, run = serve(Archive.small({1: 80}))
    server.misbehave("/api/decode/", always=how)
    terms, statuses = run.terms(network={"timeout_s": 0.2})
    assert terms == []
    assert len(reasons(statuses)) == 80
    assert server.count("/api/decode/") <= 30


def test_without_an_address_nobody_is_asked(serve):
    server, run = serve(Archive.small({1: 2}))
    run.archive["neurosynth_url"] = None
    assert set(reasons(run.terms()[1]).values()) == {"missing_file"}
    assert server.count("/api/decode/") == 0
