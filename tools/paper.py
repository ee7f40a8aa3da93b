"""Pack what a paper's rerun needs; repeat a run and compare.

``make paper NAME=mine`` and ``make verify RUN=papers/mine/run.json`` call this file. A run is what its run.json says:
the configuration is taken from there, and every result is compared with the hash that is written there.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import yaml
from rocrate.rocrate import ROCrate

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "workflow/scripts"))
from neurovault_ica.archive.archive import open_archive  # noqa: E402
from neurovault_ica.configuration import user_files  # noqa: E402
from neurovault_ica.runtime.files import sha256_of  # noqa: E402

RUN = Path("results/write_lock/run.json")
BESIDE_RUN = ("images.lock.tsv", "images.lock.json", "run.json", "methods.md", "references.bib")
ENVIRONMENT = ("requirements.lock", "requirements-uv.lock", "envs/neurovault_ica.yaml")
# Results of a size that grows with images times voxels, and nothing that the others do not tell.
TOO_LARGE = {"matrix.npy", "whitened.npy", "reduction.npz"}
# What a rerun from the lock knows less of, as it selects nothing, and the page that shows it.
NOT_IN_A_LOCK = {"selection.tsv", "collections.tsv", "report.html"}
# Of the largest absolute value: what is promised for maps and loadings on another processor.
TOLERANCE = 1e-4
PROMISED = ("_components.nii.gz", "_mixing.tsv", "_unmixing.tsv")
# The crate's profile, and what only the authors of the paper can say.
DESCRIBED = {
    "conformsTo": {
        "@id": "https://w3id.org/ro/wfrun/process/0.5",
        "@type": "CreativeWork",
        "name": "Process Run Crate",
        "version": "0.5",
    },
    "license": {
        "@id": "#license",
        "@type": "CreativeWork",
        "name": "Not stated",
        "description": "Whoever publishes this folder states here under which terms it may be used",
    },
}
README = """\
# {name}

What is needed to repeat this cross-study ICA, and its results. {images} images of {collections} collections,
{components} components; the text for the methods section is in methods.md, the papers to cite are in references.bib.

To repeat it, with Python {python} and make, in an empty clone of the workflow{commit}:

    make verify RUN=path/to/this/folder/run.json

