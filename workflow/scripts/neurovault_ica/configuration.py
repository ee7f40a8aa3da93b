"""Complete and check the configuration before any job runs.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from neurovault_ica.archive.archive import ARCHIVES, find_contradictions, open_archive
from neurovault_ica.archive.conditions import compile_term
from neurovault_ica.archive.database_files import DEMO
from neurovault_ica.archive.database_files import explain_problem as explain_database
from neurovault_ica.archive.database_files import input_files as input_files_of_database
from neurovault_ica.images.criteria import quality_schema
from neurovault_ica.naming.name_files import is_image_file, names_beside
from neurovault_ica.naming.nilearn_atlases import NILEARN_ATLASES, suggest_atlas
from neurovault_ica.naming.own_names import find_problems
from neurovault_ica.naming.region_atlases import AAL3
from neurovault_ica.naming.term_files import explain_problem, input_files
from neurovault_ica.runtime.files import package_file
from neurovault_ica.runtime.layers import expand_paths, fill_in, lay_over, merge, read_file

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

SCHEMA_FILE = package_file("../../schemas/config.schema.yaml")

# The user chooses the keys in these sections, so each file replaces the whole section. Merging {z: 3} into
# {percentile: 90} would set two thresholds, and image_terms could not be set to {}.
REPLACED_WHOLE = (
    ("fetch_metadata", "collection_terms"),
    ("fetch_metadata", "image_terms"),
    ("plot_components", "threshold"),
)
# Keys whose values may be paths. Other values of these keys, such as the name of an atlas, do not begin with ~.
PATHS = (
    ("archive", "data_dir"),
    ("archive", "table"),
    ("archive", "lock"),
    ("fetch_metadata", "collection_filter"),
    ("fetch_metadata", "image_filter"),
    ("mask_images", "mask"),
    ("build_term_maps", "database"),
    ("project_terms", "term_maps"),
    ("match_networks", "reference"),
    ("project_images", "maps"),
    ("project_images", "components"),
    ("plot_components", "atlas"),
    ("plot_components", "atlas_names"),
    ("plot_components", "labels"),
)


def replace_mappings(config: dict[str, Any], layers: Sequence[Mapping[str, Any]]) -> None:
    """Let each layer replace the sections with free keys in `config` whole, in place; see `lay_over`."""
    if layers:
        # Snakemake has merged --config with numbers as text.
        merge(config, layers[-1])
    lay_over(config, layers, REPLACED_WHOLE)


def complete(config: Mapping[str, Any], defaults_file: str | Path) -> dict[str, Any]:
    """Return a copy of `config` with missing keys filled in from `defaults_file`, the config.yaml of this workflow.

    A ``~`` at the beginning of a path becomes the home folder.
    """
    filled = fill_in(config, read_file(defaults_file), REPLACED_WHOLE)
    expand_paths(filled, PATHS)
    return filled


def check_configuration(config: Mapping[str, Any], *, known_file: Path | None = None) -> None:
    """Check the whole configuration: against the schema, for contradictions and for missing files.

    Parameters
    ----------
    config : mapping
    known_file : Path, optional
        Keeps the checksum of the last configuration that matched the schema. The same configuration is not compared
        with the schema again, because importing jsonschema would add a tenth of a second to every start.

    Raises
    ------
    ValueError
        With one line for each mistake: the key, the value found, and what is expected.
    """
    checksum = _checksum(config)
    # Bytes, because a damaged file must not stop the run: it only differs.
    is_known = known_file is not None and known_file.is_file() and known_file.read_bytes() == checksum.encode()
    lines = [] if is_known else [*_schema_mistakes(config), *_find_nan(config)]
    if known_file is not None and not lines and not is_known:
        # Without it, the next start only takes longer.
        with contextlib.suppress(OSError):
            known_file.parent.mkdir(exist_ok=True)
            known_file.write_text(checksum, encoding="utf-8")
    if not lines:
        lines = [*_wrong_terms(config), *_contradictions(config)]
    if lines:
        raise ValueError("the configuration is not valid:\n" + "\n".join(f"  {line}" for line in lines))


def _checksum(config: Mapping[str, Any]) -> str:
    """Compute a checksum of the configuration and of all that its schema is made of."""
    compared = repr((config, quality_schema(), list(ARCHIVES))).encode("utf-8", errors="backslashreplace")
    return hashlib.sha256(compared + SCHEMA_FILE.read_bytes()).hexdigest()


def _schema_mistakes(config: Mapping[str, Any]) -> list[str]:
    """Compare the configuration with the schema, and describe each mistake in a line."""
    from jsonschema import Draft202012Validator

    schema = read_file(SCHEMA_FILE)
    schema["properties"]["stack_images"]["properties"]["quality"] = quality_schema()
    *others, last = ARCHIVES
    source = {"description": f"{', '.join(others)} or {last}", "enum": list(ARCHIVES)}
    schema["properties"]["archive"]["properties"]["source"] = source
    errors = sorted(
        Draft202012Validator(schema).iter_errors(config), key=lambda error: [str(key) for key in error.path]
    )
    return [line for error in errors for line in _explain(error)]


def _find_nan(value: Any, place: str = "") -> Iterator[str]:
    """Find values that are NaN. The schema accepts them, because NaN is not below or above any limit."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _find_nan(inner, _join(place, key))
    elif isinstance(value, float) and math.isnan(value):
        yield f"{place}: NaN is not valid; expected: a number"


