"""Which atlases nilearn can fetch as reference networks, and how the names of an atlas's regions are read.

Snakemake imports this while it reads the Snakefile, so the standard library is all that it needs.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Source(NamedTuple):
    """How nilearn gets an atlas: ``nilearn.datasets.<fetcher>(**arguments)[key]``."""

    fetcher: str
    arguments: Mapping[str, Any]
    work: str  # to cite, a key of software.bib
    key: str = "maps"
    names: tuple[str, ...] = ()  # of its maps, where nilearn has none


# Smith et al. 2009 (doi:10.1073/pnas.0905267106), Figure 1.
SMITH_NAMES = (
    "1 visual, medial", "2 visual, occipital pole", "3 visual, lateral", "4 default mode", "5 cerebellum",
    "6 sensorimotor", "7 auditory", "8 executive control", "9 frontoparietal", "10 frontoparietal",
)  # fmt: skip
YEO, DADI, BELLEC, SCHAEFER = "yeo2011organization", "dadi2020difumo", "bellec2010basc", "schaefer2018parcellation"
# Networks and functional parcels. Anatomical atlases are none, and parcels by the thousand match anything.
NILEARN_ATLASES = {
    **{
        f"smith_2009_{kind}{dimension}": Source(
            "fetch_atlas_smith_2009",
            {"resting": kind == "rsn", "dimension": dimension},
            "smith2009networks",
            names=SMITH_NAMES if dimension == 10 else (),
        )
        for kind in ("rsn", "bm")
        for dimension in (10, 20, 70)
    },
    "allen_2011": Source("fetch_atlas_allen_2011", {}, "allen2011baseline", key="rsn28"),
    "msdl": Source("fetch_atlas_msdl", {}, "varoquaux2011msdl"),
    **{f"difumo_{n}": Source("fetch_atlas_difumo", {"dimension": n, "resolution_mm": 3}, DADI) for n in (64, 128, 256)},
    **{f"yeo_2011_{n}": Source("fetch_atlas_yeo_2011", {"n_networks": n, "thickness": "thick"}, YEO) for n in (7, 17)},
    **{
        f"basc_2015_{n}": Source("fetch_atlas_basc_multiscale_2015", {"resolution": n, "version": "sym"}, BELLEC)
        for n in (7, 12, 20, 36)
    },
    **{
        f"schaefer_2018_{n}": Source("fetch_atlas_schaefer_2018", {"n_rois": n, "resolution_mm": 2}, SCHAEFER)
        for n in (100, 200, 300, 400)
    },
}
