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
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from neurovault_ica.archive.archive import ARCHIVES
from neurovault_ica.configuration.contradictions import find_mistakes
from neurovault_ica.images.criteria import quality_schema
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
    """Let the last layer replace each section in `REPLACED_WHOLE` as a whole, in place; see `lay_over`."""
    if layers:
        # Snakemake has merged --config with its numbers as text, so merge it again.
        merge(config, layers[-1])
    lay_over(config, layers, REPLACED_WHOLE)


def complete(config: Mapping[str, Any], defaults_file: str | Path) -> dict[str, Any]:
    """Return a copy of `config` with missing keys filled in from `defaults_file`, the config.yaml of this workflow.

    In paths, a ``~`` at the beginning becomes the home folder.
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
        File with the checksum of the last configuration that matched the schema. The same configuration is not compared
        with the schema again, because importing jsonschema would add a tenth of a second to every start.

    Raises
    ------
    ValueError
        With one line for each mistake: the key, the value found, and what is expected.
    """
    checksum = _checksum(config)
    # Compare bytes, because decoding a damaged file could fail.
    is_known = known_file is not None and known_file.is_file() and known_file.read_bytes() == checksum.encode()
    lines = [] if is_known else [*_schema_mistakes(config), *_find_nan(config)]
    if known_file is not None and not lines and not is_known:
        # If this file cannot be written, the next start takes slightly longer.
        with contextlib.suppress(OSError):
            known_file.parent.mkdir(exist_ok=True)
            known_file.write_text(checksum, encoding="utf-8")
    if not lines:
        lines = list(find_mistakes(config))
    if lines:
        raise ValueError("the configuration is not valid:\n" + "\n".join(f"  {line}" for line in lines))


def check_scan(section: Mapping[str, Any]) -> None:
    """Check that a scan of numbers of components can recommend one.

    Parameters
    ----------
    section : mapping
        Section ``run_ica`` of the configuration.

    Raises
    ------
    ValueError
        If nothing would show which components are reproduced across studies.
    """
    limits = {"n_bootstraps": "min_r_bootstraps", "n_splits": "min_r_split_half"}
    if any(section[number] and section["flags"][limit] is not None for number, limit in limits.items()):
        return
    found = [f"{number}: 0" if not section[number] else f"flags.{limit}: null" for number, limit in limits.items()]
    raise ValueError(
        "scan_components: these settings of run_ica leave nothing that shows which components are reproduced across"
        f" studies ({', '.join(found)}), so no number could be recommended; set n_bootstraps or n_splits above 0, and"
        " its limit in flags (in config.yaml: 20 and 10, 0.5 and 0.4)"
    )


def _checksum(config: Mapping[str, Any]) -> str:
    """Compute a checksum of the configuration and of everything that the schema is built from."""
    compared = repr((config, quality_schema(), list(ARCHIVES))).encode("utf-8", errors="backslashreplace")
    return hashlib.sha256(compared + SCHEMA_FILE.read_bytes()).hexdigest()


def _schema_mistakes(config: Mapping[str, Any]) -> list[str]:
    """Compare the configuration with the schema, and describe each mistake in one line."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    schema = read_file(SCHEMA_FILE)
    schema["properties"]["stack_images"]["properties"]["quality"] = quality_schema()
    *others, last = ARCHIVES
    source = {"description": f"{', '.join(others)} or {last}", "enum": list(ARCHIVES)}
    schema["properties"]["archive"]["properties"]["source"] = source
    # JSON Schema accepts 20.0 as an integer, but range(20.0) fails.
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator = extend(Draft202012Validator, type_checker=types)(schema)
    errors = sorted(validator.iter_errors(config), key=lambda error: [str(key) for key in error.path])
    places = list(_places_of_keys(schema))
    # A value can break two limits of one key, which are explained by the same line.
    return list(dict.fromkeys(line for error in errors for line in _explain(error, places)))


def _places_of_keys(schema: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """List all keys of the schema with their sections, such as run_ica and run_ica.n_components."""
    for key, inner in schema.get("properties", {}).items():
        yield _join(place, key)
        if isinstance(inner, Mapping):
            yield from _places_of_keys(inner, _join(place, key))


def _find_nan(value: Any, place: str = "") -> Iterator[str]:
    """Find values that are NaN. The schema accepts them, because NaN is neither below nor above any limit."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _find_nan(inner, _join(place, key))
    elif isinstance(value, float) and math.isnan(value):
        yield f"{place}: NaN is not valid; expected: a number"


def _explain(error: ValidationError, places: Sequence[str]) -> Iterator[str]:
    """Describe an error of the schema: one line for each key that is wrong, unknown or missing.

    `places` are all keys of the schema with their sections.
    """
    schema = cast(Mapping[str, Any], error.schema)
    found = cast(Any, error.instance)
    place = ".".join(str(key) for key in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(schema.get("properties", {}))
        for key in sorted(set(found) - set(known), key=str):
            name = str(key) if str(key).isprintable() else json.dumps(key)
            if place and found[key] is None and name.isdigit():
                yield f"{_join(place, name)}: unknown key; in braces, a comma ends a value: write 6.5 instead of 6,5"
            else:
                yield f"{_join(place, name)}: unknown key; {_suggest_key(str(key), known, places)}"
    elif error.validator == "required":
        for key in sorted(set(schema["required"]) - set(found)):
            yield f"{_join(place, key)}: this key is missing; see config.yaml for its default"
    else:
        value = json.dumps(found, default=str, ensure_ascii=False)
        value = value if value.isprintable() else json.dumps(found, default=str)
        is_whole = isinstance(found, float) and found.is_integer() and "integer" in schema.get("type", "")
        advice = f", without a decimal point: {found:.0f}" if is_whole else ""
        yield f"{place or 'the configuration'}: {value} is not valid; {_expected(error)}{advice}"


def _suggest_key(key: str, known: Sequence[str], places: Sequence[str]) -> str:
    """Suggest what to do about an unknown key: another spelling, or the section that it belongs to."""
    if not key.isprintable():
        return "it contains characters that are not visible, such as non-breaking spaces; type the line again"
    if key in places and "." in key:
        *sections, name = key.split(".")
        return f"write {': {'.join(sections)}: {{{name}: ...{'}' * len(sections)}"
    homes: dict[str, list[str]] = {}
    for section, _, name in (place.rpartition(".") for place in places):
        homes.setdefault(name, []).append(section)
    # A key of the same name in another section is a better guess than a similar name in this section. Case is ignored.
    spellings = {name.lower(): name for name in [*homes, *known]}
    near = difflib.get_close_matches(key.lower(), spellings, n=1)
    if not near:
        return f"choose one of: {', '.join(known)}"
    name = spellings[near[0]]
    if name in known:
        return f"did you mean {name}?"
    meant = "this key" if name == key else name
    return f"{meant} belongs below {' or '.join(filter(None, homes[name])) or 'no section'}"


def _join(place: str, key: Any) -> str:
    return f"{place}.{key}" if place else str(key)


def _expected(error: ValidationError) -> str:
    schema = cast(Mapping[str, Any], error.schema)
    if "description" in schema:
        return f"expected: {schema['description']}"
    return f"expected: {error.validator} {error.validator_value}"
