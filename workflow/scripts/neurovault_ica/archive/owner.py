"""Remember which archive the results in a folder come from, and stop a run that would overwrite them from another one.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from neurovault_ica.archive.archive import ARCHIVES, open_archive
from neurovault_ica.archive.base import Archive
from neurovault_ica.runtime.commands import MEMORY_FILE, TARGET, Call, Configuration, shortest_path
from neurovault_ica.runtime.files import sha256_of, write_json

# Folders of results that do not depend on the archive, that hold the demo's archive, or that project own maps.
NOT_OF_AN_ARCHIVE = {"build_mask", "build_demo_archive", "project_images"}
# Commands that neither read nor change results.
READ_ONLY_OPTIONS = {
    "--unlock", "--lint", "--list", "--list-rules", "-l", "--list-target-rules", "--lt", "--print-compilation",
    "--containerize", "--conda-create-envs-only", "--conda-cleanup-envs", "--list-conda-envs", "--cleanup-shadow",
    "--container-cleanup-images",
}  # fmt: skip


class Identity(NamedTuple):
    """Settings that identify an archive.

    Attributes
    ----------
    settings : mapping
        Settings of the section ``archive``, as in the configuration.
    places : mapping
        The same settings in a form that can be compared: paths without links, and normalised addresses.
    """

    settings: Mapping[str, Any]
    places: Mapping[str, Any]


class Memory(NamedTuple):
    """The archive and the configuration that made the results of a folder; None where unknown."""

    identity: Identity | None
    configuration: Configuration | None
    lock_sha256: str | None = None


def identify(archive: Archive) -> Identity:
    """Return the settings that identify an archive: its source, its identity keys, and the lock."""
    keys = ["source", *archive.identity_keys, "lock"]
    settings = {key: archive.settings.get(key) for key in keys}
    return Identity(settings, {key: _comparable(value) for key, value in settings.items()})


def remember(archive: Archive, call: Call, results: str | Path = "results") -> None:
    """Store the archive and the configuration of the results in this folder, and the command for messages of jobs.

    A projection of the user's own maps on a run does not change them.
    """
    if "project_images" in call.arguments and read_memory(Path(results)) is not None:
        return
    identity, lock = identify(archive), archive.settings.get("lock")
    # If the disk is full or not writable, the first job reports it.
    with contextlib.suppress(OSError):
        content = {
            "archive": identity.settings,
            "places": identity.places,
            "lock_sha256": sha256_of(lock) if lock else None,
            "configfiles": call.configuration.files,
            "config": call.configuration.settings,
            "command": call.for_target(TARGET),
        }
        write_json(Path(results) / MEMORY_FILE, content, sort_keys=False)


def check_owner(archive: Archive, call: Call, results: str | Path = "results") -> None:
    """Stop if the results of this folder come from another archive.

    Raises
    ------
    RuntimeError
        With both archives, the command for the results that are there, and how to replace them on purpose.
    """
    if READ_ONLY_OPTIONS & set(call.arguments):
        return
    results = Path(results)
    memory = read_memory(results)
    if memory is None:
        if not _has_results(results):
            return
        memory = _recall(results)
    now = identify(archive)
    if memory.identity is None:
        # These are results of an unfinished run of an older version. Only the demo can be excluded as their archive.
        is_same = not archive.is_demo
    else:
        is_same = _is_same(memory.identity, now) and _is_same_lock(memory, now, results)
    if not is_same and _has_results(results):
        raise RuntimeError(_explain(archive, memory, call, results))


def read_memory(results: Path) -> Memory | None:
    """Read which archive made the results; None if that is not known or the file is damaged."""
    try:
        content = json.loads((results / MEMORY_FILE).read_text(encoding="utf-8"))
        return Memory(
            Identity({"source": content["archive"]["source"], **content["archive"]}, dict(content["places"])),
            Configuration(tuple(map(str, content["configfiles"])), tuple(map(str, content["config"]))),
            content["lock_sha256"],
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _recall(results: Path) -> Memory:
    """Find out from other files of the run which archive the results come from, if it was not stored."""
    try:
        run = json.loads((results / "write_lock/run.json").read_text(encoding="utf-8"))
        settings = run["configuration"]["archive"]
        if settings["source"] in ARCHIVES:
            archive = open_archive(settings)
            lock_sha256 = sha256_of(lock) if (lock := settings["lock"]) and Path(lock).is_file() else None
            return Memory(identify(archive), Configuration() if archive.is_demo else None, lock_sha256)
    except (OSError, ValueError, TypeError, KeyError):
        pass
    truth = {row["image_id"] for row in _rows(results / "build_demo_archive/truth/images.tsv")}
    selected = {row["image_id"] for row in _rows(results / "fetch_metadata/images.tsv")}
    if selected and selected <= truth:
        settings = {"source": "demo", "lock": None}
        return Memory(Identity(settings, settings), Configuration())
    return Memory(None, None)


def _rows(table: Path) -> list[dict[str, str]]:
    """Read the rows of a table; none if it is missing or damaged."""
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, dialect="excel-tab"))
    except (OSError, ValueError, csv.Error):
        return []
    return rows if rows and {"image_id", "collection_id"} & set(rows[0]) else []


def _has_results(results: Path) -> bool:
    """Return whether the folder has results of any archive. Temporary files of a killed run do not count."""
    return any(
        not file.name.startswith(".")
        for folder in results.glob("*/")
        if folder.name not in NOT_OF_AN_ARCHIVE
        for file in folder.iterdir()
    )


def _comparable(value: Any) -> Any:
    """Normalise an address or path for comparison. Paths in this folder become relative, because it may be moved."""
    if not isinstance(value, str):
        return value
    if "://" in value:
        return value.rstrip("/").lower()
    # Path.expanduser raises an error if there is no home folder.
    place = os.path.realpath(os.path.expanduser(value))  # noqa: PTH111
    return shortest_path(place, start=os.path.realpath("."))


def _is_same(one: Identity, other: Identity) -> bool:
    """Compare two archives by the keys that both have."""
    keys = (one.settings.keys() & other.settings.keys()) - {"lock"}
    return all(one.settings[key] == other.settings[key] or one.places.get(key) == other.places.get(key) for key in keys)


def _is_same_lock(memory: Memory, now: Identity, results: Path) -> bool:
    """Return whether the lock is the same, or a copy of the lock that these results were read from or have written."""
    before, lock = memory.identity.settings.get("lock") if memory.identity else None, now.settings["lock"]
    if before == lock or (memory.identity and memory.identity.places.get("lock") == now.places["lock"]):
        return True
    if lock is None or not Path(lock).is_file():
        return False
    written = results / "write_lock/images.lock.tsv"
    return sha256_of(lock) in {memory.lock_sha256, sha256_of(written) if written.is_file() else None}


def _explain(archive: Archive, memory: Memory, call: Call, results: Path) -> str:
    """Write the error for a run that would replace the results of another archive."""
    now = identify(archive).settings
    before = memory.identity.settings if memory.identity else {}
    here, logs, benchmarks = (shortest_path(path, call.start) for path in (results, "logs", "benchmarks"))
    known, given = memory.configuration, call.configuration
    if known is None:
        example = call.with_configuration(Configuration(("FILE",)))
        advice = f"add the configuration of that run, such as {example}"
    elif known == given:
        file = known.files[-1] if known.files else "config.yaml"
        advice = f"set in the section archive of {file}: {_list(before, now)}"
    else:
        advice = call.with_configuration(known)
    more: list[str] = []
    if not given.files and not archive.is_demo and Path("config.yaml").is_file():
        more = ["--configfile", shortest_path("config.yaml", call.start)]
    note = "" if archive.is_demo else " (relative paths in the configuration start there)"
    lines = [
        "the results in this folder come from another archive, and this run would replace them:",
        f"  {here}/: {_list(before, now) or 'not the demo'}{_count(results)}{_made_with(known)}",
        f"  this run: {_list(now, before)}{_made_with(given)}",
        f"To continue with the results in {here}/: {advice}",
        f"To keep them, run in another folder{note}: {call.in_folder('FOLDER', *more)}",
        "To replace them on purpose, delete them first:"
        f" rm -rf {shlex.quote(here)}/*/ {shlex.quote(logs)} {shlex.quote(benchmarks)}/*.tsv",
    ]
    return "\n".join(lines)


def _list(settings: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """List the settings of an archive. A setting that is null is listed only if the other archive has it."""
    shown = {key: value for key, value in settings.items() if value is not None or other.get(key) is not None}
    return ", ".join(f"{key}: {'null' if value is None else value}" for key, value in shown.items())


def _made_with(configuration: Configuration | None) -> str:
    """Tell which configuration a run had."""
    if configuration is None:
        return ""
    return f", with {shlex.join(configuration.options()) or 'config.yaml alone'}"


def _count(results: Path) -> str:
    """Count the images of the results."""
    for table in ("stack_images/images.tsv", "fetch_metadata/images.tsv"):
        if rows := _rows(results / table):
            return f" ({len(rows)} images of {len({row['collection_id'] for row in rows})} collections)"
    return ""