This installs requirements.lock, gets the images of images.lock.tsv and verifies each, computes everything again in the
folder rerun, and says whether the results are the same: byte for byte on the same kind of processor
({processor}), within {tolerance:g} of the largest value on another.
{source}
| file | content |
|---|---|
| config.yaml | the whole configuration |
| images.lock.tsv | every image with address, SHA-256 and metadata |
| run.json | versions, processor, seeds, counts, SHA-256 of every result |
| requirements.lock, envs/ | the software, for pip and uv, and for conda |
| results/ | the results, without those that are as large as the images |
| sha256.txt | their hashes, for sha256sum --check |
| ro-crate-metadata.json | this folder as RO-Crate |
"""


def pack(folder: Path) -> None:
    """Copy the finished run in the current folder to `folder`.

    Raises
    ------
    ValueError
        If there is no finished run, or its results are not those of its run.json.
    """
    if not RUN.is_file():
        raise ValueError(f"there is no {RUN} here; finish a run first: make run")
    if folder.exists():
        raise ValueError(f"{folder} is there already; choose another NAME or delete it")
    run = json.loads(RUN.read_text(encoding="utf-8"))
    hashes = run["results_sha256"]
    changed = [path for path, expected in hashes.items() if not Path(path).is_file() or sha256_of(path) != expected]
    if changed:
        raise ValueError(f"not as in {RUN}: {', '.join(changed)}; run the workflow again, then pack")
    small = [path for path in hashes if Path(path).name not in TOO_LARGE]
    for path in [*small, *sidecars(small), *files_of(run["configuration"], Path())]:
        copy(path, folder / path)
    for name in BESIDE_RUN:
        copy(RUN.with_name(name), folder / name)
    for name in ENVIRONMENT:
        copy(ROOT / name, folder / name)
    write_yaml(folder / "config.yaml", run["configuration"])
    (folder / "sha256.txt").write_text("".join(f"{hashes[path]}  {path}\n" for path in small))
    (folder / "README.md").write_text(readme(folder.name, run), encoding="utf-8")
    describe_crate(folder, run)


def sidecars(paths: list[str]) -> list[str]:
    """Name the descriptions that lie beside tables."""
    tables = [Path(path) for path in paths if path.endswith(".tsv")]
    return [str(table.with_suffix(".json")) for table in tables if table.with_suffix(".json").is_file()]


def readme(name: str, run: Mapping[str, Any]) -> str:
    """Say what is in the folder of a paper and how to repeat the run."""
    commit = git("rev-parse", "HEAD")
    return README.format(
        name=name,
        images=run["counts"]["images_used"],
        collections=run["counts"]["collections_used"],
        components=run["counts"]["components"],
        python=run["software"]["python"].rpartition(".")[0],
        commit=f" at commit\n{commit}" if commit else "",
        processor=run["software"]["processor"]["model"],
        tolerance=TOLERANCE,
        source=open_archive(run["configuration"]["archive"]).rerun_note,
    )


def describe_crate(folder: Path, run: Mapping[str, Any]) -> None:
    """Write ro-crate-metadata.json: every file, and the run that made the results of the lock."""
    # The version that the profile of a run builds on.
    crate = ROCrate(str(folder), init=True, gen_preview=False, version="1.1")
    for entity in crate.data_entities:
        entity["name"] = entity.id.rstrip("/")
    root = crate.root_dataset
    root["name"] = f"Cross-study ICA: {folder.name}"
    root["description"] = "Independent components of NeuroVault statistic maps, with what is needed to repeat them"
    for key, entity in DESCRIBED.items():
        root[key] = crate.add_jsonld(dict(entity))
    crate.add_jsonld(
        {
            "@id": "#workflow",
            "@type": "SoftwareApplication",
            "name": "NeuroVault cross-study ICA",
            "url": workflow_url(),
            "version": workflow_version(),
            "softwareRequirements": {"@id": "requirements.lock"},
            "license": "https://spdx.org/licenses/BSD-3-Clause",
        }
    )
    root["mentions"] = crate.add_jsonld(
        {
            "@id": "#run",
            "@type": "CreateAction",
            "name": "The run of the workflow",
            "description": f"Snakemake computed the results of {run['counts']['images_used']} images; run.json has all",
            "endTime": datetime.fromtimestamp(RUN.stat().st_mtime, UTC).isoformat(timespec="seconds"),
            "instrument": {"@id": "#workflow"},
            "object": [{"@id": "config.yaml"}, {"@id": "images.lock.tsv"}],
            "result": [{"@id": path} for path in sorted(run["results_sha256"]) if Path(path).name not in TOO_LARGE],
        }
    )
    crate.metadata.write(str(folder))


def git(*arguments: str) -> str:
    """Ask git about the workflow's own repository; nothing where there is none."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def workflow_url() -> str:
    """Say where the workflow was cloned from, if that is a public address; else, what describes it."""
    url = git("remote", "get-url", "origin")
    return url if re.match(r"https://[^@/]+/", url) else "README.md"


def workflow_version() -> str:
    """Read the version of the workflow."""
    return str(yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"])


def files_of(configuration: Mapping[str, Any], base: Path) -> list[str]:
    """Name the files in `base` that a configuration speaks of: filters, tables, mask, networks, atlas, maps of terms.

    Raises
    ------
    ValueError
        If one is outside of `base`: nobody else has it.
    """
    with chdir(base):
        files = user_files(configuration)
    for file in files:
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise ValueError(f"{file} is outside of this folder; copy it here, name the copy, and run again")
    return files


def repeat(run_file: Path, *, into: Path, data: Path | None, arguments: list[str]) -> bool:
    """Compute a run again in the folder `into`; print what is the same, and return whether it is as promised."""
    run = json.loads(run_file.read_text(encoding="utf-8"))
    configuration, archive = run["configuration"], run["configuration"]["archive"]
    base = run_file.parent if is_paper(run_file) else Path()
    into.mkdir(parents=True, exist_ok=True)
    for path in files_of(configuration, base):
        copy(base / path, into / path)
    opened = open_archive(archive)
    if not opened.is_fixed and archive["lock"] is None:
        copy(run_file.with_name("images.lock.tsv"), into / "images.lock.tsv")
        archive["lock"] = "images.lock.tsv"
    archive |= opened.moved(base, data)
    if is_paper(run_file) and sha256_of(base / ENVIRONMENT[0]) != sha256_of(ROOT / ENVIRONMENT[0]):
        print(f"{base / ENVIRONMENT[0]} is another than the one here; copy it here for the same software")
    write_yaml(into / "config.yaml", configuration)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(into)]
    subprocess.run([*command, *(arguments or ["--cores", "all"])], check=True)
    return compare(run_file, into)


