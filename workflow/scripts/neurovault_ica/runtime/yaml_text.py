"""Write values in the syntax of the configuration, for messages and texts."""

import math
from collections.abc import Mapping
from typing import Any

import yaml


def as_configured(value: Any) -> str:
    """Write a value of the configuration as YAML on one line: ``[Z map, T map]``."""
    text = yaml.safe_dump(_plain(value), default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("...\n").rstrip()


def _plain(value: Any) -> Any:
    """Convert Snakemake's own mappings and lists to plain ones, because the YAML library can write only those."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