def mask_file(config: Mapping[str, Any]) -> list[str]:
    """List the file of the mask, as input of the rule that reads it; empty for nilearn's masks."""
    mask = config["mask_images"]["mask"]
    return [] if mask in ("brain", "gray_matter") else [mask]


def reference_files(config: Mapping[str, Any]) -> list[str]:
    """List the file of reference networks and the file of their names; empty if nilearn fetches the atlas."""
    reference = config["match_networks"]["reference"]
    if reference is None or not is_image_file(reference):
        return []
    names = names_beside(reference)
    return [reference, names] if names else [reference]


def atlas_files(config: Mapping[str, Any]) -> list[str]:
    """List the file of the atlas of regions and the file of their names; empty for an atlas of a package."""
    section = config["plot_components"]
    if section["atlas"] in (None, AAL3):
        return []
    names = section["atlas_names"] or names_beside(section["atlas"])
    return [section["atlas"], names] if names else [section["atlas"]]


def term_map_files(config: Mapping[str, Any]) -> list[str]:
    """List the files of the term maps, so that changed maps are compared with the components again."""
    path = config["project_terms"]["term_maps"]
    return input_files(path) if path is not None else []


def term_database(config: Mapping[str, Any]) -> str | None:
    """Return the database of coordinates, or None. The simulated one is only for the simulated images."""
    database = config["build_term_maps"]["database"]
    return None if database == DEMO and not open_archive(config["archive"]).is_demo else database


def database_files(config: Mapping[str, Any]) -> list[str]:
    """List the user's own files of the database of coordinates, so that changed files give new maps of terms."""
    return input_files_of_database(term_database(config), config["build_term_maps"]["vocabulary"])


def filter_files(config: Mapping[str, Any]) -> list[str]:
    """List the Python files with the user's filters, so that editing one repeats the selection."""
    references = (config["fetch_metadata"][key] for key in ("collection_filter", "image_filter"))
    return [reference.rpartition(":")[0] for reference in references if reference is not None]


def user_files(config: Mapping[str, Any]) -> list[str]:
    """List the user's files that the configuration names, except the images. A rerun elsewhere needs them."""
    return [
        *_archive_files(config).values(),
        *filter_files(config),
        *mask_file(config),
        *reference_files(config),
        *database_files(config),
        *term_map_files(config),
        *atlas_files(config),
        *filter(None, [config["plot_components"]["labels"]]),
    ]


def _archive_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the lock and the user's files that the archive reads, by their key in the section ``archive``."""
    lock = config["archive"]["lock"]
    return open_archive(config["archive"]).files | ({"lock": lock} if lock else {})


