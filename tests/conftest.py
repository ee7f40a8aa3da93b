"""Fixtures of several tests: small archives and runs on them, real maps, planted sources."""

import fcntl
import json
import os
import shutil
from contextlib import ExitStack

import build_mask
import numpy as np
import pytest
import requests
from fetching import Run
from neurovault_ica.decomposition.gram import gram_matrix, principal_axes
from neurovault_ica.net.connections import LimitedAdapter
from neurovault_server import Server, nifti
from threadpoolctl import threadpool_limits
from workflow_runs import ROOT, copy_demo, copy_project, make_maps, small_config, snakemake

REAL_MAPS = ROOT.parent / "shared" / "real-maps"


@pytest.fixture(scope="session", autouse=True)
def single_blas_thread():
    """Use one BLAS thread in each test process. More threads would wait for each other and take ten times as long."""
    with threadpool_limits(1):
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Order the files so that no process waits for another one, or runs a slow file alone at the end.

    The first file makes the demo. Meanwhile, other processes open the page in a browser, wait for Slurm, and run whole
    workflows. Files that need the finished demo follow, and then all short files. Long tests that are not run have been
    removed before.
    """
    need_demo = {item.path for item in items if "demo" in item.fixturenames}
    items.sort(
        key=lambda item: (
            item.path.name != "test_workflow.py",
            item.path.name not in ("test_report_browser.py", "test_slurm.py"),
            item.path in need_demo or not {"workflow", "report"} & set(item.path.parts),
            item.path not in need_demo,
        )
    )


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Make a folder once for all test processes: the first one makes it, the others wait. Do not change it."""
    # With pytest-xdist, each process has its own folder within a common one.
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent

    def make(name, function):
        folder = common / name
        with (common / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                unfinished = common / f"{name}_unfinished"
                # Remove what a failed attempt has left.
                shutil.rmtree(unfinished, ignore_errors=True)
                function(unfinished).rename(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def demo_archive(made_once):
    """A run of the demo that has made its archive and nothing else. Tests may read or copy it."""

    def run(folder):
        snakemake(copy_demo(folder), "build_demo_archive")
        return folder

    return made_once("demo_archive", run)


@pytest.fixture(scope="session")
def demo(made_once, demo_archive, tmp_path_factory):
    """A finished run of the demo, with voxels of 4 mm. Each test process has a copy."""

    def run(folder):
        done = snakemake(shutil.copytree(demo_archive, folder))
        (folder / "terminal.txt").write_text(done.stdout)
        return folder

    return shutil.copytree(made_once("demo", run), tmp_path_factory.mktemp("copy") / "demo")


@pytest.fixture(scope="session")
def small_archive(made_once):
    """A cache of 26 images in 6 collections: mixtures of 5 sources. Two images and one file of terms are damaged."""

    def make(folder):
        home = make_maps(folder, n_images=24, n_sources=5) / "neurovault/collection_100"
        for image_id in (1024, 1025):
            record = json.loads((home / "image_1000_metadata.json").read_text())
            (home / f"image_{image_id}_metadata.json").write_text(json.dumps(record | {"id": image_id}))
        (home / "image_1025.nii.gz").write_bytes((home / "image_1001.nii.gz").read_bytes()[:5000])
        (home / "neurosynth_words_for_image_1002.json").write_text("{")
        return folder

    return made_once("small_archive", make)


@pytest.fixture(scope="session")
def small_run(made_once, small_archive):
    """A run on the small archive, up to the tables of project_terms. Tests may read or copy it."""

    def run(folder):
        overlay = small_config(copy_project(folder), small_archive)
        snakemake(folder, "results/project_terms/desc-ICA_terms.tsv", "--configfile", overlay)
        return folder

    return made_once("small_run", run)


@pytest.fixture
def real_maps():
    """Folder of the real maps. Without them, the test is skipped."""
    if not REAL_MAPS.is_dir():
        pytest.skip("needs the real maps in ../shared/real-maps")
    return REAL_MAPS


@pytest.fixture(scope="session")
def template_file(tmp_path_factory):
    """The template for figures, as build_mask writes it."""
    folder = tmp_path_factory.mktemp("build_mask")
    files = [str(folder / f"{name}.nii.gz") for name in ("mask", "brain", "template")]
    build_mask.main(*files, source="brain", resolution_mm=4)
    return files[-1]


@pytest.fixture
def write_archive(tmp_path):
    """Make a cache of small maps in nilearn's layout from {collection_id: [image record, ...]}."""

    def write(collections, folder="data"):
        data_dir = tmp_path / folder
        for collection_id, images in collections.items():
            home = data_dir / "neurovault" / f"collection_{collection_id}"
            home.mkdir(parents=True)
            record = {
                "id": collection_id,
                "name": f"Study {collection_id}",
                "DOI": None,
                "number_of_images": len(images),
            }
            (home / "collection_metadata.json").write_text(json.dumps(record))
            for image in images:
                content = nifti(image["id"])
                image = {
                    "collection_id": collection_id, "name": f"map {image['id']}", "map_type": "Z map",
                    "modality": "fMRI-BOLD", "analysis_level": "group", "file_size": len(content),
                } | image  # fmt: skip
                (home / f"image_{image['id']}_metadata.json").write_text(json.dumps(image))
                (home / f"image_{image['id']}.nii.gz").write_bytes(content)
        return data_dir

    return write


@pytest.fixture
def serve(tmp_path):
    """Start a server with an archive, and a run that has selected all images in it."""
    with ExitStack() as servers:

        def start(archive, *, batches=1, **options):
            server = servers.enter_context(Server(archive, **options))
            run = Run(tmp_path / f"run-{server.netloc.partition(':')[2]}", server=server)
            run.select(batches=batches)
            return server, run

        yield start


@pytest.fixture
def no_waiting(monkeypatch):
    """Make the fault `silence_at_once` a time-out without waiting, and shorten the pause that the fault `429` requests.

    test_connections.py tests a server that is really silent, and test_download_images.py a pause of full length.
    """
    send = LimitedAdapter.send

    def send_without_waiting(*arguments, **options):
        answer = send(*arguments, **options)
        if "Silence" in answer.headers:
            answer.close()
            raise requests.ReadTimeout("read timed out")
        return answer

    monkeypatch.setattr(LimitedAdapter, "send", send_without_waiting)
    monkeypatch.setattr("neurovault_ica.net.retries.MAX_RETRY_AFTER_S", 0.01)


@pytest.fixture
def planted():
    """Four sparse sources in 30 images: S (4, 20000), A (30, 4), X = A @ S + a little noise (30, 20000)."""
    rng = np.random.default_rng(1)
    S = rng.laplace(size=(4, 20_000)) ** 3
    S = (S - S.mean(axis=1, keepdims=True)) / S.std(axis=1, keepdims=True)
    A = rng.normal(size=(30, 4)) * [4, 3, 2, 1]
    X = A @ S + 0.01 * rng.normal(size=(30, 20_000)) + rng.normal(size=(30, 1))
    return S, A, X.astype(np.float32)


@pytest.fixture(scope="session")
def many():
    """400 noisy images in different units, mixed from 60 sources of slowly falling variance; weights of the images."""
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(400, 60)) * 0.95 ** np.arange(60)
    X = loadings @ rng.laplace(size=(60, 2000)) + rng.normal(size=(400, 2000)) + rng.normal(size=(400, 1))
    units = 10 ** rng.uniform(-2, 2, size=(400, 1))
    return (units * X).astype(np.float32), np.sqrt(rng.uniform(0.5, 2, size=400))


@pytest.fixture
def white(planted):
    """White rows (4, 20000) of the planted images."""
    mean, gram = gram_matrix(planted[2])
    eigenvalues, U = principal_axes(gram, 4)
    K = (U[:, :4] / np.sqrt(eigenvalues[:4])).T
    return (K @ (planted[2] - mean[:, None])).astype(np.float32)


def best_match(found, sources):
    """Return the largest |r| of each source with any map in `found`."""
    return np.abs(np.corrcoef(found, sources)[: len(found), len(found) :]).max(axis=0)


def orthogonal_rows(maps):
    """Make the rows uncorrelated with variance 1."""
    return np.linalg.qr((maps - maps.mean(axis=1, keepdims=True)).T)[0].T * np.sqrt(maps.shape[1])
