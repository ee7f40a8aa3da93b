"""A NeuroVault and Neurosynth server on a real socket of 127.0.0.1, with faults that tests switch on.

Paging, redirects, error pages and headers follow the public server's source code and recorded answers. The data are
simulated, or come from a cache in nilearn's layout. `Server.misbehave` makes one address fail. `Faults` describes
faults of the whole server.
"""

import gzip
import json
import random
import re
import ssl
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

# Bytes that TCP sends on a new connection before it waits for an acknowledgement: ten packets.
FIRST_WINDOW = 14_480
HTML_502 = (
    b"<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"
)
HTML_500 = (
    b"<!doctype html><html><head><title>Server Error (500)</title></head><body><h1>Server Error</h1></body></html>"
)


@dataclass
class Archive:
    """The data of a server."""

    collections: dict[int, dict] = field(default_factory=dict)
    images: dict[int, dict] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)  # path below /media/images/ -> content
    terms: dict[int, bytes] = field(default_factory=dict)

    def add_collection(self, collection_id, **known):
        record = {
            "id": collection_id, "url": f"http://neurovault.org/collections/{collection_id}/", "owner": 7,
            "owner_name": "somebody", "contributors": "", "number_of_images": 0, "name": f"Study {collection_id}",
            "DOI": None, "preprint_DOI": None, "authors": None, "journal_name": None, "paper_url": None,
            "description": "null", "private": False, "add_date": "2016-01-21T18:22:33.834970+01:00",
            "modify_date": "2016-01-21T18:22:33.834970+01:00", "communities": [],
        }  # fmt: skip
        self.collections[collection_id] = record | known

    def add_image(self, image_id, collection_id, *, content=None, file=None, terms=True, **known):
        """Add a statistic map; `file` is its name on the server, `content` its bytes (None: a small map)."""
        name = file or f"map_{image_id}.nii.gz"
        content = nifti(image_id) if content is None else content
        self.files[f"{collection_id}/{name}"] = content
        record = {
            "url": f"http://neurovault.org/images/{image_id}/", "id": image_id, "file": f"{collection_id}/{name}",
            "collection": f"http://neurovault.org/collections/{collection_id}/", "collection_id": collection_id,
            "file_size": len(content), "cognitive_paradigm_cogatlas": "None / Other", "map_type": "Z map",
            "cognitive_contrast_cogatlas": None, "analysis_level": "group", "name": f"map {image_id}",
            "description": "",
            "add_date": "2016-01-21T18:22:33.834970+01:00", "modify_date": "2018-06-30T06:08:04.136507+02:00",
            "is_valid": True, "is_thresholded": False, "not_mni": False, "brain_coverage": 92.5,
            "number_of_subjects": None, "modality": "fMRI-BOLD", "contrast_definition": None,
            "image_type": "statistic_map",
        }  # fmt: skip
        self.images[image_id] = record | known
        self.collections[collection_id]["number_of_images"] += 1
        if terms:
            values = {f"term {n}": round(((image_id * n) % 200 - 100) / 150, 3) for n in range(1, 40)}
            answer = {"data": {"id": f"nv-{image_id}", "neurovault_id": str(image_id), "values": values}}
            self.terms[image_id] = json.dumps(answer).encode()

    @classmethod
    def small(cls, sizes, **known):
        """Make an archive from {collection_id: number of images}; image ids are 100 * collection + number."""
        archive = cls()
        for collection_id, size in sizes.items():
            archive.add_collection(collection_id)
            for number in range(1, size + 1):
                archive.add_image(100 * collection_id + number, collection_id, **known)
        return archive

    @classmethod
    def of_cache(cls, data_dir):
        """Serve a cache in nilearn's layout."""
        archive = cls()
        for file in sorted(Path(data_dir, "neurovault").glob("collection_*/collection_metadata.json")):
            collection = json.loads(file.read_text())
            archive.collections[collection["id"]] = collection
            for record_file in sorted(file.parent.glob("image_*_metadata.json")):
                record = json.loads(record_file.read_text())
                number = record["id"]
                record = {key: value for key, value in record.items() if "_path" not in key}
                archive.images[number] = record | {
                    "collection_id": collection["id"],
                    "file": f"{collection['id']}/map_{number}.nii.gz",
                }
                content = file.parent / f"image_{number}.nii.gz"
                if content.is_file():
                    archive.files[f"{collection['id']}/map_{number}.nii.gz"] = content.read_bytes()
                terms = file.parent / f"neurosynth_words_for_image_{number}.json"
                if terms.is_file():
                    archive.terms[number] = terms.read_bytes()
        return archive


