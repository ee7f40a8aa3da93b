"""Measure our fetching stages against nilearn's client, on one server on this machine with a long line.

The server is the one of the tests, in a process of its own, with latency: each answer is one round trip, each new
connection another (nilearn opens one for each request; we keep ours). `--answers-only` leaves out the second, as if
connections cost nothing: then four connections cannot be more than four times faster than one, and both sides ask for
about as many things. It serves a cache in nilearn's layout (such as the demo's archive) or small made maps. Both sides
fetch the metadata and the same number of images into an empty folder, with `--terms` those of Neurosynth too; our
terms come at the same time as the images, as Snakemake runs the two rules.

    python benchmarks/compare_fetcher.py [--images 60] [--latency-ms 100] [--answers-only] [--terms] [--archive FOLDER]
"""

import argparse
import contextlib
import io
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
sys.path += [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests")]

from fetching import Run  # noqa: E402
from neurovault_server import Archive, Faults, Server  # noqa: E402
from nilearn.datasets import fetch_neurovault, neurovault  # noqa: E402

FILTERS = {"map_type": "Z map", "analysis_level": "group"}


class Served(NamedTuple):
    """A server in another process."""

    url: str
    pipe: Connection

    def counts(self) -> tuple[int, int]:
        """Ask how many requests there were, and how many at a time."""
        self.pipe.send("counts")
        return self.pipe.recv()


@contextlib.contextmanager
def served(archive: Archive, faults: Faults) -> Iterator[Served]:
    """Serve an archive from another process: ours is busy enough as a client."""

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


def time_nilearn(server: Served, folder: Path, n_images: int, *, terms: bool) -> tuple[float, int]:
    """Fetch with nilearn; return seconds and images."""
    neurovault._NEUROVAULT_COLLECTIONS_URL = f"{server.url}/api/collections/"
    neurovault._NEUROVAULT_IMAGES_URL = f"{server.url}/api/images/"
    neurovault._NEUROSYNTH_FETCH_WORDS_URL = f"{server.url}/api/decode/"
    start = time.monotonic()
    found = fetch_neurovault(
        max_images=n_images, image_terms=FILTERS, data_dir=folder, fetch_neurosynth_words=terms, verbose=0
    )
    return time.monotonic() - start, len(found.images)


def time_ours(server: Served, folder: Path, n_images: int, *, terms: bool) -> tuple[float, int]:
    """Fetch with our stages and their default number of connections; return seconds and images."""
    run = Run(folder, server=server)
    patient = {"timeout_s": 60, "attempts": 5, "backoff_s": 1.0}
    start = time.monotonic()
    run.select(max_images=n_images, image_terms=FILTERS, network=patient)
    with ThreadPoolExecutor() as at_once:
        images = at_once.submit(run.download, network=patient)
        if terms:
            at_once.submit(run.terms, network=patient)
    rows = images.result()
    return time.monotonic() - start, sum(row["status"] == "ok" for row in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--latency-ms", type=float, default=100)
    parser.add_argument("--answers-only", action="store_true", help="no latency of new connections")
    parser.add_argument("--terms", action="store_true", help="with Neurosynth's terms")
    parser.add_argument(
        "--archive", help="folder that contains neurovault/; without it, 40 collections of 3 small maps"
    )
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()

    archive = (
        Archive.of_cache(arguments.archive) if arguments.archive else Archive.small(dict.fromkeys(range(1, 41), 3))
    )
    print(
        f"{len(archive.images)} images of {len(archive.collections)} collections, {arguments.latency_ms:g} ms latency"
    )
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
                took_s, n_images = fetch(server, Path(folder), arguments.images, terms=arguments.terms)
                asked, most = server.counts()
            best[name] = min(took_s, best.get(name, took_s))
            print(f"{name:8} {took_s:6.2f} s  {n_images} images  {asked} requests, at most {most} at a time")
    print(f"nilearn / ours: {best['nilearn'] / best['ours']:.1f} (best of {arguments.repeats} each)")


if __name__ == "__main__":
    main()
