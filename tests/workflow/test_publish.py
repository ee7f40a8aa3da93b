"""Publishing to a loopback server: dry run, faults of the server, and nothing twice."""

import gzip
import json
import os
import socket
import threading
import time
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import nibabel as nib
import numpy as np
import publish as tool
import pytest
import upload_server
from neurovault_ica.images.maps import place_maps, write_maps
from neurovault_ica.naming.component_files import DESCRIPTION, IMAGES, LOADINGS, TREATMENT
from neurovault_ica.net.retries import MAX_RETRY_AFTER_S
from neurovault_ica.runtime.files import write_json
from neurovault_ica.runtime.tables import column_names, write_table
from publish import main

SECRET = "0123456789abcdef"


class NeuroVault(ThreadingHTTPServer):
    """A NeuroVault that stores collections and images.

    Each of `faults` answers one POST of an image. Each of `odd` answers one request: method, status, body, headers.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.collections, self.images, self.faults, self.odd, self.tokens = [], [], [], [], []
        self.posts = self.repeated_pages = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """The part of NeuroVault's API that publishing needs, with its paging."""

    def log_message(self, *arguments):
        """Keep quiet."""

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def is_allowed(self):
        self.server.tokens.append(self.headers["Authorization"])
        if self.server.odd and self.server.odd[0][0] == self.command:
            _, status, body, headers = self.server.odd.pop(0)
            self.send_response(status)
            for name, value in {"Content-Length": len(body), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)
            return False
        if self.headers["Authorization"] == f"Token {SECRET}":
            return True
        self.answer({"detail": "Invalid token."}, 401)
        return False

    def do_CONNECT(self):
        self.server.tokens.append(self.headers["Authorization"])
        self.answer({}, 403)

    def do_GET(self):
        if not self.is_allowed():
            return
        parts = urlsplit(self.path)
        offset = int(parse_qs(parts.query)["offset"][0])
        if parts.path == "/api/my_collections/":
            rows = self.server.collections
        else:
            rows = [row for row in self.server.images if parts.path == f"/api/collections/{row['collection']}/images/"]
        # Two records on each page, so that the client has to ask for the following pages.
        following = "more" if len(rows) > offset + 2 else None
        if offset and self.server.repeated_pages:
            self.server.repeated_pages -= 1
            offset = 0
        self.answer({"count": len(rows), "next": following, "results": rows[offset : offset + 2]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.is_allowed():
            return None
        if self.path == "/api/collections/":
            record = json.loads(body) | {"id": 7 + len(self.server.collections)}
            self.server.collections.append(record)
            return self.answer(record, 201)
        self.server.posts += 1
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "lost":
            return self.answer({}, 500)
        message = BytesParser().parsebytes(f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode() + body)
        fields = {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}
        row = {name: part.get_payload(decode=True).decode() for name, part in fields.items() if name != "file"}
        row |= {"file": fields["file"].get_filename(), "content": fields["file"].get_payload(decode=True).hex()}
        number = len(self.server.images) + 1
        self.server.images.append(row | {"id": number, "collection": int(self.path.split("/")[3])})
        return self.answer({}, 500) if fault == "stored" else self.answer({"id": number}, 201)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(upload_server, "READ_PAUSE_S", 0)
    monkeypatch.setattr(tool, "STORE_PAUSE_S", 0)
    monkeypatch.setattr(tool, "STORE_TIME_S", 0)
    monkeypatch.setenv("NEUROVAULT_TOKEN", SECRET)
    with NeuroVault() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def package(tmp_path):
    """A small package of three components."""
    folder = tmp_path / "mine"
    (folder / "tpl-X").mkdir(parents=True)
    mask, maps = (str(folder / f"tpl-X/tpl-X_res-2_desc-ICA_{suffix}.nii.gz") for suffix in ("mask", "probseg"))
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), mask)
    placed = place_maps(np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32), mask)
    write_maps(maps, placed.header, (placed.volume(k) for k in range(3)))
    write_json(maps.replace(".nii.gz", ".json"), {TREATMENT: {}})
    rows = [{"index": k, "name": f"name {k}", "component": f"ICA_0{k}", "source": "terms", "q": 0.01} for k in range(3)]
    write_table(folder / "tpl-X/tpl-X_atlas-mine_dseg.tsv", rows, described_as="package/dseg.tsv")
    dataset = {"Name": "mine", "License": "CC0-1.0", "HowToAcknowledge": "Cite", "GeneratedBy": [{"Name": "ICA"}]}
    write_json(folder / DESCRIPTION, dataset)
    write_json(folder / "run.json", {"configuration": {"archive": {"source": "demo"}}})
    return folder


def test_a_dry_run_sends_nothing_and_needs_no_token(package, server, capsys, monkeypatch):
    monkeypatch.delenv("NEUROVAULT_TOKEN")
    main([str(package), "--url", server.url])
    assert "Nothing was sent" in (shown := capsys.readouterr().out)
    assert "ICA_02: name 2" in shown
    assert server.collections == []


