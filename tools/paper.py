"""Pack the files that are needed to repeat a paper's run, or repeat a run and compare the results.

``make paper NAME=mine`` and ``make verify RUN=papers/mine/run.json`` call this file. The file run.json has the
configuration of the run and the checksums of its results.
"""

import argparse
import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rocrate.rocrate import ROCrate

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "workflow/scripts"))
from neurovault_ica.archive.archive import open_archive  # noqa: E402
from neurovault_ica.configuration.named_files import user_files  # noqa: E402
from neurovault_ica.runtime.files import sha256_of  # noqa: E402
from verification import RUN, TOLERANCE, compare, is_paper  # noqa: E402

PAGE = Path("results/render_report/report.html")
BESIDE_RUN = ("images.lock.tsv", "images.lock.json", "run.json", "methods.md", "references.bib")
ENVIRONMENT = ("requirements.lock", "requirements-uv.lock", "envs/neurovault_ica.yaml")
# Results as large as the images. They are not packed, because they add nothing to the other results.
TOO_LARGE = {"matrix.npy", "whitened.npy", "reduction.npz", "term_maps.npy"}
# Profile of the RO-Crate, and a placeholder for the license, which only the authors can choose.
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
        "description": "To be replaced by the license under which the authors publish this folder",
    },
}
README = """\
# {name}

Cross-study ICA of {images} images of {collections} collections, with {components} components. This folder has the
results and the files needed to repeat the run. The text for the methods section is in methods.md, and the papers to
cite are in references.bib.

To repeat it, you need Python {python} and make. Run this in an empty clone of the workflow{commit}:

    make verify RUN=path/to/this/folder/run.json

This installs requirements.lock, gets and verifies the images in images.lock.tsv, computes everything again in the
folder rerun, and compares the results. They are the same byte for byte on the same kind of processor
({processor}), and within {tolerance:g} of the largest value on another.
{source}
| file | content |
|---|---|
| config.yaml | the configuration |
| images.lock.tsv | every image with URL or path, SHA-256 checksum and metadata |
| run.json | versions, processor, seeds, counts and SHA-256 checksum of every result |
| requirements.lock, envs/ | the software, for pip, uv and conda |
| results/ | the results, except those as large as the images |
| results/render_report/report.html | all results on one page: start here |
| sha256.txt | checksums of the results, for sha256sum --check |
| ro-crate-metadata.json | this folder as RO-Crate |
"""


def pack(folder: Path) -> None:
    """Copy the finished run in the current folder to `folder`.

    Raises
    ------
    ValueError
        If there is no finished run, if its results differ from its run.json, or if its page is missing.
    """
    if not RUN.is_file():
        raise ValueError(f"{RUN} not found; finish a run first: make run")
    if folder.exists():
        raise ValueError(f"{folder} already exists; choose another NAME or delete it")
    run = json.loads(RUN.read_text(encoding="utf-8"))
    hashes = run["results_sha256"]
    changed = [path for path, expected in hashes.items() if not Path(path).is_file() or sha256_of(path) != expected]
    if changed:
        raise ValueError(f"these results differ from {RUN}: {', '.join(changed)}; run the workflow again, then pack")
    if not PAGE.is_file():
        raise ValueError(f"{PAGE} not found; run the workflow again, then pack")
    hashes |= {path: sha256_of(path) for path in [str(PAGE), *linked_files(PAGE)] if path not in hashes}
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


def linked_files(page: Path) -> list[str]:
    """List the files of the run that a page links to, so that its links work in the packed folder."""
    links = re.findall(r'href="(\.\./[^"#]+)"', page.read_text(encoding="utf-8"))
    found = {Path(os.path.normpath(page.parent / html.unescape(link))) for link in links}
    return sorted(str(path) for path in found if path.is_file() and path.parts[0] == page.parts[0])


def sidecars(paths: list[str]) -> list[str]:
    """List the JSON sidecars of tables."""
    tables = [Path(path) for path in paths if path.endswith(".tsv")]
    return [str(table.with_suffix(".json")) for table in tables if table.with_suffix(".json").is_file()]


