"""Write the components of the last run as a folder that others can use without this workflow.

``make package NAME=mine`` calls this file. The folder is a BIDS derivative dataset: the maps as one 4-D image, the
mask, the names and the loadings. `project_images.components` accepts it.
"""

import argparse
import json
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "workflow/scripts"))
from neurovault_ica.archive.archive import open_archive  # noqa: E402
from neurovault_ica.archive.database_files import is_downloaded  # noqa: E402
from neurovault_ica.archive.own_maps import find_unusable_part  # noqa: E402
from neurovault_ica.naming.component_files import DESCRIPTION, IMAGES, LOADINGS, TREATMENT  # noqa: E402
from neurovault_ica.naming.own_images import Treatment, treatment_of  # noqa: E402
from neurovault_ica.report.text import doi_address  # noqa: E402
from neurovault_ica.runtime.files import sha256_of, write_json  # noqa: E402
from neurovault_ica.runtime.tables import column_names, read_table, write_table  # noqa: E402
from paper import RUN, workflow_url, workflow_version  # noqa: E402

BIDS_VERSION = "1.10.1"
MAPS = "results/run_ica/space-*_res-*_desc-ICA_components.nii.gz"
MASK, USED = "results/stack_images/mask.nii.gz", "results/stack_images/images.tsv"
MIXING, NAMES = "results/run_ica/desc-ICA_mixing.tsv", "results/project_terms/desc-ICA_names.tsv"
COLLECTIONS = "results/fetch_metadata/collections.tsv"
BESIDE_RUN = ("run.json", "methods.md", "references.bib")
# Codes of the NIfTI header: an extension that is a comment, and the MNI152 space.
COMMENT, MNI152 = "comment", 4
# At first, viewers show values up to this percentile of the absolute values.
BRIGHTEST_PERCENTILE = 99.9
SPATIAL_REFERENCE = "{space}, as in nilearn's MNI152 template"
NOT_STATED = "Not stated; the authors of this dataset choose a license before they publish it"
SIMULATED = "CC0-1.0 (all maps are simulated)"
README = """\
# {name}

{components} independent brain networks (components) from {images} statistic maps of {collections} collections.
{about}

| file | content |
|---|---|
| {maps} | the maps: volume k (counted from 0) is component k; unit variance over the mask, positive peak |
| {mask} | the mask; maps are 0 outside |
| {names} | the name of each component, where the name comes from, and its false discovery rate q |
| {loadings} | loadings of the images on the components |
| {image_table} | the images and their collections |
| methods.md, references.bib | text for a methods section, and the works and collections to cite |
| run.json | configuration, software and checksums of the run |

A JSON file beside each map and table describes it. Values of the maps are weights of both signs, not probabilities.
Their suffix is probseg, which BIDS uses for all maps of overlapping networks.

## nilearn

    from nilearn.maskers import NiftiMapsMasker
    masker = NiftiMapsMasker("{maps}",
                             mask_img="{mask}", standardize=None)
    loadings = masker.fit_transform("my_map.nii.gz")

NiftiMapsMasker regresses an image on all components at once, without an intercept. To get loadings that are comparable
with those in this folder, prepare your image first. {treatment}

## Your own maps, with tests and percentiles

In a clone of the workflow ({url}), without a run:

    snakemake --cores 2 project_images --config {projecting}

## FSLeyes

    fsleyes --standard {maps} --cmap red-yellow --negativeCmap blue-lightblue --useNegativeCmap --displayRange 2 8

The header states the MNI152 space and mm. Its comment extension has the names of the volumes.

## License and citation

License of the maps and loadings: {license}.

{names_license}

Please cite the works in references.bib. It has the collections that the images come from.
"""
ODBL = """\
Names come from Neurosynth's term weights or from term maps made of its data. Its database is available under the Open
Database License (ODbL) 1.0, https://opendatacommons.org/licenses/odbl/1.0/. If you publish the names, say so, and cite
Yarkoni et al. 2011 (doi:10.1038/nmeth.1635)."""
OTHER_NAMES = "{names} lists the sources of the names. None of them has the Open Database License."


class Run(NamedTuple):
    """The parts of a finished run that are packed."""

    record: Mapping[str, Any]  # run.json
    maps: Path
    space: str
    resolution: str
    labels: list[str]
    names: list[dict[str, Any]]  # rows of desc-ICA_names.tsv


def read_run() -> Run:
    """Find the finished run in the current folder.

    Raises
    ------
    ValueError
        If there is none, or its results differ from its run.json.
    """
    if not RUN.is_file():
        raise ValueError(f"{RUN} not found; finish a run first: make run")
    record = json.loads(RUN.read_text(encoding="utf-8"))
    hashes = record["results_sha256"]
    maps = [path for path in hashes if Path(path).match(MAPS)]
    needed = [*maps, MASK, USED, MIXING, NAMES, COLLECTIONS]
    changed = [path for path in needed if not Path(path).is_file() or sha256_of(path) != hashes.get(path)]
    if len(maps) != 1 or changed:
        raise ValueError(
            f"these results differ from {RUN}: {', '.join(changed) or MAPS}; run the workflow again, then pack"
        )
    found = re.match(r"space-([A-Za-z0-9]+)_res-([A-Za-z0-9]+)_", Path(maps[0]).name)
    if found is None:
        raise ValueError(f"{maps[0]} has no space and resolution in its name; run the workflow again, then pack")
    names = read_table(NAMES)
    return Run(record, Path(maps[0]), found[1], found[2], [row["component"] for row in names], names)


