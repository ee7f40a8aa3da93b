"""Addresses, TLS, endless answers and pauses. The tests of each stage cover other faults of a server."""

import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fetching import NETWORK, Run
from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import Client, connect
from neurovault_server import Archive, Faults, Server


@pytest.mark.parametrize(
    ("base", "url", "secured"),
    [
        ("https://neurovault.org", "http://neurovault.org/media/a.nii.gz", "https://neurovault.org/media/a.nii.gz"),
        ("https://neurovault.org", "https://neurovault.org/a", "https://neurovault.org/a"),
        ("https://neurovault.org", "http://elsewhere.org/a", "http://elsewhere.org/a"),
        ("https://127.0.0.1:8443", "http://127.0.0.1:8443/a", "https://127.0.0.1:8443/a"),
        ("http://neurovault.org", "https://neurovault.org/a", "https://neurovault.org/a"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/a", "http://127.0.0.1:8000/a"),
    ],
)
def test_http_addresses_of_an_https_server_become_https(base, url, secured):
    assert connect(base, NETWORK).secure(url) == secured


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://a/b",
        "/etc/passwd",
        "",
        None,
        7,
        "http://",
        "http://[::1",
        "http://me:pw@a/b",
        "http://a:99999/b",
    ],
)
def test_only_http_addresses_are_accepted(url):
    with pytest.raises(FetchError, match="bad_address"):
        connect("https://neurovault.org", NETWORK).secure(url)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """File with a self-signed certificate of this machine, and its key."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    chain = folder / "chain.pem"
    chain.write_bytes((folder / "certificate.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return chain


def test_a_self_signed_certificate_is_refused_at_once(certificate, tmp_path):
    with Server(Archive.small({1: 3}), certificate=certificate) as server:
        run = Run(tmp_path, server=server)
        with pytest.raises(
            RuntimeError, match=r"TLS: .* self-signed certificate .* name the file .* REQUESTS_CA_BUNDLE"
        ):
            run.select(network={"patience_s": 60})
        assert server.asked == []


def test_tls_with_http_links_and_broken_connections(certificate, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with Server(Archive.small({1: 3}), certificate=certificate) as server:
        run = Run(tmp_path, server=server)
        server.misbehave("/api/collections/?", "refuse", "drop")
        server.misbehave("map_101", "refuse", "drop")
        run.select()
        assert {row["status"] for row in run.download()} == {"ok"}
        assert run.terms()[1][0]["terms"] == 39


def test_http_that_is_redirected_to_https(certificate, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    archive = Archive.small({1: 3})
    with Server(archive, certificate=certificate) as secured, Server(archive) as server:
        server.redirect_to = secured.url
        server.misbehave("/", always="redirect_to_https")
        for image in archive.images.values():
            image["file"] = f"{server.url}/media/images/{image['file']}"
        run = Run(tmp_path, server=server)
        run.select()
        assert {row["status"] for row in run.download()} == {"ok"}
        assert run.terms()[1][0]["terms"] == 39
        assert len(server.asked) == len(secured.asked) == 8


def test_endless_json_is_cut_off(monkeypatch):
    monkeypatch.setattr("neurovault_ica.net.client.MAX_JSON_BYTES", 1_000_000)
    with Server(Archive.small({1: 1})) as server, connect(server.url, NETWORK) as client:
        server.misbehave("/api/images/101/", always="endless")
        with pytest.raises(FetchError, match="after 1000000 bytes"):
            client.get_json("/api/images/101/", check=bool)


def test_the_client_waits_during_an_outage_if_the_server_answered_before():
    with Server(Archive.small({1: 1})) as server:
        patient = NETWORK | {"patience_s": 60, "attempts": 5}
        with connect(server.url, patient, probe="/api/") as client:
            client.get_json("/api/images/101/", check=bool)
            server.misbehave("/", *["502"] * 10)
            answers = list(client.map_in_order(lambda _: client.get_json("/api/images/101/", check=bool), range(4)))
            assert [answer["id"] for answer in answers] == [101] * 4


@pytest.mark.parametrize("fault", ["429", "403", "html"])
def test_a_fault_of_the_whole_server_is_an_outage(fault, caplog):
    """A firewall or the login page of a network may answer in place of the server."""
    with Server(Archive.small({1: 1})) as server:
        patient = NETWORK | {"patience_s": 60, "attempts": 2, "connections": 1}
        with connect(server.url, patient, probe="/api/") as client:
            client.get_json("/api/images/101/", check=bool)
            server.misbehave("/", *[fault] * 6)
            assert client.get_json("/api/images/101/", check=bool)["id"] == 101
    assert "does not answer" in caplog.text


@pytest.mark.parametrize("fault", ["403", "html"])
def test_a_server_that_never_sent_a_record_is_not_waited_for(fault):
    with (
        Server(Archive.small({1: 1})) as server,
        connect(server.url, NETWORK | {"patience_s": 600}, probe="/api/") as client,
    ):
        server.misbehave("/", always=fault)
        with pytest.raises(FetchError, match=r"^(refused|bad_answer)"):
            client.get_json("/api/images/101/", check=bool)


def test_an_error_is_one_printable_line():
    with Server(Archive.small({1: 1})) as server, connect(server.url, NETWORK) as client:
        for fault, found in [
            ("not_http", r"BadStatusLine\("),
            ("refuse", "Remote end closed connection without response$"),
        ]:
            server.misbehave("/api/", always=fault)
            with pytest.raises(FetchError, match=f"^no_connection: {found}") as error:
                client.get_json("/api/images/101/", check=bool)
            assert str(error.value).isprintable()


def test_results_come_in_order_and_few_items_are_started_ahead():
    begun = []

    def work(number):
        begun.append(number)
        time.sleep(0.02 if number % 3 else 0.06)
        return number

    client = Client("http://127.0.0.1:9", connections=3, timeout_s=1, attempts=1)
    walk = client.map_in_order(work, iter(range(1000)))
    assert [next(walk) for _ in range(10)] == list(range(10))
    walk.close()
    assert len(begun) <= 14


def test_a_connection_gets_the_next_file_while_one_is_checked(tmp_path):
    checking, arrived = threading.Event(), threading.Event()

    def check_first(_):
        checking.set()
        return None if arrived.wait(10) else "the only connection was idle"

    with (
        Server(Archive.small({1: 2})) as server,
        connect(server.url, NETWORK | {"connections": 1, "attempts": 1}) as client,
    ):

        def get(number):
            url, path = f"{server.url}/media/images/1/map_{number}.nii.gz", tmp_path / str(number)
            if number == 101:
                return client.save(url, path, expected_bytes=None, check=check_first, count=bool)
            assert checking.wait(10)
            return client.save(url, path, expected_bytes=None, check=lambda _: None, count=lambda _: arrived.set())

        saved = list(client.map_in_order(get, [101, 102], ahead=2))
    assert [file.n_bytes for file in saved] == [path.stat().st_size for path in sorted(tmp_path.iterdir())]


@pytest.mark.parametrize("what", ["502", "silence", "trickle"])
def test_leaving_the_block_ends_pauses_and_answers(what):
    with Server(Archive.small({1: 1})) as server:
        server.misbehave("/api/", always=what)
        with ThreadPoolExecutor() as pool:
            with connect(server.url, NETWORK | {"backoff_s": 600, "timeout_s": 600}) as client:
                waiting = pool.submit(client.get_json, "/api/", check=bool)
                while not server.asked:
                    time.sleep(0.01)
            assert waiting.exception(timeout=20).reason == "stopped"


@pytest.mark.parametrize("connections", [1, 4])
def test_the_client_also_waits_during_an_outage_from_the_start(connections):
    with Server(Archive.small({1: 1})) as server:
        server.misbehave("/", *["502"] * 16)
        patient = NETWORK | {"patience_s": 60, "connections": connections}
        with connect(server.url, patient, probe="/api/", first_patience_s=20) as client:
            answers = list(client.map_in_order(lambda _: client.get_json("/api/images/101/", check=bool), range(4)))
            assert [answer["id"] for answer in answers] == [101] * 4


def test_an_outage_that_does_not_end_is_an_error():
    with Server(Archive.small({1: 1}), faults=Faults(is_down=True)) as server:
        patient = NETWORK | {"patience_s": 60, "connections": 1}
        with (
            connect(server.url, patient, probe="/api/", first_patience_s=0.1) as client,
            pytest.raises(FetchError, match="server_down"),
        ):
            client.get_json("/api/images/101/", check=bool)


@pytest.mark.parametrize("address", ["http://[::1/x", "http://exa\x1b[31m:99999/x", "//[x", "ftp://a/"])
def test_a_redirect_to_nowhere_is_a_bad_address(tmp_path, address):
    with Server(Archive.small({1: 2})) as server:
        run = Run(tmp_path, server=server)
        run.select()
        server.redirect_to = address
        server.misbehave("101", always="redirect_somewhere")
        assert [row["reason"] for row in run.download()] == ["bad_address", None]
        assert [row["reason"] for row in run.terms()[1]] == ["bad_address", None]


def test_no_password_of_netrc_is_sent(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Server(Archive.small({1: 1})) as server:
        run = Run(tmp_path, server=server)
        run.select()
        run.download()
        assert not any("Authorization" in headers for headers in server.headers)


def test_the_probe_beside_all_connections_does_not_overflow_the_pool(caplog):
    """urllib3 warns on the screen if there are more connections than it keeps."""
    with (
        Server(Archive.small({1: 1}), faults=Faults(latency_s=0.1)) as server,
        connect(server.url, NETWORK | {"connections": 2}, probe="/api/") as client,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [pool.submit(client.get_json, "/api/collections/1/", check=lambda _: True) for _ in range(4)]
        probes = [pool.submit(client.is_alive) for _ in range(4)]
        assert all(probe.result() for probe in probes)
        assert all(one.result()["id"] == 1 for one in asked)
        assert server.most_at_once <= 3
    assert "pool is full" not in caplog.text
