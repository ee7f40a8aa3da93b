"""List the archives that ``archive.source`` can name. To add one, write its class in a new module and list it here."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from neurovault_ica.archive.base import Archive
from neurovault_ica.archive.demo import Demo
from neurovault_ica.archive.neurovault import NeuroVault
from neurovault_ica.archive.offline import Offline
from neurovault_ica.archive.own_table import OwnTable

ARCHIVES: dict[str, type[Archive]] = {kind.name: kind for kind in (Demo, NeuroVault, Offline, OwnTable)}


def open_archive(settings: Mapping[str, Any]) -> Archive:
    """Return the archive that the section ``archive`` of the configuration describes; nothing is read yet."""
    return ARCHIVES[settings["source"]](settings)


def find_contradictions(settings: Mapping[str, Any]) -> Iterator[str]:
    """Find keys of the section ``archive`` that contradict each other. Yield one line for each problem."""
    source = settings["source"]
    for name, kind in ARCHIVES.items():
        for key in kind.own_keys:
            value, is_own = settings[key], name == source
            if is_own != (value is not None):
                expected = "a value, because this source needs it" if is_own else f"null, because only {name} uses it"
                yield (
                    f"archive.{key}: {json.dumps(value)} is not valid with archive.source {source}; expected:"
                    f" {expected}"
                )
    yield from open_archive(settings).contradictions()
