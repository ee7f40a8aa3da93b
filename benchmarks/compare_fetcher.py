"""Compare the time that the workflow and nilearn's client need to fetch data, from a local server with latency.

The server of the tests runs in another process. Each answer takes one round trip, and each new connection takes another
one. nilearn opens a connection for each request; we keep connections open. With `--answers-only`, new connections cost
no time. Four connections can then be at most four times as fast as one, because both sides send about the same number
of requests.

The server has the images of a cache in nilearn's layout (such as the demo's archive) or small simulated maps. Both
sides fetch the metadata and the same number of images into an empty folder: the first that match two criteria or, with
`--by-id`, the first by their ids. With `--terms`, they also fetch terms of Neurosynth. Our time is that of the whole
command `snakemake`, until the images are downloaded. That of nilearn is without its imports.

    python benchmarks/compare_fetcher.py [--images 60] [--latency-ms 100] [--answers-only] [--by-id] [--terms]
        [--archive FOLDER]
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path += [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests")]

from neurovault_ica.runtime.tables import read_table  # noqa: E402
from neurovault_server import Archive, Faults, Server  # noqa: E402
from nilearn.datasets import fetch_neurovault, fetch_neurovault_ids, neurovault  # noqa: E402

FILTERS = {"map_type": "Z map", "analysis_level": "group"}


class Served(NamedTuple):
    """A server in another process."""

    url: str
    pipe: Connection

    def counts(self) -> tuple[int, int]:
        """Return the number of requests, and the largest number at the same time."""
        self.pipe.send("counts")
        return self.pipe.recv()


@contextlib.contextmanager
def served(archive: Archive, faults: Faults) -> Iterator[Served]:
    """Serve an archive from another process, so that the server does not slow down the client."""

    def serve(pipe: Connection) -> None:
        with Server(archive, faults=faults) as server:
            pipe.send(server.url)
            while pipe.recv() == "counts":
                pipe.send((len(server.asked), server.most_at_once))

    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    process = fork.Process(target=serve, args=(there,), daemon=True)
    process.start()
    yield Served(here.recv(), here)
    here.send(None)
    process.join()


def time_nilearn(
    server: Served, folder: Path, n_images: int, ids: list[int] | None, *, terms: bool
) -> tuple[float, int]:
    """Fetch with nilearn; return the time in seconds and the number of images."""
    neurovault._NEUROVAULT_COLLECTIONS_URL = f"{server.url}/api/collections/"
    neurovault._NEUROVAULT_IMAGES_URL = f"{server.url}/api/images/"
    neurovault._NEUROSYNTH_FETCH_WORDS_URL = f"{server.url}/api/decode/"
    options: dict[str, Any] = {"data_dir": folder, "fetch_neurosynth_words": terms, "verbose": 0}
    start = time.monotonic()
    if ids is None:
        found = fetch_neurovault(max_images=n_images, image_terms=FILTERS, **options)
    else:
        found = fetch_neurovault_ids(image_ids=ids, **options)
    return time.monotonic() - start, len(found.images)


def time_ours(server: Served, folder: Path, n_images: int, ids: list[int] | None, *, terms: bool) -> tuple[float, int]:
    """Fetch with the workflow and the default number of connections; return time in seconds and number of images."""
    chosen: dict[str, Any] = {"max_images": n_images, "image_terms": FILTERS} if ids is None else {"image_ids": ids}
    unlimited: dict[str, Any] = {
        "max_images": None,
        "max_images_per_collection": None,
        "image_terms": {},
        "collection_terms": {},
    }
    config = {
        "archive": {"source": "neurovault", "url": server.url, "neurosynth_url": server.url, "data_dir": "data"},
        "fetch_metadata": unlimited | {"exclude_words": [], "min_subjects": None} | chosen,
        "fetch_terms": {"source": "server" if terms else None},
    }
    (folder / "fetch.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    command += ["--configfile", "fetch.json", "--until", "download_images", *(["fetch_terms"] if terms else [])]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    took_s = time.monotonic() - start
    rows = [row for table in (folder / "results/download_images").glob("status-*.tsv") for row in read_table(table)]
    return took_s, sum(row["status"] == "ok" for row in rows)


def main() -> None:
    """Measure both sides and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--latency-ms", type=float, default=100)
    parser.add_argument("--answers-only", action="store_true", help="no latency for new connections")
    parser.add_argument("--by-id", action="store_true", help="request the images by their ids")
    parser.add_argument("--terms", action="store_true", help="also fetch terms from Neurosynth")
    parser.add_argument("--archive", help="folder that contains neurovault/; default: 40 collections of 3 small maps")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()

    archive = (
        Archive.of_cache(arguments.archive) if arguments.archive else Archive.small(dict.fromkeys(range(1, 41), 3))
    )
    print(
        f"{len(archive.images)} images of {len(archive.collections)} collections, {arguments.latency_ms:g} ms latency"
    )
    ids = sorted(archive.images)[: arguments.images] if arguments.by_id else None
    warnings.simplefilter("ignore")
    latency_s = arguments.latency_ms / 1000
    faults = Faults(latency_s=latency_s, connection_latency_s=0 if arguments.answers_only else latency_s)
    best: dict[str, float] = {}
    for name, fetch in (("nilearn", time_nilearn), ("ours", time_ours)):
        for _ in range(arguments.repeats):
            with (
                served(archive, faults) as server,
                tempfile.TemporaryDirectory() as folder,
                contextlib.redirect_stdout(io.StringIO()),
            ):
                took_s, n_images = fetch(server, Path(folder), arguments.images, ids, terms=arguments.terms)
                asked, most = server.counts()
            best[name] = min(took_s, best.get(name, took_s))
            print(f"{name:8} {took_s:6.2f} s  {n_images} images  {asked} requests, at most {most} at the same time")
    print(f"nilearn / ours: {best['nilearn'] / best['ours']:.1f} (best of {arguments.repeats} runs each)")


if __name__ == "__main__":
    main()
