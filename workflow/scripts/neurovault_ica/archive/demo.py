"""``source: demo``: a small simulated NeuroVault with planted networks."""

from pathlib import Path
from typing import Any

from neurovault_ica.archive.cached_archive import CachedArchive


class Demo(CachedArchive):
    """The cache that the rule build_demo_archive writes."""

    name = "demo"
    is_demo = True
    sentence = (
        "were simulated: this is the workflow's demonstration, with planted networks, in the format of NeuroVault"
        " {gorgolewski2015neurovault}; its results say nothing about brains"
    )
    rerun_note = "\nThe images are simulated by the workflow itself.\n"

    @property
    def data_dir(self) -> str:
        """Folder that build_demo_archive writes. The configured data_dir is not used."""
        return "results/build_demo_archive/archive"

    @property
    def identity_keys(self) -> tuple[str, ...]:
        """No keys: there is only one demo."""
        return ()

    @property
    def label(self) -> str:
        """Name of the archive in the report and in messages."""
        return "the simulated archive"

    @property
    def may_write(self) -> bool:
        """Whether resampled copies may be written beside the images: yes, unless the run is offline."""
        return not self.forbids_network

    def moved(self, base: Path, data: Path | None) -> dict[str, Any]:
        """Change nothing: a rerun simulates the archive again."""
        return {}