def write_package(folder: Path, *, license_name: str | None = None) -> None:
    """Write the components of the finished run in the current folder to `folder`.

    Parameters
    ----------
    folder : Path
        Its name becomes the name of the dataset.
    license_name : str, optional
        License of the maps and loadings, such as CC-BY-4.0.

    Raises
    ------
    ValueError
        If there is no finished run, the folder exists already, or project_images could not read a folder of this name.
    """
    run = read_run()
    if folder.exists():
        raise ValueError(f"{folder} already exists; choose another NAME or delete it")
    label = re.sub(r"[^A-Za-z0-9]", "", folder.name)
    if not label:
        raise ValueError(f"{folder.name!r} is no name for a dataset; use letters and digits")
    if fault := find_unusable_part(folder.name):
        raise ValueError(f"the name {folder.name!r} {fault}")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    template = f"tpl-{run.space}"
    files = {
        "maps": f"{template}/{template}_atlas-{label}_res-{run.resolution}_desc-ICA_probseg.nii.gz",
        "mask": f"{template}/{template}_res-{run.resolution}_desc-ICA_mask.nii.gz",
        "names": f"{template}/{template}_atlas-{label}_dseg.tsv",
    }
    (unfinished / template).mkdir(parents=True)
    (unfinished / LOADINGS).parent.mkdir()
    write_maps(run, unfinished / files["maps"])
    write_mask(unfinished / files["mask"])
    write_sidecars(run, unfinished, files)
    write_tables(run, unfinished, files["names"])
    for name in BESIDE_RUN:
        shutil.copyfile(RUN.with_name(name), unfinished / name)
    (unfinished / ".bidsignore").write_text("loadings\n" + "".join(f"{name}\n" for name in BESIDE_RUN))
    is_demo = open_archive(run.record["configuration"]["archive"]).is_demo
    chosen = license_name or (SIMULATED if is_demo else NOT_STATED)
    dataset = describe_dataset(folder.name, chosen)
    write_json(unfinished / DESCRIPTION, dataset, sort_keys=False)
    atlas = {
        key: dataset[key] for key in ("Name", "License", "HowToAcknowledge", "ReferencesAndLinks") if key in dataset
    }
    write_json(unfinished / f"atlas-{label}_description.json", atlas, sort_keys=False)
    (unfinished / "README.md").write_text(readme(run, folder.name, chosen, files, is_demo=is_demo), encoding="utf-8")
    # Renamed last, so that a package exists as a whole or not at all.
    unfinished.rename(folder)


def write_maps(run: Run, path: Path) -> None:
    """Write the 4-D image with a header that viewers understand: MNI152, mm, range to show, and names of volumes."""
    img = nib.load(run.maps)
    data = np.asarray(img.dataobj)
    header = img.header.copy()
    header.set_sform(img.affine, code=MNI152)
    header.set_qform(img.affine, code=MNI152)
    # The fourth axis is not time, but validators and viewers ask for its unit.
    header.set_xyzt_units("mm", "sec")
    header["descrip"] = b"independent components, unit variance"
    header["cal_min"], header["cal_max"] = 0, np.percentile(np.abs(data[data != 0]), BRIGHTEST_PERCENTILE)
    volumes = [{"volume": k, "component": row["component"], "name": row["name"]} for k, row in enumerate(run.names)]
    header.extensions.append(nib.nifti1.Nifti1Extension(COMMENT, json.dumps(volumes).encode()))
    nib.save(nib.Nifti1Image(data, img.affine, header), path)


def write_mask(path: Path) -> None:
    """Write the mask with the space and the unit of the maps."""
    img = nib.load(MASK)
    img.set_sform(img.affine, code=MNI152)
    img.set_qform(img.affine, code=MNI152)
    img.header.set_xyzt_units("mm", "sec")
    nib.save(img, path)


def write_sidecars(run: Run, folder: Path, files: Mapping[str, str]) -> None:
    """Describe the maps and the mask in the form of BIDS derivatives."""
    treatment = treatment_of(treatment_settings(run))
    resolution = "grid of the mask that the user gave" if run.resolution == "mask" else f"{run.resolution} mm isotropic"
    place = {"Resolution": resolution, "SpatialReference": SPATIAL_REFERENCE.format(space=run.space)}
    maps = {
        "Description": "Independent components of statistic maps: one component in each volume. Weights of both signs, "
        "with unit variance over the mask and a positive peak; not probabilities.",
        **place,
        "Units": "standard deviations over the mask",
        "Sources": [f"bids::{files['mask']}"],
        "Volumes": run.labels,
        TREATMENT: treatment._asdict(),
        f"{TREATMENT}Description": describe_treatment(treatment),
    }
    mask = {"Description": "Voxels of the analysis", "Type": "Brain", "Sources": [], **place}
    for key, content in (("maps", maps), ("mask", mask)):
        write_json(folder / files[key].replace(".nii.gz", ".json"), content, sort_keys=False)