def test_a_collection_with_all_maps_is_created_once(package, server, capsys):
    server.faults = [None, "stored", "lost"]
    for _ in range(2):
        main([str(package), "--upload", "--url", server.url])
    assert [record["name"] for record in server.collections] == ["mine"]
    assert [image["name"] for image in server.images] == ["ICA_00: name 0", "ICA_01: name 1", "ICA_02: name 2"]
    assert server.posts == 4
    first = server.images[0]
    assert (first["map_type"], first["target_template_image"], first["file"]) == (
        "Other",
        "GenericMNI",
        "ICA_00.nii.gz",
    )
    sent = nib.Nifti1Image.from_bytes(gzip.decompress(bytes.fromhex(first["content"]))).get_fdata()
    np.testing.assert_array_equal(sent, nib.load(next(package.glob("tpl-*/*probseg.nii.gz"))).get_fdata()[..., 0])
    assert SECRET not in capsys.readouterr().out


def test_an_image_with_two_rows_counts_once(package, capsys):
    (package / "loadings").mkdir()
    loadings = {f"ICA_0{k}": 0.5 for k in range(3)}
    rows = [{"image_id": i, "sign": sign} | loadings for i in (7, 8) for sign in ("activation", "deactivation")]
    write_table(package / LOADINGS, rows, list(rows[0]), described_as="run_ica/desc-ICA_mixing.tsv")
    images = [dict.fromkeys(column_names("package/images.tsv")) | {"image_id": i} for i in (7, 8)]
    write_table(package / IMAGES, images, described_as="package/images.tsv")
    main([str(package)])
    assert "3 components of 2 statistic maps" in capsys.readouterr().out


def test_an_interrupted_upload_continues(package, server):
    server.faults = [None] + ["lost"] * 6
    with pytest.raises(SystemExit, match="2 of 3 maps are not there, such as ICA_01"):
        main([str(package), "--upload", "--url", server.url])
    main([str(package), "--upload", "--url", server.url])
    assert sorted(image["file"] for image in server.images) == ["ICA_00.nii.gz", "ICA_01.nii.gz", "ICA_02.nii.gz"]
    assert len(server.collections) == 1


def interrupt(*_):
    raise KeyboardInterrupt


def test_after_a_kill_the_next_call_waits_until_the_server_has_stored_the_last_map(package, server, monkeypatch):
    slept = []
    monkeypatch.setattr(tool, "STORE_TIME_S", 120)
    monkeypatch.setattr(tool.time, "sleep", slept.append)
    main([str(package), "--upload", "--url", server.url])
    sending = package.with_name(".mine.sending")
    assert not sending.exists()
    assert slept == []
    sending.touch()
    os.utime(sending, (time.time() - 20,) * 2)
    main([str(package), "--upload", "--url", server.url])
    assert [round(seconds, -1) for seconds in slept] == [100]
    assert not sending.exists()
    monkeypatch.setattr(tool, "_upload", interrupt)
    server.images.clear()
    with pytest.raises(SystemExit, match="interrupted; run again to continue"):
        main([str(package), "--upload", "--url", server.url])
    assert sending.exists()


def test_two_uploads_at_the_same_time_send_nothing_twice(package, server):
    with tool.only_upload(package), pytest.raises(SystemExit, match=r"another process uploads .*mine already; wait"):
        main([str(package), "--upload", "--url", server.url])
    assert server.images == server.collections == []
    main([str(package), "--upload", "--url", server.url])
    assert len(server.images) == 3


def test_maps_that_their_owner_renamed_are_not_sent_again(package, server):
    main([str(package), "--upload", "--url", server.url])
    server.collections[0]["name"] = "Networks of 2026"
    server.images[0] |= {"name": "pain", "file": "http://x/media/images/7/ICA_00_1.nii.gz", "description": "of pain"}
    server.images[1] |= {"name": "vision", "file": "http://x/media/images/7/other.nii.gz"}
    names = next(package.glob("tpl-*/*_dseg.tsv"))
    names.write_text(names.read_text().replace("name 2", "another name"))
    main([str(package), "--upload", "--url", server.url])
    assert (len(server.collections), server.posts) == (1, 3)


def test_a_list_whose_pages_repeat_records_is_read_again(package, server):
    others = [{"id": k, "name": f"other {k}", "description": None} for k in (1, 2)]
    server.collections = list(others)
    main([str(package), "--upload", "--url", server.url])
    server.repeated_pages = 1
    main([str(package), "--upload", "--url", server.url])
    assert len(server.collections) == 3
    server.repeated_pages = 10
    with pytest.raises(SystemExit, match="states 3 records, but lists only 2 different ones"):
        main([str(package), "--upload", "--url", server.url])


