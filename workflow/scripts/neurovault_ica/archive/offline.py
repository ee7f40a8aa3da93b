"""``source: offline``: a NeuroVault cache that is only read."""

from collections.abc import Iterator
from pathlib import Path

from neurovault_ica.archive.cached_archive import CachedArchive
from neurovault_ica.runtime.files import starting_folder


class Offline(CachedArchive):
    """An existing cache in nilearn's layout. Nothing is written into it, and no stage uses the network."""

    name = "offline"
    sentence = "were read from a local cache in the format of NeuroVault {gorgolewski2015neurovault}"
    rerun_note = "\nThe images were read from a NeuroVault cache on disk. Name yours: add DATA=path/to/it.\n"

    @property
    def forbids_network(self) -> bool:
        """Whether no stage of the run may fetch anything from the network: always."""
        return True

    def contradictions(self) -> Iterator[str]:
        """Report a missing cache."""
        meant = list(super().contradictions())
        yield from meant
        if not meant and not (Path(self.data_dir) / "neurovault").is_dir():
            found = "has no folder neurovault/" if Path(self.data_dir).is_dir() else "does not exist"
            yield (
                f"archive.data_dir: {self.data_dir}{starting_folder(self.data_dir)} {found}, so there is no NeuroVault"
                " cache; give the folder that contains neurovault/, as for nilearn's fetch_neurovault"
            )