def treatment_settings(run: Run) -> dict[str, Any]:
    """Return the settings of the run that say how images were prepared."""
    configuration = run.record["configuration"]
    return {**configuration["mask_images"], **configuration["stack_images"]}


def describe_treatment(treatment: Treatment) -> str:
    """Say how the images were prepared, so that others can prepare theirs in the same way."""
    smoothing = f"smoothed within the mask by {treatment.smoothing_mm:g} mm FWHM, " if treatment.smoothing_mm else ""
    scaling = "divided by their standard deviation over it" if treatment.scale == "unit_variance" else "not scaled"
    halves = "; their positive and negative values are separate rows" if treatment.signs == "split" else ""
    resampling = f"resampled to the mask ({treatment.interpolation} interpolation)"
    return f"Images were {resampling}, {smoothing}and {scaling}{halves}."


def write_tables(run: Run, folder: Path, names: str) -> None:
    """Write the names of the components, the loadings and the images."""
    rows = [
        {"index": number}
        | {key: row[key] for key in ("name", "component", "source", "q")}
        # A person gave this name, so source and q of the name by evidence do not apply to it.
        | ({"source": "person", "q": None} if row.get("evidence_name") else {})
        for number, row in enumerate(run.names)
    ]
    write_table(folder / names, rows, described_as="package/dseg.tsv")
    sidecar = (folder / names).with_suffix(".json")
    about = {"Description": "Names of the components", "SpatialReference": SPATIAL_REFERENCE.format(space=run.space)}
    write_json(sidecar, about | json.loads(sidecar.read_text(encoding="utf-8")), sort_keys=False)
    for file in (MIXING, MIXING.replace(".tsv", ".json")):
        shutil.copyfile(file, folder / Path(LOADINGS).parent / Path(file).name)
    columns = column_names("package/images.tsv")
    images = [{key: row.get(key) for key in columns} for row in read_table(USED)]
    write_table(folder / IMAGES, images, described_as="package/images.tsv")


def describe_dataset(name: str, license_name: str) -> dict[str, Any]:
    """Return the content of dataset_description.json."""
    used = {row["collection_id"] for row in read_table(USED)}
    studies = [row for row in read_table(COLLECTIONS) if row["collection_id"] in used]
    # Uploaders type a DOI as they like: with doi:, or as the address of a resolver.
    dois = sorted({doi for row in studies if (doi := doi_address(row["DOI"]) or doi_address(row["preprint_DOI"]))})
    generator = {"Name": "NeuroVault cross-study ICA", "Version": workflow_version()}
    url = workflow_url()
    urls = [{"URL": row["url"]} for row in studies if str(row.get("url") or "").startswith("https://")]
    return {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": license_name,
        "HowToAcknowledge": "Cite the works in references.bib, which include the collections of the images",
        "GeneratedBy": [generator | ({"CodeURL": url} if url.startswith("https://") else {})],
        **({"SourceDatasets": urls} if urls else {}),
        **({"ReferencesAndLinks": dois} if dois else {}),
    }


def uses_neurosynth(configuration: Mapping[str, Any]) -> bool:
    """Tell whether names may come from Neurosynth: its coordinates, or term weights of its server."""
    database, archive = configuration["build_term_maps"]["database"], open_archive(configuration["archive"])
    has_weights = configuration["fetch_terms"]["source"] == "server" and not (archive.is_demo or archive.has_own_terms)
    return bool(has_weights or (database and is_downloaded(database)))


def readme(run: Run, name: str, license_name: str, files: Mapping[str, str], *, is_demo: bool) -> str:
    """Write the README of the package."""
    counts, url = run.record["counts"], workflow_url()
    is_odbl = uses_neurosynth(run.record["configuration"])
    return README.format(
        name=name,
        components=counts["components"],
        images=counts["images_used"],
        collections=counts["collections_used"],
        about="This is the demo of the workflow: all maps are simulated." if is_demo else "See methods.md.",
        license=license_name,
        names_license=ODBL if is_odbl else OTHER_NAMES.format(**files),
        url=url if url.startswith("https://") else "NeuroVault cross-study ICA",
        treatment=describe_treatment(treatment_of(treatment_settings(run))),
        # The name of a folder may be a number, or have spaces and quotes. So it is quoted for YAML, then for the shell.
        projecting=shlex.quote(f"project_images={{maps: my_maps, components: {json.dumps(name, ensure_ascii=False)}}}"),
        loadings=LOADINGS,
        image_table=IMAGES,
        **files,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the package that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="folder to write, such as packages/mine")
    parser.add_argument("--license", help="license of the maps and loadings, such as CC-BY-4.0")
    options = parser.parse_args(arguments)
    try:
        write_package(options.folder, license_name=options.license)
    except (OSError, ValueError) as error:
        sys.exit(f"package: {error}")
    print(f"Package: {options.folder.absolute()}")


if __name__ == "__main__":
    main()
