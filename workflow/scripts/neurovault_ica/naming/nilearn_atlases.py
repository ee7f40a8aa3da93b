"""The atlases that nilearn has or can fetch as reference networks.

Snakemake imports this module while it reads the Snakefile, so it imports only the standard library.
"""

import difflib
import string
from collections.abc import Mapping
from typing import Any, NamedTuple


class Atlas(NamedTuple):
    """How to fetch an atlas: ``nilearn.datasets.<fetcher>(**arguments)[key]``."""

    fetcher: str
    arguments: Mapping[str, Any]
    work: str  # the work to cite, a key of software.bib
    key: str = "maps"
    names: tuple[str, ...] = ()  # of its maps, if nilearn gives none
    is_downloaded: bool = True  # otherwise it comes with nilearn


# Smith et al. 2009 (doi:10.1073/pnas.0905267106), Figure 1.
SMITH_NAMES = (
    "1 visual, medial", "2 visual, occipital pole", "3 visual, lateral", "4 default mode", "5 cerebellum",
    "6 sensorimotor", "7 auditory", "8 executive control", "9 frontoparietal", "10 frontoparietal",
)  # fmt: skip
YEO, DADI, BELLEC, SCHAEFER = "yeo2011organization", "dadi2020difumo", "bellec2010basc", "schaefer2018parcellation"
# Networks and functional parcellations. Anatomical atlases are left out. Parcellations with a thousand parcels are left
# out too, because some parcel would always match.
NILEARN_ATLASES = {
    "seitzman_2018": Atlas("fetch_coords_seitzman_2018", {}, "seitzman2020functional", key="rois", is_downloaded=False),
    **{
        f"smith_2009_{kind}{dimension}": Atlas(
            "fetch_atlas_smith_2009",
            {"resting": kind == "rsn", "dimension": dimension},
            "smith2009networks",
            names=SMITH_NAMES if dimension == 10 else (),
        )
        for kind in ("rsn", "bm")
        for dimension in (10, 20, 70)
    },
    "allen_2011": Atlas("fetch_atlas_allen_2011", {}, "allen2011baseline", key="rsn28"),
    "msdl": Atlas("fetch_atlas_msdl", {}, "varoquaux2011msdl"),
    **{f"difumo_{n}": Atlas("fetch_atlas_difumo", {"dimension": n, "resolution_mm": 3}, DADI) for n in (64, 128, 256)},
    **{f"yeo_2011_{n}": Atlas("fetch_atlas_yeo_2011", {"n_networks": n, "thickness": "thick"}, YEO) for n in (7, 17)},
    **{
        f"basc_2015_{n}": Atlas("fetch_atlas_basc_multiscale_2015", {"resolution": n, "version": "sym"}, BELLEC)
        for n in (7, 12, 20, 36)
    },
    **{
        f"schaefer_2018_{n}": Atlas("fetch_atlas_schaefer_2018", {"n_rois": n, "resolution_mm": 2}, SCHAEFER)
        for n in (100, 200, 300, 400)
    },
}


def suggest_atlas(name: str) -> str:
    """Suggest known atlases for an unknown name, as the beginning of a sentence; empty if none is similar."""
    given = name.lower()
    family = given.rstrip(string.digits)
    siblings = [known for known in NILEARN_ATLASES if known.rstrip(string.digits) == family]
    # With another number at the end, the closest spelling is no better than its siblings.
    if siblings and family != given:
        return f"this atlas is available as {', '.join(siblings)}; "
    # People leave out the year and the size: yeo is yeo_2011_7.
    near = [known for known in NILEARN_ATLASES if known.startswith(given)]
    near = near or difflib.get_close_matches(given, NILEARN_ATLASES, n=1)
    return f"did you mean {near[0]}? " if near else ""
