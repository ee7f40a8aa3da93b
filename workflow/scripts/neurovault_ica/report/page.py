"""The template of the page, its scripts and its security policy."""

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import yaml

from neurovault_ica.report.text import doi_address, format_number, format_q, percent, safe_address, shorten
from neurovault_ica.runtime.files import package_file
from neurovault_ica.runtime.yaml_text import as_configured
from neurovault_ica.statistics.p_values import is_significant
from neurovault_ica.types import Row

TEMPLATE_FILES = [
    package_file("report/report.html.jinja"),
    package_file("report/component.html.jinja"),
    package_file("report/images.html.jinja"),
    package_file("report/macros.html.jinja"),
]
STYLE_FILE = package_file("report/report.css")
SCRIPT_FILES = [package_file("report/viewer.js"), package_file("report/report.js")]
DEFAULTS_FILE = package_file("../../../config.yaml")


def read_style() -> str:
    """Read the page's style sheet, which stands in the page as it is."""
    return "\n" + STYLE_FILE.read_text(encoding="utf-8")


def read_scripts() -> list[str]:
    """Read the page's scripts, which stand in the page as they are."""
    return ["\n" + file.read_text(encoding="utf-8") for file in SCRIPT_FILES]


def content_policy(scripts: Sequence[str]) -> str:
    """Allow the page its own scripts, named by their hashes, its style and pictures inside it; nothing else."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts]
    allowed = " ".join(f"'sha256-{found}'" for found in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; img-src data:; style-src 'unsafe-inline'; base-uri 'none';"
        " form-action 'none'"
    )


def list_settings(settings: Mapping[str, Any]) -> list[Row]:
    """List the configuration, each value with whether the workflow's own config.yaml has another one.

    Returns
    -------
    list of dict
        ``key`` as in ``run_ica.n_components``, ``value`` and ``default`` as YAML, ``differs``.
    """
    defaults = yaml.safe_load(DEFAULTS_FILE.read_text(encoding="utf-8"))
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


@functools.cache
def make_template() -> jinja2.Template:
    """Load the page's template: escaping always on, an undefined name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE_FILES[0].parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shorten": shorten,
        "number": format_number,
        "percent": percent,
        "q": format_q,
        "address": safe_address,
        "doi_address": doi_address,
    }
    environment.tests["significant"] = is_significant
    return environment.get_template(TEMPLATE_FILES[0].name)