def nifti(seed=0, shape=(6, 7, 5), voxel_mm=30.0, claim=None):
    """Make a small packed NIfTI-1 map. With `claim`, the header states this wrong shape."""
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *(claim or shape), 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 16, 32)
    struct.pack_into("<8f", header, 76, 1, voxel_mm, voxel_mm, voxel_mm, 1, 1, 1, 1)
    struct.pack_into("<f2f", header, 108, 352.0, 1.0, 0.0)
    struct.pack_into("<2h", header, 252, 0, 2)
    for row, origin in enumerate((-90.0, -126.0, -72.0)):
        values = [0.0, 0.0, 0.0, origin]
        values[row] = voxel_mm
        struct.pack_into("<4f", header, 280 + 16 * row, *values)
    header[344:348] = b"n+1\0"
    rng = random.Random(seed)
    n_voxels = shape[0] * shape[1] * shape[2]
    data = struct.pack(f"<{n_voxels}f", *(rng.gauss(0, 2) for _ in range(n_voxels)))
    return gzip.compress(bytes(header) + b"\0\0\0\0" + data, mtime=0)


@dataclass
class Faults:
    """Faults of the whole server.

    Attributes
    ----------
    latency_s
        Delay of every answer, in seconds.
    connection_latency_s
        Additional delay of the first answer of a connection, because the handshake is a round trip too.
    grows
        Bodies arrive as over TCP. A new or idle connection sends 14 kB per `latency_s`, and doubles this each time.
    poisoned_images, poisoned_collections
        Ids of records that the server cannot serialise. Every page with one of them fails.
    how_poisoned
        How such a page fails: the name of one of the `go_wrong_` methods.
    endless
        Every page states that there is another one, and has the first rows again.
    unordered
        Lists have no fixed order, so pages repeat and skip rows. With True, the order is random. With "window", it
        depends on limit and offset. With "plan", it depends on the end of the page, as with a database that changes its
        query plan.
    wrong_count
        Added to the stated length of lists.
    is_down
        Everything is answered with 502.
    is_packed
        JSON is packed and sent in chunks, as by the site's proxy.
    """

    latency_s: float = 0.0
    connection_latency_s: float = 0.0
    grows: bool = False
    poisoned_images: set[int] = field(default_factory=set)
    poisoned_collections: set[int] = field(default_factory=set)
    how_poisoned: str = "500"
    endless: bool = False
    unordered: bool | str = False
    wrong_count: int = 0
    is_down: bool = False
    is_packed: bool = False