def _explain(error: ValidationError) -> Iterator[str]:
    """Describe an error of the schema: one line for each key that is wrong, unknown or missing."""
    schema = cast(Mapping[str, Any], error.schema)
    found = cast(Any, error.instance)
    place = ".".join(str(key) for key in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(schema.get("properties", {}))
        for key in sorted(set(found) - set(known), key=str):
            near = difflib.get_close_matches(str(key), known, n=1)
            advice = f"did you mean {near[0]}?" if near else f"choose one of: {', '.join(known)}"
            yield f"{_join(place, key)}: unknown key; {advice}"
    elif error.validator == "required":
        for key in sorted(set(schema["required"]) - set(found)):
            yield f"{_join(place, key)}: this key is missing; see config.yaml for its default"
    else:
        value = json.dumps(found, default=str)
        yield f"{place or 'the configuration'}: {value} is not valid; {_expected(error)}"


def _join(place: str, key: Any) -> str:
    return f"{place}.{key}" if place else str(key)


def _expected(error: ValidationError) -> str:
    schema = cast(Mapping[str, Any], error.schema)
    if "description" in schema:
        return f"expected: {schema['description']}"
    return f"expected: {error.validator} {error.validator_value}"


def _wrong_terms(config: Mapping[str, Any]) -> Iterator[str]:
    for name in ("collection_terms", "image_terms"):
        for key, term in config["fetch_metadata"][name].items():
            try:
                compile_term(f"fetch_metadata.{name}.{key}", term)
            except ValueError as error:
                yield str(error)


def _contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """Find values that are valid on their own but not in combination, and files that do not exist."""
    archive = config["archive"]
    yield from find_contradictions(archive)
    named = [(f"archive.{key}", file) for key, file in _archive_files(config).items()]
    named += [("mask_images.mask", file) for file in mask_file(config)]
    named += [("fetch_metadata", file) for file in filter_files(config)]
    named += [("plot_components.atlas", file) for file in atlas_files(config)]
    named += [("match_networks.reference", file) for file in reference_files(config)]
    for key, file in named:
        if not Path(file).is_file():
            other = f"; give a NIfTI file, {AAL3} or null" if key == "plot_components.atlas" else ""
            if other and file.lower() == AAL3:
                yield f"{key}: {json.dumps(file)} is written {AAL3}"
                continue
            yield f"{key}: file not found: {file} (relative to {Path.cwd()}){other}"
    if archive["lock"] is not None and Path(archive["lock"]).resolve().parent == Path("results/write_lock").resolve():
        yield (
            f"archive.lock: {archive['lock']} will be overwritten by this run; copy it to another folder and give the"
            " path of the copy"
        )
    yield from _too_few_images(config)
    quality = config["stack_images"]["quality"] or {}
    least, most = quality.get("min_peak"), quality.get("max_peak")
    if least is not None and most is not None and least > most:
        yield (
            f"stack_images.quality.min_peak: {least} is above max_peak, {most}, so all Z and T maps would be rejected;"
            " lower min_peak or raise max_peak"
        )
    yield from find_problems(config)
    yield from _impossible_reference(config)
    yield from _nameless_maps(config)
    database, vocabulary = term_database(config), config["build_term_maps"]["vocabulary"]
    if database and (problem := explain_database(database, vocabulary)):
        yield f"build_term_maps.database: {problem}"
    if config["fetch_terms"]["source"] == "database" and database is None:
        found = json.dumps(config["build_term_maps"]["database"])
        yield (
            f'fetch_terms.source: "database" needs maps of terms, but build_term_maps.database is {found}; expected:'
            " neurosynth or a folder there, or server or null here"
        )
    if config["download_images"]["resample"] and not open_archive(archive).may_write:
        yield (
            "download_images.resample: true is not possible offline or with a table, because resampled copies would be"
            " written to the folder of the images; expected: false"
        )


def _too_few_images(config: Mapping[str, Any]) -> Iterator[str]:
    """Find a number of components above the number of images, as far as the configuration tells it."""
    archive, section, orders = config["archive"], config["fetch_metadata"], config["scan_components"]["orders"]
    wanted = {"run_ica.n_components": config["run_ica"]["n_components"], "scan_components.orders": max(orders or [0])}
    limits: dict[str, int] = {}
    if archive["lock"] is not None:
        if not Path(archive["lock"]).is_file():
            return
        lines = Path(archive["lock"]).read_bytes().splitlines()
        limits[f"lines of archive.lock {archive['lock']}"] = max(sum(bool(line.strip()) for line in lines) - 1, 0)
    else:
        if section["max_images"] is not None:
            limits["fetch_metadata.max_images"] = section["max_images"]
        if section["image_ids"] is not None and section["collection_ids"] is None:
            limits["images in fetch_metadata.image_ids"] = len(set(section["image_ids"]))
    for (name, number), (key, order) in product(limits.items(), wanted.items()):
        if number < order:
            yield (
                f"{key}: {order} components need at least as many images, but there are only {number} ({name}); lower"
                f" {key.partition('.')[2]}"
            )


def _nameless_maps(config: Mapping[str, Any]) -> Iterator[str]:
    """Find term maps and an atlas of regions without names, or with two sets of names."""
    if (maps := config["project_terms"]["term_maps"]) and (problem := explain_problem(maps)):
        yield f"project_terms.term_maps: {problem}"
    section = config["plot_components"]
    if section["atlas"] == AAL3 and section["atlas_names"]:
        yield (
            f"plot_components.atlas_names: {json.dumps(section['atlas_names'])} is not valid with atlas {AAL3}, which"
            " has names of its own; expected: null"
        )
    if len(atlas_files(config)) == 1 and Path(section["atlas"]).is_file():
        yield (
            f"plot_components.atlas_names: null is not valid, because {section['atlas']} has no file"
            " of names with the same name (.tsv, .txt, .xml) in its folder; expected: the path of a file of names"
        )


def _impossible_reference(config: Mapping[str, Any]) -> Iterator[str]:
    """Find a reference that is neither a file nor a known atlas, or an atlas that cannot be fetched offline."""
    reference, archive = config["match_networks"]["reference"], config["archive"]
    if reference is None or is_image_file(reference):
        return
    problem = f"match_networks.reference: {json.dumps(reference)} "
    if reference not in NILEARN_ATLASES:
        yield (
            f"{problem}is neither a NIfTI file (.nii, .nii.gz) nor an atlas of networks that nilearn has or can fetch;"
            f" {suggest_atlas(reference)}known atlases: {', '.join(NILEARN_ATLASES)}"
        )
    elif NILEARN_ATLASES[reference].is_downloaded and open_archive(archive).forbids_network:
        yield (
            f"{problem}would be downloaded, but this run is offline; give the path of the atlas's NIfTI file (nilearn"
            " keeps it in ~/nilearn_data), or seitzman_2018, which comes with nilearn"
        )