def readme(name: str, run: Mapping[str, Any]) -> str:
    """Write the README of a paper's folder: its content, and how to repeat the run."""
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
    """Write ro-crate-metadata.json, which describes every file and the run."""
    # The profile "Process Run Crate" is based on version 1.1 of RO-Crate.
    crate = ROCrate(str(folder), init=True, gen_preview=False, version="1.1")
    for entity in crate.data_entities:
        entity["name"] = entity.id.rstrip("/")
    root = crate.root_dataset
    root["name"] = f"Cross-study ICA: {folder.name}"
    root["description"] = "Independent components of NeuroVault statistic maps, and the files needed to repeat the run"
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
            "description": f"Results of {run['counts']['images_used']} images, computed by Snakemake; see run.json",
            "endTime": datetime.fromtimestamp(RUN.stat().st_mtime, UTC).isoformat(timespec="seconds"),
            "instrument": {"@id": "#workflow"},
            "object": [{"@id": "config.yaml"}, {"@id": "images.lock.tsv"}],
            "result": [{"@id": path} for path in sorted(run["results_sha256"]) if Path(path).name not in TOO_LARGE],
        }
    )
    crate.metadata.write(str(folder))


def git(*arguments: str) -> str:
    """Return the output of a git command in this repository, or an empty string if it fails."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def workflow_url() -> str:
    """Return the public URL from which the workflow was cloned, or README.md if there is none."""
    url = git("remote", "get-url", "origin")
    return url if re.match(r"https://[^@/]+/", url) else "README.md"


def workflow_version() -> str:
    """Return the version of the workflow."""
    return str(yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"])


def files_of(configuration: Mapping[str, Any], base: Path) -> list[str]:
    """List the files in `base` that a configuration names, such as filters, tables, masks, atlases and term maps.

    Raises
    ------
    ValueError
        If a file is outside of `base`, because it would be missing in the packed folder.
    """
    with chdir(base):
        files = user_files(configuration)
    for file in files:
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise ValueError(f"{file} is outside of this folder; copy it here, configure the copy, and run again")
    return files


def repeat(run_file: Path, *, into: Path, data: Path | None, arguments: list[str]) -> bool:
    """Repeat a run in the folder `into`, print the differences, and return whether the results agree.

    Parameters
    ----------
    run_file : path
        The run.json of the run, or its folder.
    into : path
        Folder for the repeated run.
    data : path, optional
        Folder of the images; by default, the one in the configuration.
    arguments : list of str
        Arguments for Snakemake.
    """
    if run_file.is_dir():
        run_file /= "run.json"
    run = read_run(run_file)
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
        print(f"{base / ENVIRONMENT[0]} differs from ours; copy it to {ROOT} to install the same software")
    write_yaml(into / "config.yaml", configuration)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(into)]
    subprocess.run([*command, *(arguments or ["--cores", "all"])], check=True)
    return compare(run_file, into)


def read_run(file: Path) -> dict[str, Any]:
    """Read the run.json of a run.

    Raises
    ------
    ValueError
        If there is no such file, or if it is another file.
    """
    advice = "give the run.json of a run, such as results/write_lock/run.json or papers/mine/run.json"
    if not file.is_file():
        raise ValueError(f"there is no file {file}; {advice}")
    try:
        run = json.loads(file.read_bytes())
    except ValueError:
        run = None
    if not isinstance(run, dict) or not {"configuration", "results_sha256", "software"} <= run.keys():
        raise ValueError(f"{file} does not describe a run; {advice}")
    return run


def copy(source: str | Path, target: Path) -> None:
    """Copy a file; make the target folder if needed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def write_yaml(path: Path, content: Any) -> None:
    """Write a configuration as YAML, with its keys in their own order."""
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def main() -> None:
    """Pack or verify a run, depending on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="pack the run in the current folder")
    packing.add_argument("folder", type=Path, help="folder to pack it into, such as papers/mine")
    repeating = commands.add_parser("verify", help="repeat a run and compare; other arguments go to snakemake")
    repeating.add_argument("run", type=Path, help="run.json of the run, or the folder that contains it")
    repeating.add_argument("--into", type=Path, default=Path("rerun"), help="folder of the new run; by default, rerun")
    repeating.add_argument("--data", type=Path, help="folder of the images (cache or folder of the table)")
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
