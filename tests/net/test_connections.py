"""Requests go to public addresses only, and answers have a time limit."""

import socket

import pytest
from fetching import NETWORK, Run, ids
from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import connect
from neurovault_server import Archive, Server, nifti


@pytest.fixture
def elsewhere():
    """Yield another server on this machine. Its address is not the configured one."""
    with Server(Archive.small({1: 3}), address="127.0.0.2") as server:
        yield server


def reasons(rows):
    return {int(row["image_id"]): row["reason"] for row in rows if row["reason"]}


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "127.0.0.2", "127.1.1.1",
        "2130706434", "0x7f000002", "[::1]", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:10.0.0.1]", "[::ffff:127.0.0.2]",
        "224.0.1.1", "255.255.255.255",
    ],
)  # fmt: skip
def test_a_private_address_in_a_record_is_reported_and_not_requested(serve, elsewhere, host):
    archive = Archive.small({1: 2})
    archive.images[101]["file"] = f"http://{host}:{elsewhere.netloc.partition(':')[2]}/media/images/1/map_101.nii.gz"
    _, run = serve(archive)
    assert reasons(run.download()) == {101: "private_address"}
    assert elsewhere.asked == []


def test_a_redirect_to_a_private_address_is_not_followed(serve, elsewhere):
    server, run = serve(Archive.small({1: 2, 2: 1}))
    server.redirect_to = f"{elsewhere.url}/media/images/1/map_101.nii.gz"
    server.misbehave("101", always="redirect_somewhere")
    server.misbehave("/collections/2/images", always="redirect_somewhere")
    assert reasons(run.download()) == {101: "private_address"}
    assert reasons(run.terms()[1]) == {101: "private_address"}
    run.archive["mode"] = "overwrite"
    assert ids(run.select()[1]) == [101, 102, 201], "the earlier list of collection 2 is used"
    assert elsewhere.asked == []


@pytest.mark.parametrize("looked_up", ["127.0.0.2", "8.8.8.8"])
def test_a_name_that_resolves_to_a_private_address_is_refused(serve, elsewhere, monkeypatch, looked_up):
    """The name can resolve to a private address at once, or only when the connection is made."""
    archive = Archive.small({1: 2})
    archive.images[101]["file"] = f"http://rebound.example:{elsewhere.netloc.partition(':')[2]}/map_101.nii.gz"
    _, run = serve(archive)
    answers = [looked_up, "127.0.0.2"]
    look_up = socket.getaddrinfo

    def pretend(host, *arguments, **options):
        return look_up(answers.pop(0) if host == "rebound.example" else host, *arguments, **options)

    monkeypatch.setattr("socket.getaddrinfo", pretend)
    assert reasons(run.download()) == {101: "private_address"}
    assert elsewhere.asked == []


def test_another_name_of_the_servers_own_address_is_allowed(serve):
    archive = Archive.small({1: 2})
    server, run = serve(archive)
    archive.images[101]["file"] = f"http://localhost:{server.netloc.partition(':')[2]}/media/images/1/map_101.nii.gz"
    run.archive["mode"] = "overwrite"
    run.select()
    assert reasons(run.download()) == {}


def test_a_proxy_may_be_private(tmp_path, monkeypatch):
    with Server(Archive.small({1: 2}), address="127.0.0.2") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        run = Run(tmp_path, server=proxy, url="http://archive.example", neurosynth_url="http://terms.example")
        run.select()
        assert reasons(run.download()) == {}
        assert proxy.count("http://archive.example/api/collections/") == 2


@pytest.mark.parametrize(
    ("proxy", "found"),
    [("http://127.0.0.1:9", "Connection refused"), ("socks5://127.0.0.1:9", "Missing dependencies for SOCKS support")],
)
def test_a_proxy_that_does_not_work_is_named(tmp_path, monkeypatch, proxy, found):
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    with Server(Archive.small({1: 2})) as server:
        with pytest.raises(RuntimeError, match=f"proxy: .*{found}; check the variables http_proxy, https_proxy"):
            Run(tmp_path, server=server).select()
        assert server.asked == []


def test_an_answer_is_abandoned_after_the_time_limit(serve, monkeypatch):
    monkeypatch.setattr("neurovault_ica.net.connections.MAX_ANSWER_S", 1)
    server, run = serve(Archive.small({1: 2}, content=nifti(shape=(20, 20, 20))))
    server.misbehave("map_101", always="slow")
    assert reasons(run.download()) == {101: "timeout"}
    assert server.count("map_101") == 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("trickle", "timeout"), ("trickle_headers", "timeout"), ("trickle_chunk", "timeout"),
        ("continue", "bad_answer"), ("silence", "timeout"),
    ],
)  # fmt: skip
def test_a_page_that_never_ends_is_abandoned(kind, reason):
    with Server(Archive.small({1: 1})) as server, connect(server.url, NETWORK | {"timeout_s": 0.2}) as client:
        server.misbehave("/api/", always=kind)
        with pytest.raises(FetchError, match=reason):
            client.get_json("/api/images/101/", check=bool)
