"""Download Neurosynth's database of coordinates and terms, version 7, into a folder beside the images.

Each file is compared with its checksum below. The checksums of other files are stored in SHA256SUMS when they are first
downloaded, in the format of `sha256sum`, and are compared from then on.
"""

import gzip
import logging
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from neurovault_ica.archive.database_files import NEUROSYNTH, neurosynth_names
from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import Client, connect
from neurovault_ica.runtime.files import replacing, sha256_of, temporary_path
from neurovault_ica.types import Row

URL = "https://github.com/neurosynth/neurosynth-data/raw/master"
CHUNK_BYTES = 1 << 20


class Pin(NamedTuple):
    """Size and checksum of a published file."""

    n_bytes: int
    sha256: str


# Files of commit 209c33c of github.com/neurosynth/neurosynth-data.
PINS = {
    "data-neurosynth_version-7_coordinates.tsv.gz": Pin(
        3587167, "17135be3e08a0ab045896c77217e8463086543a0817d52a6a88c8e32c1161616"
    ),
    "data-neurosynth_version-7_metadata.tsv.gz": Pin(
        1175486, "8acde7de2a14ee2a12b406e50a8805e83288b0bc78924ddb36879d496dfb757b"
    ),
    "data-neurosynth_version-7_vocab-LDA50_source-abstract_type-weight_features.npz": Pin(
        2720104, "dff7606079404b8496be4baca35c0d261e91d4ac6ff5c5595e1ef519e598a571"
    ),
    "data-neurosynth_version-7_vocab-LDA50_vocabulary.txt": Pin(
        1275, "57a5fba4d3ee97cfcbf73a13d0631a1d9709a53c5a1fdf6d173f04ac8bb8f302"
    ),
    "data-neurosynth_version-7_vocab-terms_vocabulary.txt": Pin(
        33799, "71c1858c5eb1bcc79854198bbca234569731efdc382c6205a9e46495379614af"
    ),
}
# Failures that stop the run, because the file or the address is wrong. After other failures, such as no network, the
# run continues without the database.
FINAL = ("damaged_file", "not_found", "bad_address", "private_address", "file_too_large")
SUMS = "SHA256SUMS"
README = """\
Neurosynth's database of coordinates and terms, version 7 (github.com/neurosynth/neurosynth-data).

It is made available under the Open Database License: https://opendatacommons.org/licenses/odbl/1-0/. Rights in
individual contents of the database are licensed under the Database Contents License:
https://opendatacommons.org/licenses/dbcl/1-0/. Cite Yarkoni et al. 2011, doi:10.1038/nmeth.1635.

SHA256SUMS has the checksum of each file as it was downloaded: sha256sum --check SHA256SUMS
"""


def get_database(
    database: str, vocabulary: str, folder: str | Path, network: Mapping[str, Any], *, offline: bool
) -> list[Row]:
    """Get the files of Neurosynth's database: from the folder if they are there, otherwise from the server.

    Parameters
    ----------
    database : str
        ``neurosynth``, or the address of a folder with the same files.
    vocabulary : str
    folder : path
        Where the files are kept.
    network : mapping
        The section ``download_images`` of the configuration.
    offline : bool
        Whether to download nothing.

    Returns
    -------
    list of mappings
        One row for each file: kind, file, status, reason, bytes, sha256. Without a network, files may be missing, with
        a reason.

    Raises
    ------
    RuntimeError
        If a downloaded file has a wrong checksum, the address has no such file, or the folder cannot be written.
    """
    home = Path(folder)
    sums = _read_sums(home / SUMS)
    rows: list[Row] = []
    # Do not wait for a server that is down: the run can continue without it.
    with connect(URL if database == NEUROSYNTH else database, network, patience_s=0) as client:
        for kind, name in neurosynth_names(vocabulary)._asdict().items():
            expected = PINS[name].sha256 if name in PINS else sums.get(name)
            sha256, reason = _find(home / name, expected), None
            if sha256 is None and offline:
                reason = "offline"
            elif sha256 is None:
                try:
                    sha256, reason = _download(client, home / name, expected)
                    if sha256:
                        sums[name] = sha256
                        _write_notes(home, sums)
                except OSError as error:
                    raise RuntimeError(
                        f"{name} cannot be written to {home}: {error.strerror or error}; choose another"
                        " archive.data_dir, put the file there yourself, or set build_term_maps.database to a folder"
                        " that has the files, or to null"
                    ) from error
            rows.append(_row(kind, home / name, sha256, reason))
    return rows


def _row(kind: str, path: Path, sha256: str | None, reason: str | None) -> Row:
    return {
        "kind": kind,
        "file": str(path),
        "status": "ok" if sha256 else "failed",
        "reason": reason,
        "bytes": path.stat().st_size if sha256 else None,
        "sha256": sha256,
    }


def _find(path: Path, expected: str | None) -> str | None:
    """Return the checksum of a file on disk; None if it is missing or damaged."""
    if not path.is_file():
        return None
    fault = _fault_of(path, expected)
    if fault:
        logging.warning("%s is not used: %s", path, fault)
        return None
    return expected or sha256_of(path)


def _download(client: Client, path: Path, expected: str | None) -> tuple[str | None, str | None]:
    """Download a file under a temporary name, check it, and rename it. Return its checksum, or why there is none."""
    url = f"{client.url}/{path.name}"
    temporary = temporary_path(path)
    try:
        saved = client.save(
            url,
            temporary,
            expected_bytes=PINS[path.name].n_bytes if path.name in PINS else None,
            check=lambda part: _fault_of(part, expected),
            count=lambda _: None,
        )
        temporary.replace(path)
    except FetchError as error:
        if error.reason in FINAL:
            raise RuntimeError(
                f"{url} was not accepted, and the download was deleted: {error}. Run again; if it fails again, set"
                " build_term_maps.database to a folder with the files, to the address of a mirror, or to null"
            ) from error
        if error.reason != "server_down":
            logging.warning("%s: not downloaded: %s", url, error)
        return None, error.reason
    finally:
        temporary.unlink(missing_ok=True)
    logging.info("downloaded %s, %d bytes, SHA-256 %s", path, saved.n_bytes, saved.sha256)
    return saved.sha256, None


def _fault_of(path: Path, expected: str | None) -> str | None:
    """Describe what is wrong with a file, or return None."""
    if expected is not None:
        found = sha256_of(path)
        return None if found == expected else f"its SHA-256 checksum is {found}, but {expected} is expected"
    # A temporary file has the same extension as the file.
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path) as stream:
                while stream.read(CHUNK_BYTES):
                    pass
        elif path.name.endswith(".npz"):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            return f"its part {damaged} is damaged" if damaged else None
        elif not path.read_text("utf-8").strip():
            return "it is empty"
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, ValueError) as error:
        return f"it is not a complete {path.suffix} file ({error})"
    return None


def _read_sums(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = (line.split() for line in path.read_text("utf-8", errors="replace").splitlines())
    return {words[1]: words[0] for words in lines if len(words) == 2}


def _write_notes(home: Path, sums: Mapping[str, str]) -> None:
    """Write two files beside the downloaded ones: their checksums, and a README with the license."""
    with replacing(home / SUMS) as temporary:
        temporary.write_text("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)), "utf-8")
    if not (home / "README.txt").is_file():
        with replacing(home / "README.txt") as temporary:
            temporary.write_text(README, "utf-8")
