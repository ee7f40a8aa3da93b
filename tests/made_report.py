"""A report of synthetic tables, hostile texts for it, and a parser of the page."""

import functools
import os
import re
from html.parser import HTMLParser
from unittest.mock import patch

import nibabel as nib
import numpy as np
from conftest import ROOT
from neurovault_ica.figures.slices import Box
from neurovault_ica.images.cortex import Cortex
from neurovault_ica.images.maps import Volume
from neurovault_ica.images.surface_files import write_mesh
from neurovault_ica.naming.names import Candidate, apply_own_names, name_components
from neurovault_ica.report.page import TEMPLATE_FILES
from neurovault_ica.runtime.files import write_json
from neurovault_ica.runtime.layers import read_file
from neurovault_ica.runtime.tables import column_names, write_table
from PIL import Image
from render_report import main

HOSTILE = [
    '<script>alert("x")</script>',
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</bdi></td></table><iframe src='https://evil.example'></iframe>",
    "{{ settings }}{% raw %}",
    "$\\frac{1}{2}$ &amp; &lt;b&gt;",
    "\u202eright to left\u2066",
    "שלום <b>عالم</b>",
    "y" * 1500,  # long, but not long enough for write_table to cut it
    "--><style>*{display:none}</style>",
]
# An eighth of the real brain's volume, so that it is made and packed quickly.
BOX = Box((-30, -40, -20), (30, 40, 30))
GRID_MM = 2
SPACE = "space-MNI152NLin2009aSym_res-2_desc-ICA"
METHODS = """# Methods

**Data.** 3 images of 2 collections.

## References

- Hyvärinen, Aapo (1999). Fast ICA. https://doi.org/10.1109/72.761722

references.bib has these.
"""
PEAKS = {
    "ICA_00": [((-10, 12, 6), 9.5), ((14, -20, 10), -6.0)],
    "ICA_01": [((0, 20, -8), 8.0)],
}
# The figures that the templates ask for.
TEMPLATES = "".join(file.read_text() for file in TEMPLATE_FILES)
FIGURES = re.findall(r'call figure\("(\w+)"', TEMPLATES)
COMPONENT_FIGURES = re.findall(r'call component_figure\(component, "(\w+)"', TEMPLATES)
ALWAYS_SHOWN = [name for name in COMPONENT_FIGURES if name != "mixture"]
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Collect elements, attributes and text, and check that elements are nested correctly."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.texts, self.isolated = [], [], [], []
        # A <wbr> is a place for a line break in a long word.
        self.feed(text.replace("<wbr>", ""))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.texts.append(data)
        if self.open and self.open[-1] == "bdi":
            self.isolated.append(data)

    def names(self):
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


@functools.cache
def made_template(_=None):
    """Make a template at 1 mm: an ellipsoid of uniform grey."""
    ticks = [np.arange(low, high + 1) for low, high in zip(BOX.low, BOX.high, strict=True)]
    mm = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1)
    radius = np.linalg.norm((mm - (0, 0, 5)) / (30, 40, 25), axis=-1)
    affine = np.eye(4)
    affine[:3, 3] = BOX.low
    return Volume(np.where(radius <= 1, 0.6, 0).astype(np.float32), affine), BOX


def save_maps(folder):
    """Save maps with the peaks of `PEAKS` and their mask on a grid of 2 mm; return the paths."""
    ticks = [np.arange(low, high + 1, GRID_MM) for low, high in zip(BOX.low, BOX.high, strict=True)]
    mm = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1)
    maps = np.zeros((*mm.shape[:3], len(PEAKS)), np.float32)
    for number, peaks in enumerate(PEAKS.values()):
        for place, value in peaks:
            maps[..., number] += value * np.exp(-((mm - place) ** 2).sum(axis=-1) / (2 * 5**2))
    inside = (np.abs(mm / (26, 36, 24)) < 1).all(axis=-1)
    affine = np.diag([GRID_MM, GRID_MM, GRID_MM, 1.0])
    affine[:3, 3] = BOX.low
    names = (f"run_ica/{SPACE}_components.nii.gz", "stack_images/mask.nii.gz")
    for name, data in zip(names, (maps * inside[..., None], inside.astype(np.uint8)), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, affine), folder / name)
    return [str(folder / name) for name in names]


