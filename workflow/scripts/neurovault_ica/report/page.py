"""Render the report from its templates, with its scripts and its security policy."""

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from neurovault_ica.archive.download_reasons import REASONS
from neurovault_ica.decomposition.summary import RULE
from neurovault_ica.report.text import (
    breakable,
    doi_address,
    format_number,
    keep_measures,
    percent,
    safe_address,
    shorten_text,
)
from neurovault_ica.runtime.files import package_file
from neurovault_ica.runtime.layers import read_file
from neurovault_ica.runtime.wording import counted, written_volume
from neurovault_ica.runtime.yaml_text import as_configured
from neurovault_ica.statistics.p_values import (
    LARGEST_P_CORRECTED,
    MOST_ROUNDS,
    SIGNIFICANT_Q,
    is_significant,
    written_q,
)
from neurovault_ica.statistics.permuted_collections import MIN_COLLECTIONS, MIN_LABEL_COLLECTIONS
from neurovault_ica.types import Row

TEMPLATE_FILES = [
    package_file("report/report.html.jinja"),
    package_file("report/component.html.jinja"),
    package_file("report/images.html.jinja"),
    package_file("report/macros.html.jinja"),
]
STYLE_FILE = package_file("report/report.css")
SCRIPT_FILES = [
    package_file("report/viewer.js"),
    package_file("report/surface_mesh.js"),
    package_file("report/surface.js"),
    package_file("report/search.js"),
    package_file("report/take.js"),
    package_file("report/notes.js"),
    package_file("report/report.js"),
]
DEFAULTS_FILE = package_file("../../../config.yaml")


def read_style() -> str:
    """Read the style sheet, which is embedded in the page."""
    return "\n" + STYLE_FILE.read_text(encoding="utf-8")


def read_scripts() -> list[str]:
    """Read the scripts, which are embedded in the page."""
    return ["\n" + file.read_text(encoding="utf-8") for file in SCRIPT_FILES]


def content_policy(scripts: Sequence[str]) -> str:
    """Return a content security policy that allows the page's own scripts (by hash), its style and embedded pictures.

    ``'self'`` and ``file:`` let the page try to load a picture of the run, to find out whether links to files work.
    ``file:`` is needed because Firefox does not count files beside a page on disk as ``'self'``.
    """
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts]
    allowed = " ".join(f"'sha256-{found}'" for found in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; img-src data: 'self' file:; style-src 'unsafe-inline';"
        " base-uri 'none'; form-action 'none'"
    )


def list_settings(settings: Mapping[str, Any]) -> list[Row]:
    """List the configuration, and compare each value with the default in the workflow's config.yaml.

    Returns
    -------
    list of dict
        ``key`` as in ``run_ica.n_components``, ``value`` and ``default`` as YAML, ``differs``.
    """
    defaults = read_file(DEFAULTS_FILE)
    rows = []
    for section, values in settings.items():
        known = defaults.get(section, {})
        pairs = (
            [(f"{section}.{key}", value, known.get(key)) for key, value in values.items()]
            if isinstance(values, Mapping)
            else [(section, values, known)]
        )
        for key, *both in pairs:
            value, default = (as_configured(one) for one in both)
            rows.append({"key": key, "value": value, "default": default, "differs": value != default})
    return rows


def render_page(settings: Mapping[str, Any], **contents: Any) -> str:
    """Render the page of a run with these settings. `contents` are the other variables of the templates."""
    scripts = read_scripts()
    return load_template(TEMPLATE_FILES[0].name).render(
        scripts=scripts,
        policy=content_policy(scripts),
        style=read_style(),
        settings=list_settings(settings),
        flags=settings["run_ica"]["flags"],
        threshold=settings["plot_components"]["threshold"],
        min_cluster_mm3=settings["plot_components"]["min_cluster_mm3"],
        n_permutations=settings["project_terms"]["n_permutations"],
        significant_q=SIGNIFICANT_Q,
        largest_p=LARGEST_P_CORRECTED,
        most_rounds=MOST_ROUNDS,
        min_collections=MIN_COLLECTIONS,
        min_label_collections=MIN_LABEL_COLLECTIONS,
        reason_texts=REASONS,
        rule=RULE[0].upper() + RULE[1:],
        **contents,
    )


@functools.cache
def load_template(name: str) -> jinja2.Template:
    """Load a template of this folder. Escaping is always on, and an undefined name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE_FILES[0].parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shorten": shorten_text,
        "breakable": breakable,
        "number": format_number,
        "measures": keep_measures,
        "percent": percent,
        "counted": counted,
        "volume": written_volume,
        "q": written_q,
        "address": safe_address,
        "doi_address": doi_address,
    }
    environment.tests["significant"] = is_significant
    return environment.get_template(name)
