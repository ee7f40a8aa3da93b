"""Run the three fetching stages as Snakemake does, with the tests' server or with a folder."""

import shutil

import download_images
import fetch_metadata
import fetch_terms
from neurovault_ica.archive.lock import lock_rows
from neurovault_ica.runtime.ids import natural_key
from neurovault_ica.runtime.tables import read_table, write_table

SETTINGS = {
    "max_images": None, "max_images_per_collection": None, "random_state": 0, "collection_terms": {},
    "collection_filter": None, "collection_ids": None, "image_terms": {}, "image_filter": None, "image_ids": None,
    "exclude_words": [], "min_subjects": None,
}  # fmt: skip

# Network settings with short pauses. No answer takes as long as this time-out, even on a busy machine.
NETWORK = {"connections": 4, "timeout_s": 20, "attempts": 3, "backoff_s": 0.005, "patience_s": 0}


class Run:
    """A working directory with results, and the settings of its archive."""

    def __init__(self, folder, *, server=None, data_dir=None, **archive):
        self.results = folder / "results"
        self.data_dir = data_dir or folder / "data"
        url = server.url if server else "http://127.0.0.1:9"
        self.archive = {
            "source": "neurovault" if server else "offline", "data_dir": str(self.data_dir), "url": url,
            "neurosynth_url": url, "mode": "download_new", "table": None, "on_changed": "stop",
        } | archive  # fmt: skip
        self.batches = 1

    def select(self, *, network=None, lock=None, batches=1, **settings):
        """Run fetch_metadata; return its tables collections, images, selection."""
        self.batches = batches
        files = {
            name: str(self.results / "fetch_metadata" / f"{name}.tsv")
            for name in ("collections", "images", "selection")
        }
        fetch_metadata.main(
            **files, archive=self.archive, network=NETWORK | (network or {}), batches=batches, lock=lock,
            **(SETTINGS | settings),
        )  # fmt: skip
        return [read_table(path) for path in files.values()]

    def download(self, *, network=None, lock=None, max_failed_fraction=1.0, resample=False, interpolation="linear"):
        """Run download_images for each batch; return the rows of all."""
        rows = []
        for batch in range(self.batches):
            status = self.results / "download_images" / f"status-{batch}.tsv"
            download_images.main(
                images=str(self.results / "fetch_metadata" / "images.tsv"), status=str(status), batch=batch,
                archive=self.archive, network=NETWORK | (network or {}), lock=lock, resample=resample,
                max_failed_fraction=max_failed_fraction, interpolation=interpolation,
            )  # fmt: skip
            rows += read_table(status)
        return sorted(rows, key=lambda row: natural_key(row["image_id"]))

    def terms(self, *, network=None, lock=None):
        """Run fetch_terms for each batch; return the rows of the weights and of the status."""
        terms, statuses = [], []
        for batch in range(self.batches):
            folder = self.results / "fetch_terms"
            files = {name: str(folder / f"{name}-{batch}.tsv") for name in ("terms", "status")}
            fetch_terms.main(
                images=str(self.results / "fetch_metadata" / "images.tsv"), **files, batch=batch, archive=self.archive,
                network=NETWORK | (network or {}), lock=lock,
            )  # fmt: skip
            terms += read_table(files["terms"])
            statuses += read_table(files["status"])
        return terms, sorted(statuses, key=lambda row: natural_key(row["image_id"]))


def write_lock(results, path, unused=()):
    """Write the lock of finished fetching stages to `path`, as the rule write_lock does."""
    images, collections = (read_table(results / "fetch_metadata" / f"{name}.tsv") for name in ("images", "collections"))
    downloads, terms = (
        [row for table in sorted((results / rule).glob("status-*.tsv")) for row in read_table(table)]
        for rule in ("download_images", "fetch_terms")
    )
    used = {row["image_id"] for row in downloads if row["status"] == "ok"} - set(unused)
    folder = path.parent / "write_lock"
    write_table(folder / "images.lock.tsv", lock_rows(images, collections, downloads, terms, used))
    # Users rename locks.
    shutil.copy(folder / "images.lock.tsv", path)
    return str(path)


def ids(images):
    """List NeuroVault's ids of images as numbers."""
    return [int(image["image_id"]) for image in images]


def kept_images(data_dir):
    """Find the images that were downloaded completely: their metadata are written last."""
    records = data_dir.glob("neurovault/collection_*/image_*_metadata.json")
    return {int(path.name.split("_")[1]) for path in records}


def cached_files(data_dir):
    """Read all files of the cache, hidden ones too."""
    return {str(path.relative_to(data_dir)): path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}