def made_cortex():
    """Make a cortex of two ellipsoids of 1026 vertices, with a wall in the middle of the head and stripes of sulci."""
    points = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1)], dtype=float)
    faces = np.array([(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)])
    for _ in range(4):
        edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]], axis=2)
        pairs, number = np.unique(edges.reshape(-1, 2), axis=0, return_inverse=True)
        a, b, c = faces.T
        ab, bc, ca = len(points) + number.reshape(-1, 3).T
        faces = np.concatenate([np.stack(one, axis=1) for one in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
        middles = points[pairs].mean(axis=1)
        points = np.concatenate([points, middles / np.linalg.norm(middles, axis=1, keepdims=True)])
    both = np.concatenate([points, points])
    is_left = np.arange(len(both)) < len(points)
    centre = np.where(is_left[:, None], (-13, 0, 4), (13, 0, 4))
    pial, white = (centre + both * size for size in ((11, 28, 17), (9, 25, 14)))
    is_cortex = np.where(is_left, both[:, 0] < 0.9, both[:, 0] > -0.9)
    floats = (one.astype(np.float32) for one in (pial, white, both * (40, 105, 70), np.sin(9 * both[:, 1])))
    return Cortex(*floats, is_cortex, faces.astype(np.int32))


def save_cortex(path):
    write_mesh(str(path), made_cortex())
    return str(path)


def save_glass(path):
    """Save glass brains of two images, a positive one and a negative one."""
    outline = np.zeros((8, 20), bool)
    outline[2:6, 2:18] = True
    pictures = [np.where(outline, code, 0).astype(np.int8) for code in (127, -127)]
    np.savez(path, image_ids=[70, 80], pictures=pictures, outline=outline)
    return str(path)


@patch("render_report.read_template", made_template)
def build_report(
    folder,
    *,
    word=str,
    address="https://neurovault.org/images/1/",
    recovery=True,
    changes=None,
    tested=True,
    networks=False,
    mixtures=False,
    surfaces=False,
    scan=None,
    own=None,
    n_rejected=2,
    r_bootstraps=(0.83, 0.31),
):
    """Render a page of 3 images, 2 collections and 2 components; `word` changes texts of the archive.

    `scan` is the advice of a scan of numbers of components, and `own` has a person's names by component.
    """

    def table(place, rows, columns=()):
        names = [*columns] or column_names(folder / f"{place}.tsv")
        write_table(folder / f"{place}.tsv", [dict.fromkeys(names) | row for row in rows], columns)
        return str(folder / f"{place}.tsv")

    def made_file(place, text):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
        return str(folder / place)

    places: list[str] = []

    def picture(place):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        # Widths differ, because Chromium stores equal pictures only once in a PDF.
        Image.new("RGBA", (60 + len(places), 40), (200, 30, 30, 255)).save(folder / place)
        places.append(place)
        return str(folder / place)

    def q_of(label, rank):
        """Return q so that only the first two terms of ICA_00 are significant."""
        return min(1.0, 0.0004 * 60 ** (rank - 1)) if tested and label == "ICA_00" else 1.0 if tested else None

    labels = list(PEAKS)
    candidates = [
        Candidate(label, word(f"{label} term {rank}"), 2.0 / rank, q_of(label, rank))
        for label in labels
        for rank in range(1, 13)
    ]
    maps, mask = save_maps(folder)
    studies = [
        {"collection_id": 7, "name": word("Study seven"), "authors": word("A. Author"), "DOI": word("10.1000/a")},
        {"collection_id": 8, "name": word("Study eight")},
    ]
    images = [
        {
            "row": row, "image_id": 70 + row, "name": word(f"map {row}"), "collection_id": 7 if row < 2 else 8,
            "collection_name": word("Study"), "map_type": word("Z map"), "url": address, "number_of_subjects": 20,
            "cognitive_paradigm_cogatlas": word("n-back task"),
        }
        for row in range(3)
    ]  # fmt: skip
    loadings = [{"ICA_00": 0.9, "ICA_01": 0.1}, {"ICA_00": 0.3, "ICA_01": -0.8}, {"ICA_00": 0.1, "ICA_01": 0.7}]
    decomposition = {
        "n_components": 2, "n_images": 3, "n_voxels": 12345, "n_iter": 9, "converged": True, "max_iter": 500,
        "algorithm": "fastica", "algorithm_label": "FastICA", "iteration": "iteration", "is_orthogonal": True,
        "n_restarts": 20, "n_restarts_converged": 20, "n_effective_collections": 1.6,
        "n_bootstraps": 20, "n_bootstraps_used": 17, "n_splits": 10, "variance_explained": 0.625,
        "flags": {"min_grey_matter_share": 0.45, "max_outside_tissue_share": None, "max_rim_share": 0.25},
        "tissue_shares_of_mask": {"grey_matter": 0.529, "outside_tissue": 0.023, "rim": 0.129},
    } | (changes or {})  # fmt: skip
    write_json(folder / "run_ica/desc-ICA_decomposition.json", decomposition)
    os.utime(folder / "run_ica/desc-ICA_decomposition.json", (0, 1_700_000_000))
    settings = read_file(ROOT / "config.yaml")
    settings["archive"]["data_dir"] = word("elsewhere")
    if mixtures:
        settings["plot_components"]["threshold"] = {"mixture": 0.5}
    report = folder / "render_report/report.html"
    main(
        selection=table(
            "fetch_metadata/selection",
            [{"step": 0, "level": "image", "criterion": word("modality"), "tested": 9, "dropped": 4, "kept": 5}],
        ),
        collections=table("fetch_metadata/collections", [study | {"url": address} for study in studies]),
        term_status=[
            table("fetch_terms/status-0", [{"image_id": 70, "terms": 3}, {"image_id": 71, "terms": 2}]),
            table("fetch_terms/status-1", [{"image_id": 72, "terms": 0, "reason": "malformed"}]),
        ],
        images=table("stack_images/images", images),
        rejected=table(
            "stack_images/rejected",
            [
                {
                    "image_id": 80,
                    "name": word("refused map"),
                    "reason": "thresholded",
                    "value": word("0.83"),
                    "threshold": word("0.6"),
                    "stage": "stack_images",
                    "collection_id": 8,
                    "url": address,
                    "collection_name": word("Study eight"),
                },
                *(
                    {"image_id": 80 + row, "reason": "missing_file", "stage": "download_images", "collection_id": 8}
                    for row in range(1, n_rejected)
                ),
            ],
        ),
        variance=table(
            "reduce_images/variance",
            [{"principal_component": 0, "eigenvalue": 2.5, "variance_explained": 0.5, "kept": True}],
        ),
        stability=table(
            "run_ica/desc-ICA_stability",
            [
                {"component": label, "variance_explained": 0.3, "iq_restarts": iq, "r_restarts": iq}
                | {"r_bootstraps": r, "chance_r_bootstraps": None if r is None else 0.2, "r_split_half": iq - 0.2}
                | {"effective_collections": 1.6, "largest_collection_id": 7, "largest_collection_share": share}
                | {"grey_matter_share": 0.62, "outside_tissue_share": 0.02, "rim_share": 0.31}
                | {"flags": flags}
                for label, iq, r, share, flags in zip(
                    labels,
                    (0.93, 0.41),
                    r_bootstraps,
                    (0.8, 0.7),
                    (None, "start_dependent,not_reproduced,one_collection,not_grey_matter"),
                    strict=True,
                )
            ],
        ),
        top_images=table(
            "run_ica/desc-ICA_images",
            [
                {"component": "ICA_00", "sign": "positive", "rank": row + 1, "loading": loadings[row]["ICA_00"]}
                | {"share": 0.3, "image_id": 70 + row, "name": word(f"map {row}"), "collection_id": 7, "url": address}
                | {"collection_name": word("Study seven")}
                for row in range(3)
            ],
        ),
        top_collections=table(
            "run_ica/desc-ICA_collections",
            [
                {"component": "ICA_00", "rank": 1, "collection_id": 7, "share": 0.8, "images": 2}
                | {"mean_loading": 0.6, "name": word("Study seven"), "url": address}
            ],
        ),
        decomposition=str(folder / "run_ica/desc-ICA_decomposition.json"),
        mixing=table(
            "run_ica/desc-ICA_mixing",
            [{"image_id": 70 + row, **loading} for row, loading in enumerate(loadings)],
            ["image_id", *labels],
        ),
        terms=table(
            "project_terms/desc-ICA_terms",
            [
                {"component": label, "term": term, "rank": 1 + number % 12, "weight": weight}
                | {"q": q, "images": 2, "collections": 1}
                for number, (label, term, weight, q, _) in enumerate(candidates)
            ],
        ),
        vocabulary=table(
            "project_terms/vocabulary",
            [{"term": word(f"word {k}"), "mean_weight": 0.2, "images": 2} for k in range(12)],
        ),
        enrichment=table(
            "project_terms/desc-ICA_enrichment",
            [
                {
                    "component": "ICA_00",
                    "field": "cognitive_paradigm_cogatlas",
                    "label": word("n-back task"),
                    "images": 2,
                    "collections": 1,
                    "mean_loading": 0.5,
                    "difference": 0.4,
                    "q": 0.0312 if tested else None,
                },
                # This label is not tested, because too few collections have its field.
                {
                    "component": "ICA_00",
                    "field": "cognitive_contrast_cogatlas",
                    "label": "rare label",
                    "images": 2,
                    "collections": 1,
                    "mean_loading": 0.2,
                    "difference": 0.1,
                    "q": None,
                },
            ],
        ),
        map_terms=table(
            "project_terms/desc-ICA_termmaps",
            [
                {"component": label, "term": word(term), "rank": rank, "r": r, "images": 3, "collections": 2}
                | {"q": q if tested else None}
                for label in labels
                for rank, (term, r, q) in enumerate([("term map", 0.61, 0.003), ("other map", -0.2, 1.0)], 1)
                if label == "ICA_00"
            ],
        ),
        names=table(
            "project_terms/desc-ICA_names",
            apply_own_names(name_components(labels, {"terms": candidates}, ["terms"]), own or {}),
        ),
        maps=maps,
        mask=mask,
        template="made",
        figures=[picture(f"plot_components/{label}.png") for label in labels],
        thumbnails=[picture(f"plot_components/{label}_thumbnail.png") for label in labels],
        thresholds=table(
            "plot_components/desc-ICA_thresholds",
            [{"component": label, "threshold": 1.5, "negative_threshold": 2.5, "brightest": 9.0} for label in labels],
        ),
        thresholded=str(folder / f"plot_components/{SPACE}_thresholded.nii.gz"),
        peaks=table(
            "plot_components/desc-ICA_peaks",
            [
                {"component": "ICA_00", "peak": str(order + 1)}
                | dict(zip("xyz", place, strict=True))
                | {"value": value, "volume_mm3": 80, "region": word("Insula")}
                for order, (place, value) in enumerate(PEAKS["ICA_00"] + [((0, 0, k), 2.0) for k in range(30)])
            ],
        ),
        glass=save_glass(folder / "glass_brains.npz"),
        networks=table(
            "match_networks/desc-ICA_networks",
            [
                {"component": label, "best_network": word(name), "best_r": 0.71, "best_positive_r": 0.76}
                | {"best_one_signed": name == "visual"}
                | {"best_q": q, "matched_network": word("visual"), "matched_r": 0.6, "matched_q": 0.3}
                for label, name, q in zip(labels, ("visual", "default mode"), (0.002, 0.2), strict=True)
            ],
        )
        if networks
        else [],
        network_figures=[picture(f"match_networks/{label}.png") for label in labels] if networks else [],
        surface_figures=[picture(f"plot_surfaces/{label}.png") for label in labels] if surfaces else [],
        surface_views=[picture(f"plot_surfaces/{label}_surface.png") for label in labels] if surfaces else [],
        glass_brains=[picture(f"plot_surfaces/{label}_glass.png") for label in labels] if surfaces else [],
        hemispheres=[str(folder / f"plot_surfaces/hemi-{side}.func.gii") for side in "LR"] if surfaces else [],
        mesh=save_cortex(folder / "plot_surfaces/fsaverage5.npz") if surfaces else [],
        run=made_file(
            "write_lock/run.json",
            '{"software": {"python": "3.12.1", "packages": {"numpy": "2.0"}, "system": "Linux", "machine": "x86_64"}}',
        ),
        methods=made_file("write_lock/methods.md", METHODS),
        references=made_file("write_lock/references.bib", f"@misc{{a,\n  title = {{{word('A title')}}},\n}}\n"),
        recovery=table(
            "check_demo/recovery",
            [{"kind": "network", "id": word("visual"), "abs_r": 0.97, "passed": True, "found": "ICA_00"}],
        )
        if recovery
        else [],
        report=str(report),
        settings=settings,
        scan=[
            made_file("scan_components/orders.tsv", ""),
            picture("scan_components/orders.png"),
            made_file("scan_components/advice.txt", scan),
        ]
        if scan
        else [],
        **{f"{name}_figure": picture(f"{name}.png") for name in FIGURES},
        **{
            f"{name}_figures": [
                picture(f"plot_components/{label}_{name}.png") for label in labels if name != "mixture" or mixtures
            ]
            for name in COMPONENT_FIGURES
        },
    )
    return report