def test_the_token_goes_to_no_other_server_and_into_no_message(package, server, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else")
    with NeuroVault() as other:
        server.odd = [("GET", 301, b"", {"Location": f"{other.url}/api/my_collections/?token={SECRET}"})]
        with pytest.raises(SystemExit, match=r"redirects to .*give it with --url") as stopped:
            main([str(package), "--upload", "--url", server.url])
        assert other.tokens == []
        threading.Thread(target=other.handle_request).start()
        monkeypatch.setenv("HTTPS_PROXY", other.url)
        monkeypatch.setattr(upload_server, "ATTEMPTS", 1)
        with pytest.raises(OSError, match=r"[Pp]roxy"):
            upload_server.Server("https://neurovault.invalid", SECRET).list_all("my_collections/")
        assert other.tokens == [None]
    server.odd = [("POST", 403, f"<pre>Authorization: Token {SECRET}</pre>".encode(), {})]
    with pytest.raises(SystemExit, match=r"answered 403: <pre>Authorization: Token \[token\]") as refused:
        main([str(package), "--upload", "--url", server.url])
    for wrong in (f"Token {SECRET}", f"{SECRET}\n{SECRET}", f"{SECRET}\N{BULLET}"):
        with pytest.raises(ValueError, match="NEUROVAULT_TOKEN has spaces") as unsent:
            upload_server.Server(server.url, wrong)
        assert SECRET not in str(unsent.value)
    assert SECRET not in f"{stopped.value} {refused.value} {capsys.readouterr()}"


@pytest.mark.parametrize("body", [b"<html>", b"null", b"[1]", b'{"detail": "x"}', b'{"count": 1, "results": [{}]}'])
def test_wrong_answers_are_asked_for_again(package, server, body):
    server.odd = [("POST", 201, body, {}), ("POST", 200, body, {}), ("GET", 503, b"", {}), ("GET", 429, b"", {})]
    main([str(package), "--upload", "--url", server.url])
    assert [image["file"] for image in server.images] == ["ICA_00.nii.gz", "ICA_01.nii.gz", "ICA_02.nii.gz"]
    assert len(server.collections) == 1
    server.odd = [("GET", 200, body, {})] * 3
    with pytest.raises(SystemExit, match="did not answer with"):
        main([str(package), "--upload", "--url", server.url])


@pytest.mark.parametrize(("asked", "paused"), [("7", 7), ("86400", MAX_RETRY_AFTER_S), ("soon", 0)])
def test_the_pause_that_a_server_asks_for_is_kept(package, server, monkeypatch, asked, paused):
    slept = []
    monkeypatch.setattr(upload_server.time, "sleep", slept.append)
    busy = 429, b"", {"Retry-After": asked}
    server.odd = [("GET", *busy), ("POST", *busy)]
    main([str(package), "--upload", "--url", server.url])
    assert slept == [paused, paused]
    assert len(server.collections) == 1
    assert len(server.images) == 3


def test_a_server_with_a_fault_leads_to_the_advice_to_continue(package, server):
    server.odd = [("GET", 500, b"", {})] * upload_server.ATTEMPTS
    with pytest.raises(SystemExit, match="answered 500; run again to continue"):
        main([str(package), "--upload", "--url", server.url])
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(SystemExit, match=rf"the connection to {address}/api/.*refused.*; run again to continue"):
        main([str(package), "--upload", "--url", address])


def test_other_collections_are_never_touched(package, server):
    server.collections = [{"id": 1, "name": "mine", "description": "something else"}]
    with pytest.raises(SystemExit, match="choose another name: --name"):
        main([str(package), "--upload", "--url", server.url])
    main([str(package), "--upload", "--url", server.url, "--name", "mine 2"])
    assert {image["collection"] for image in server.images} == {8}


def test_another_name_is_advised_only_if_the_collection_is_not_valid(package, server):
    for status, is_advised in ((400, True), (401, False), (403, False)):
        server.odd = [("POST", status, b'{"detail": "no"}', {})]
        with pytest.raises(SystemExit) as stopped:
            main([str(package), "--upload", "--url", server.url])
        assert ("--name NAME" in str(stopped.value)) == is_advised


def test_mistakes_are_explained(package, server, monkeypatch, tmp_path):
    for address in ("http://neurovault.org", "ftp://127.0.0.1"):
        with pytest.raises(SystemExit, match="the token would be sent unencrypted"):
            main([str(package), "--upload", "--url", address])
    with pytest.raises(SystemExit, match=r"the maps of .* are simulated"):
        main([str(package), "--upload"])
    monkeypatch.setenv("NEUROVAULT_TOKEN", "wrong")
    with pytest.raises(SystemExit, match="refuses the token in NEUROVAULT_TOKEN"):
        main([str(package), "--upload", "--url", server.url])
    monkeypatch.setenv("NEUROVAULT_TOKEN", " ")
    with pytest.raises(SystemExit, match="NEUROVAULT_TOKEN is not set"):
        main([str(package), "--upload", "--url", server.url])
    with pytest.raises(SystemExit, match="is not a folder; write a package first"):
        main([str(tmp_path / "nothing")])
    with pytest.raises(SystemExit, match=r"lacks dataset_description.json; write a package first"):
        main([str(tmp_path)])
    assert server.images == []