def is_paper(run_file: Path) -> bool:
    """Tell a folder that was packed from the results of a run."""
    return (run_file.parent / "config.yaml").is_file()


def compare(run_file: Path, into: Path) -> bool:
    """Compare the results in `into` with those of a run.json, by hash, and by value where the old ones are there."""
    run = json.loads(run_file.read_text(encoding="utf-8"))
    now = json.loads((into / RUN).read_text(encoding="utf-8"))
    old = run_file.parent if is_paper(run_file) else run_file.parent.parent.parent
    other = {
        path: difference(old / path, into / path)
        for path, expected in sorted(run["results_sha256"].items())
        if not (into / path).is_file() or sha256_of(into / path) != expected
    }
    if run["configuration"]["archive"] != now["configuration"]["archive"]:
        other = {path: found for path, found in other.items() if Path(path).name not in NOT_IN_A_LOCK}
    for path, found in other.items():
        print(f"differs: {path}" + ("" if found is None else f", by {found:.1g} of its largest value"))
    n_results = len(run["results_sha256"])
    changed = dict(changes(run["software"], now["software"]))
    for key, (then, today) in changed.items():
        print(f"other {key}: {then} then, {today} now")
    if not other:
        print(f"The same: {n_results} results, byte for byte.")
        return True
    promised = {path: found for path, found in other.items() if path.endswith(PROMISED)}
    worst = max((np.inf if found is None else found for found in promised.values()), default=0.0)
    if changed and worst <= TOLERANCE:
        print(f"Maps and loadings are the same within {worst:.1g} of the largest value; {TOLERANCE:g} is promised.")
        return True
    if changed:
        print(f"Maps and loadings are NOT the same: {worst:.1g} of the largest value; {TOLERANCE:g} is promised.")
    else:
        print("NOT the same, though software and processor are; that must not happen.")
    return False


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Pair what is not the same in two descriptions of software."""
    for key, value in then.items():
        if isinstance(value, Mapping):
            yield from changes(value, now.get(key, {}))
        elif value != now.get(key):
            yield key, (value, now.get(key))


def difference(old: Path, new: Path) -> float | None:
    """Give the largest absolute difference of two files' numbers, relative to the largest absolute value of each array.

    None if there is nothing to compare, or it cannot be compared.
    """
    if not old.is_file() or not new.is_file():
        return None
    before, after = numbers(old), numbers(new)
    if not before or list(before) != list(after):
        return None
    if any(before[name].shape != after[name].shape for name in before):
        return np.inf
    return max(relative_difference(before[name], after[name]) for name in before)


def relative_difference(before: np.ndarray, after: np.ndarray) -> float:
    """Compare two arrays; what is missing must be missing in both."""
    if not np.array_equal(np.isnan(before), np.isnan(after)):
        return np.inf
    largest = np.nanmax(np.abs(before), initial=0.0)
    return float(np.nanmax(np.abs(before - after), initial=0.0) / (largest or 1.0))


def numbers(path: Path) -> dict[str, np.ndarray]:
    """Read the numbers of a file by name: a volume, or the columns of a table that hold numbers."""
    if path.name.endswith(".nii.gz"):
        return {"data": np.asarray(nib.load(path).dataobj, dtype=float)}  # type: ignore[attr-defined]
    if path.suffix != ".tsv":
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, dialect="excel-tab"))
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else [])}
    return {name: array for name, texts in columns.items() if (array := as_numbers(texts)) is not None}


def as_numbers(texts: list[str]) -> np.ndarray | None:
    """Read a column; None if it holds words."""
    try:
        return np.array([np.nan if text == "n/a" else float(text) for text in texts])
    except ValueError:
        return None


def copy(source: str | Path, target: Path) -> None:
    """Copy a file and make the folder for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def write_yaml(path: Path, content: Any) -> None:
    """Write a configuration in its own order."""
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="pack the run in the current folder")
    packing.add_argument("folder", type=Path)
    repeating = commands.add_parser("verify", help="repeat a run and compare; further arguments are snakemake's")
    repeating.add_argument("run", type=Path)
    repeating.add_argument("--into", type=Path, default=Path("rerun"))
    repeating.add_argument("--data", type=Path)
    options, arguments = parser.parse_known_args()
    try:
        if options.command == "pack":
            pack(options.folder)
            print(f"Packed: {options.folder.absolute()}")
        elif not repeat(options.run, into=options.into, data=options.data, arguments=arguments):
            sys.exit(1)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except (OSError, ValueError) as error:
        sys.exit(f"{options.command}: {error}")


if __name__ == "__main__":
    main()