class Server:
    """Serve an archive on a free port of 127.0.0.1, or another address of this machine, until the block is left.

    Attributes
    ----------
    url : str
    asked : list of str
        The requested addresses, in order.
    most_at_once : int
        Largest number of simultaneous requests.
    """

    def __init__(self, archive, *, faults=None, certificate=None, address="127.0.0.1"):
        self.archive, self.faults = archive, faults or Faults()
        self.asked, self.headers, self.most_at_once, self._now = [], [], 0, 0
        self._lock, self._wrong = threading.Lock(), {}
        self._random = random.Random(0)
        self.redirect_to = ""
        self.stopping = threading.Event()
        handler = type("Handler", (_Handler,), {"server_state": self})
        self._http = _QuietServer((address, 0), handler)
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
            scheme = "https"
        self.netloc = f"{address}:{self._http.server_address[1]}"
        self.url = f"{scheme}://{self.netloc}"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()

    def misbehave(self, address, *kinds, always=None):
        """Make requests whose address contains `address` fail: once in each way of `kinds`, then as `always`."""
        self._wrong[address] = (list(kinds), always)

    def fault_of(self, address):
        with self._lock:
            for part, (kinds, always) in self._wrong.items():
                if part in address:
                    return kinds.pop(0) if kinds else always
        return None

    def count(self, part):
        """Count the requests whose address contains `part`."""
        return sum(part in address for address in self.asked)

    def images_asked(self):
        """Return the images whose files were requested."""
        return {int(found[1]) for address in self.asked if (found := re.search(r"/media/.*/map_(\d+)", address))}

    def counts(self):
        return Counter(urlsplit(address).path for address in self.asked)

    def enter(self, address, headers):
        with self._lock:
            self.asked.append(address)
            self.headers.append(dict(headers))
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)

    def leave(self):
        with self._lock:
            self._now -= 1

    def page(self, kind, rows, limit, offset):
        """Cut a window out of a list. If lists are unordered, some rows are shuffled for each window."""
        if self.faults.unordered and kind == "collections":
            rows = list(rows)
            if self.faults.unordered == "window":
                random.Random(f"{limit} {offset}").shuffle(rows)
            elif self.faults.unordered == "plan":
                random.Random(offset + limit > 120).shuffle(rows)
            elif len(rows) > 2:
                with self._lock:
                    moved = self._random.sample(range(len(rows)), max(2, len(rows) // 5))
                    values = [rows[place] for place in moved]
                    self._random.shuffle(values)
                for place, value in zip(moved, values, strict=True):
                    rows[place] = value
        return rows[offset : offset + limit]


class _QuietServer(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False
    request_queue_size = 64

    def handle_error(self, *_):
        """Log nothing when a client closes the connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without this, a body waits 40 ms for the acknowledgement of the headers. gunicorn does the same.
    disable_nagle_algorithm = True
    server_state: Server
    window, wrote = FIRST_WINDOW, 0.0

    def setup(self):
        super().setup()
        time.sleep(self.server_state.faults.connection_latency_s)

    def log_message(self, *_):
        pass

    def do_GET(self):
        state = self.server_state
        state.enter(self.path, self.headers)
        try:
            if state.faults.latency_s:
                time.sleep(state.faults.latency_s)
            fault = state.fault_of(self.path)
            if fault is not None:
                getattr(self, f"go_wrong_{fault}")()
            elif state.faults.is_down:
                self.answer(502, HTML_502, "text/html")
            else:
                self.route()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            state.leave()

    def route(self):
        parts = urlsplit(self.path)
        path, query = parts.path, parse_qs(parts.query)
        if path.startswith("/media/images/"):
            return self.media(unquote(path.removeprefix("/media/images/")))
        if path.startswith("/api/decode"):
            return self.decode(int(query["neurovault"][0]))
        if path == "/":
            return self.answer(200, b"<html>NeuroVault</html>", "text/html")
        if not path.endswith("/"):
            where = path + "/" + (f"?{parts.query}" if parts.query else "")
            return self.answer(301, b"", "text/html", {"Location": where})
        keys = path.strip("/").split("/")
        archive, faults = self.server_state.archive, self.server_state.faults
        if keys == ["api"]:
            return self.json(200, {"collections": "...", "images": "..."})
        if keys == ["api", "collections"]:
            return self.list("collections", list(archive.collections.values()), faults.poisoned_collections, query)
        if keys[:2] == ["api", "collections"] and keys[2].isdecimal() and int(keys[2]) in archive.collections:
            number = int(keys[2])
            if len(keys) == 4 and keys[3] == "images":
                rows = [image for _, image in sorted(archive.images.items()) if image["collection_id"] == number]
                return self.list("images", rows, faults.poisoned_images, query)
            if number in faults.poisoned_collections:
                return self.answer(500, HTML_500, "text/html")
            return self.json(200, archive.collections[number])
        if keys[:2] == ["api", "images"] and keys[2:] and keys[2].isdecimal() and int(keys[2]) in archive.images:
            if int(keys[2]) in faults.poisoned_images:
                return self.answer(500, HTML_500, "text/html")
            return self.json(200, self.with_address(archive.images[int(keys[2])]))
        return self.json(404, {"detail": "Not found."})

    def list(self, kind, rows, poisoned, query):
        limit, offset = (int(query.get(key, ["0"])[0]) for key in ("limit", "offset"))
        limit = min(limit if limit > 0 else 100, 1000)
        shown = self.server_state.page(kind, rows, limit, 0 if self.server_state.faults.endless else offset)
        if any(row["id"] in poisoned for row in shown):
            getattr(self, f"go_wrong_{self.server_state.faults.how_poisoned}")()
            return
        count = len(rows) + self.server_state.faults.wrong_count
        # Django writes http even behind TLS.
        following = f"http://{self.server_state.netloc}{urlsplit(self.path).path}?limit={limit}&offset={offset + limit}"
        results = [self.with_address(row) for row in shown] if kind == "images" else shown
        self.json(
            200,
            {
                "count": count,
                "next": following if offset + limit < count or self.server_state.faults.endless else None,
                "previous": None,
                "results": results,
            },
        )

    def with_address(self, image):
        file = image["file"]
        if "as_is" in image or "://" in file:
            return image
        return image | {"file": f"http://{self.server_state.netloc}/media/images/{quote(file)}"}

    def media(self, name):
        content = self.server_state.archive.files.get(name)
        # NeuroVault's route accepts ASCII only: it stores files with other names, but never finds them.
        if content is None or not name.isascii():
            self.answer(404, b"<html><h1>Not Found</h1></html>", "text/html")
        else:
            self.answer(200, content, "application/octet-stream", {"Content-Encoding": "utf-8"})

    def decode(self, image_id):
        answer = self.server_state.archive.terms.get(image_id)
        if answer is None:
            self.json(200, {"data": {"error": "The image could not be found."}, "status": 404})
        else:
            self.answer(200, answer, "application/json")

    def json(self, status, document):
        if "text/html" in self.headers.get("Accept", ""):
            self.answer(status, b"<html>Django REST framework</html>", "text/html")
        elif self.server_state.faults.is_packed and "gzip" in self.headers.get("Accept-Encoding", ""):
            self.begin({"Content-Encoding": "gzip", "Content-Type": "application/json", "Transfer-Encoding": "chunked"})
            self.in_chunks(gzip.compress(json.dumps(document).encode()), 500)
        else:
            self.answer(status, json.dumps(document).encode(), "application/json")

    def answer(self, status, body, kind, headers=None, *, length=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.server_state.faults.grows:
            self.write_in_windows(body)
        else:
            self.wfile.write(body)

    def write_in_windows(self, body):
        """Write as much as TCP sends in each round trip."""
        start, latency_s = 0, self.server_state.faults.latency_s
        # TCP begins again with its first window after a pause of a few round trips.
        self.window = FIRST_WINDOW if time.monotonic() - self.wrote > 3 * latency_s else self.window
        while len(body) - start > self.window:
            self.wfile.write(body[start : start + self.window])
            time.sleep(latency_s)
            start, self.window = start + self.window, 2 * self.window
        self.wfile.write(body[start:])
        self.wrote = time.monotonic()

    # Faults of one address.

    def body(self):
        name = unquote(urlsplit(self.path).path.removeprefix("/media/images/"))
        return self.server_state.archive.files.get(name, b'{"count": 1, "results": [{"id": 1')

    def go_wrong_drop(self):
        """Close the connection in the middle of the body."""
        body = self.body()
        self.answer(200, body[: len(body) // 2], "application/octet-stream", length=len(body))
        self.close_connection = True

    def go_wrong_truncate(self):
        """Send half of the body, with its length."""
        body = self.body()
        self.answer(200, body[: len(body) // 2], "application/octet-stream")

    def go_wrong_truncate_without_length(self):
        body = self.body()
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True

    def go_wrong_lie(self):
        """Send the whole body with a length that is too small."""
        body = self.body()
        self.answer(200, body, "application/octet-stream", length=len(body) - 10)
        self.close_connection = True

    def go_wrong_refuse(self):
        """Close the connection without an answer."""
        self.close_connection = True

    def go_wrong_429(self):
        self.answer(429, b'{"detail":"Request was throttled."}', "application/json", {"Retry-After": "1"})

    def go_wrong_429_without_pause(self):
        self.answer(429, b'{"detail":"Request was throttled."}', "application/json")

    def go_wrong_500(self):
        self.answer(500, HTML_500, "text/html")

    def go_wrong_502(self):
        self.answer(502, HTML_502, "text/html")

    def go_wrong_503(self):
        self.answer(503, HTML_502, "text/html", {"Retry-After": "soon"})

    def go_wrong_504(self):
        self.answer(504, HTML_502, "text/html")

    def go_wrong_206(self):
        """Send a part of the file that nobody asked for."""
        self.answer(206, self.body()[:50], "application/octet-stream")

    def go_wrong_redirect_without_address(self):
        self.answer(302, b"", "text/html")

    def go_wrong_not_http(self):
        self.wfile.write(b"\x00\x1b[31m no HTTP\r\n\r\n")
        self.close_connection = True

    def go_wrong_403(self):
        self.json(403, {"detail": "You do not have permission to perform this action."})

    def go_wrong_404(self):
        self.json(404, {"detail": "Not found."})

    def go_wrong_deep(self):
        """Send JSON that is too deeply nested to be parsed."""
        self.answer(200, b"[" * 100_000, "application/json")

    def go_wrong_digits(self):
        self.answer(200, b'{"count": 1, "next": null, "results": [{"id": ' + b"1" * 5000 + b"}]}", "application/json")

    def go_wrong_html(self):
        """Send HTML instead of JSON or an image, with status 200."""
        self.answer(200, b"<html>We are down for maintenance</html>", "text/html")

    def go_wrong_json(self):
        self.answer(200, b'{"count": 3, "results": [{"id": 1}, {"id":', "application/json")

    def go_wrong_form(self):
        self.answer(200, b'{"count": "many", "results": {}}', "application/json")

    def go_wrong_endless(self):
        self.begin()
        while not self.server_state.stopping.is_set():
            self.wfile.write(b"\x1f\x8b" + b"0" * 65536)

    def go_wrong_trickle(self):
        """Send one byte at a time, without end."""
        self.begin()
        self.trickle(b"0")

    def go_wrong_trickle_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.trickle(b"X: y\r\n")

    def go_wrong_continue(self):
        """Send status 100 (continue) as fast as possible, without end."""
        self.close_connection = True
        while not self.server_state.stopping.is_set():
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    def go_wrong_trickle_chunk(self):
        """Send the length of a chunk digit by digit, without end."""
        self.begin({"Transfer-Encoding": "chunked"})
        self.trickle(b"0")

    def go_wrong_trickle_trailer(self):
        self.begin({"Transfer-Encoding": "chunked"})
        self.wfile.write(b"0\r\n")
        self.trickle(b"X: y\r\n")

    def go_wrong_slow(self):
        """Send the right file at 20 kB/s."""
        body = self.body()
        self.begin({"Content-Length": str(len(body))})
        for start in range(0, len(body), 1000):
            self.wfile.write(body[start : start + 1000])
            time.sleep(0.05)

    def go_wrong_chunked(self):
        """Send the right file in chunks, without a length."""
        self.begin({"Transfer-Encoding": "chunked"})
        self.in_chunks(self.body(), 500)

    def in_chunks(self, body, size):
        for start in range(0, len(body), size):
            part = body[start : start + size]
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def begin(self, headers=None):
        self.send_response(200)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def trickle(self, part):
        self.close_connection = True
        while not self.server_state.stopping.wait(0.05):
            self.wfile.write(part)

    def go_wrong_silence(self):
        self.close_connection = True
        self.server_state.stopping.wait(30)

    def go_wrong_silence_at_once(self):
        """Answer with a header that `no_waiting` turns into a time-out, so that tests need not wait."""
        self.answer(200, b"", "text/html", {"Silence": "yes"})

    def go_wrong_redirect(self):
        """Redirect once to another address of the same file."""
        self.answer(302, b"", "text/html", {"Location": f"{self.path}?again=1"})

    def go_wrong_redirects(self):
        """Redirect to another address, without end."""
        self.answer(302, b"", "text/html", {"Location": f"{self.path.split('?')[0]}?{time.monotonic_ns()}"})

    def go_wrong_redirect_to_https(self):
        self.answer(301, b"", "text/html", {"Location": f"{self.server_state.redirect_to}{self.path}"})

    def go_wrong_redirect_to_file(self):
        self.answer(302, b"", "text/html", {"Location": "file:///etc/passwd"})

    def go_wrong_redirect_somewhere(self):
        self.answer(302, b"", "text/html", {"Location": self.server_state.redirect_to})
