"""The archives that ``archive.source`` can name. A new one is a class in a module of its own and a line here."""

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
    """Say which keys of the section ``archive`` do not go together: one line for each problem."""
    source = settings["source"]
    for name, kind in ARCHIVES.items():
        for key in kind.own_keys:
            value = settings[key]
            if (name == source) != (value is not None):
                expected = "a value, which this source needs" if name == source else f"null, as only {name} uses it"
                yield (
                    f"archive.{key}: {json.dumps(value)} is not valid with archive.source {source}; expected:"
                    f" {expected}"
                )
    yield from open_archive(settings).contradictions()
