"""Write what a rerun and a paper need: images with hashes, versions, a methods paragraph, references.

Nothing here depends on when or by whom the workflow is run: the same results give the same files.
"""

import hashlib
import importlib.metadata
import json
import logging
import platform
import re
import unicodedata
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np  # noqa: F401  (loads the BLAS library whose version is written)
from lock import lock_row
from outputs import read_table, replacing, write_json, write_table
from stage_log import log_to
from threadpoolctl import threadpool_info

Row = dict[str, Any]

PACKAGES = (
    "snakemake", "nilearn", "scikit-learn", "nibabel", "numpy", "scipy", "pandas", "matplotlib", "pillow", "jinja2",
    "threadpoolctl",
)  # fmt: skip

SOFTWARE_VERSION = "0.1.0"

# Key: how it is cited in the text, and its BibTeX fields.
SOFTWARE: dict[str, tuple[str, str, dict[str, str]]] = {
    "gorgolewski2015neurovault": (
        "Gorgolewski et al. 2015",
        "article",
        {
            "author": "Gorgolewski, Krzysztof J. and Varoquaux, Gael and Rivera, Gabriel and Schwarz, Yannick and"
            " Ghosh, Satrajit S. and Maumet, Camille and Sochat, Vanessa V. and Nichols, Thomas E. and Poldrack,"
            " Russell A. and Poline, Jean-Baptiste and Yarkoni, Tal and Margulies, Daniel S.",
            "title": "{NeuroVault.org}: a web-based repository for collecting and sharing unthresholded statistical"
            " maps of the human brain",
            "journal": "Frontiers in Neuroinformatics",
            "volume": "9",
            "pages": "8",
            "year": "2015",
            "doi": "10.3389/fninf.2015.00008",
        },
    ),
    "yarkoni2011neurosynth": (
        "Yarkoni et al. 2011",
        "article",
        {
            "author": "Yarkoni, Tal and Poldrack, Russell A. and Nichols, Thomas E. and Van Essen, David C. and Wager,"
            " Tor D.",
            "title": "Large-scale automated synthesis of human functional neuroimaging data",
            "journal": "Nature Methods",
            "volume": "8",
            "pages": "665--670",
            "year": "2011",
            "doi": "10.1038/nmeth.1635",
        },
    ),
    "hyvarinen1999fastica": (
        "Hyvärinen 1999",
        "article",
        {
            "author": "Hyvärinen, Aapo",
            "title": "Fast and robust fixed-point algorithms for independent component analysis",
            "journal": "IEEE Transactions on Neural Networks",
            "volume": "10",
            "number": "3",
            "pages": "626--634",
            "year": "1999",
            "doi": "10.1109/72.761722",
        },
    ),
    "himberg2004icasso": (
        "Himberg et al. 2004",
        "article",
        {
            "author": "Himberg, Johan and Hyvärinen, Aapo and Esposito, Fabrizio",
            "title": "Validating the independent components of neuroimaging time series via clustering and"
            " visualization",
            "journal": "NeuroImage",
            "volume": "22",
            "number": "3",
            "pages": "1214--1222",
            "year": "2004",
            "doi": "10.1016/j.neuroimage.2004.03.027",
        },
    ),
    "haufe2014interpretation": (
        "Haufe et al. 2014",
        "article",
        {
            "author": "Haufe, Stefan and Meinecke, Frank and Görgen, Kai and Dähne, Sven and Haynes, John-Dylan and"
            " Blankertz, Benjamin and Bießmann, Felix",
            "title": "On the interpretation of weight vectors of linear models in multivariate neuroimaging",
            "journal": "NeuroImage",
            "volume": "87",
            "pages": "96--110",
            "year": "2014",
            "doi": "10.1016/j.neuroimage.2013.10.067",
        },
    ),
    "fonov2011template": (
        "Fonov et al. 2011",
        "article",
        {
            "author": "Fonov, Vladimir and Evans, Alan C. and Botteron, Kelly and Almli, C. Robert and McKinstry,"
            " Robert C. and Collins, D. Louis and {the Brain Development Cooperative Group}",
            "title": "Unbiased average age-appropriate atlases for pediatric studies",
            "journal": "NeuroImage",
            "volume": "54",
            "number": "1",
            "pages": "313--327",
            "year": "2011",
            "doi": "10.1016/j.neuroimage.2010.07.033",
        },
    ),
    "pedregosa2011scikitlearn": (
        "Pedregosa et al. 2011",
        "article",
        {
            "author": "Pedregosa, Fabian and Varoquaux, Gaël and Gramfort, Alexandre and Michel, Vincent and Thirion,"
            " Bertrand and Grisel, Olivier and Blondel, Mathieu and Prettenhofer, Peter and Weiss, Ron and Dubourg,"
            " Vincent and Vanderplas, Jake and Passos, Alexandre and Cournapeau, David and Brucher, Matthieu and "
            " Perrot, Matthieu and Duchesnay, Édouard",
            "title": "Scikit-learn: machine learning in {Python}",
            "journal": "Journal of Machine Learning Research",
            "volume": "12",
            "pages": "2825--2830",
            "year": "2011",
            "url": "https://jmlr.org/papers/v12/pedregosa11a.html",
        },
    ),
    "abraham2014nilearn": (
        "Abraham et al. 2014",
        "article",
        {
            "author": "Abraham, Alexandre and Pedregosa, Fabian and Eickenberg, Michael and Gervais, Philippe and "
            " Mueller, Andreas and Kossaifi, Jean and Gramfort, Alexandre and Thirion, Bertrand and Varoquaux, Gaël",
            "title": "Machine learning for neuroimaging with scikit-learn",
            "journal": "Frontiers in Neuroinformatics",
            "volume": "8",
            "pages": "14",
            "year": "2014",
            "doi": "10.3389/fninf.2014.00014",
        },
    ),
    "moelder2021snakemake": (
        "Mölder et al. 2021",
        "article",
        {
            "author": "Mölder, Felix and Jablonski, Kim Philipp and Letcher, Brice and Hall, Michael B. and"
            " Tomkins-Tinch, Christopher H. and Sochat, Vanessa and Forster, Jan and Lee, Soohyun and Twardziok,"
            " Sven O. and Kanitz, Alexander and Wilm, Andreas and Holtgrewe, Manuel and Rahmann, Sven and Nahnsen, Sven"
            " and Köster, Johannes",
            "title": "Sustainable data analysis with {Snakemake}",
            "journal": "F1000Research",
            "volume": "10",
            "pages": "33",
            "year": "2021",
            "doi": "10.12688/f1000research.29032.2",
        },
    ),
    "harris2020numpy": (
        "Harris et al. 2020",
        "article",
        {
            "author": "Harris, Charles R. and Millman, K. Jarrod and {van der Walt}, Stéfan J. and others",
            "title": "Array programming with {NumPy}",
            "journal": "Nature",
            "volume": "585",
            "pages": "357--362",
            "year": "2020",
            "doi": "10.1038/s41586-020-2649-2",
        },
    ),
    "virtanen2020scipy": (
        "Virtanen et al. 2020",
        "article",
        {
            "author": "Virtanen, Pauli and Gommers, Ralf and Oliphant, Travis E. and others",
            "title": "{SciPy} 1.0: fundamental algorithms for scientific computing in {Python}",
            "journal": "Nature Methods",
            "volume": "17",
            "pages": "261--272",
            "year": "2020",
            "doi": "10.1038/s41592-019-0686-2",
        },
    ),
}

# BibTeX counts braces even behind a backslash, so those become commands; @ would start an entry inside a comment.
ESCAPED = {
    "\\": r"{\textbackslash}",
    "{": r"{\textbraceleft}",
    "}": r"{\textbraceright}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"{\textasciicircum}",
    "~": r"{\textasciitilde}",
    "@": r"{\char64}",
}


def lock_rows(
    selection: Iterable[Row],
    collections: Iterable[Row],
    downloads: Iterable[Row],
    terms: Iterable[Row],
    used: set[int],
) -> list[Row]:
    """Join what a rerun must know of each selected image, by id."""
    files = {row["image_id"]: row for row in downloads}
    studies = {row["collection_id"]: row for row in collections}
    terms_of = {row["image_id"]: row for row in terms}
    return [
        lock_row(
            image,
            studies[image["collection_id"]],
            files[image["image_id"]],
            terms_of[image["image_id"]],
            used=image["image_id"] in used,
            software_version=SOFTWARE_VERSION,
        )
        for image in sorted(selection, key=lambda row: (row["collection_id"], row["image_id"]))
    ]


def sha256_of(path: str | Path) -> str:
    """Hash a file."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def environment() -> dict[str, Any]:
    """Tell what the numbers were computed with."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "libraries": sorted(
            f"{library['internal_api']} {library['version']} ({library.get('architecture', 'any')})"
            for library in threadpool_info()
        ),
        "system": platform.system(),
        "machine": platform.machine(),
    }


def clean_doi(text: str | None) -> str | None:
    """Return the bare DOI in `text`, or None; ``doi:`` and resolver addresses are cut off."""
    found = re.search(r"10\.\d{4,9}/\S+", urllib.parse.unquote(text or ""))
    # Braces, backslashes and the like are legal in a DOI but not in BibTeX; percent-encoded they still resolve.
    return urllib.parse.quote(found.group().rstrip(".,;"), safe="/:;()._-") if found else None


def escape_bibtex(text: str) -> str:
    """Make any text safe inside a BibTeX field in braces."""
    shown = (character for character in " ".join(text.split()) if not unicodedata.category(character).startswith("C"))
    return "".join(ESCAPED.get(character, character) for character in shown)


def bibtex_entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """Format one entry; the values are already safe."""
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def collection_entries(collections: Iterable[Row], n_used: Mapping[int, int]) -> tuple[list[str], list[str]]:
    """Write an entry for each DOI of the contributing collections, and a comment for each collection without one.

    Several collections may belong to one paper; they share its entry.
    """
    papers: dict[str, list[Row]] = {}
    without = []
    for collection in sorted(collections, key=lambda row: row["collection_id"]):
        count = n_used.get(collection["collection_id"], 0)
        doi = clean_doi(collection["DOI"]) or clean_doi(collection["preprint_DOI"])
        if count and doi:
            papers.setdefault(doi.lower(), []).append(collection | {"doi": doi})
        elif count:
            name = escape_bibtex(collection["name"] or "")
            without.append(f"% NeuroVault collection {collection['collection_id']}, {_count(count, 'image')}: {name}")
    entries = []
    for group in papers.values():
        first = group[0]
        numbers = ", ".join(str(collection["collection_id"]) for collection in group)
        fields = {
            "author": bibtex_authors(first["authors"]),
            "title": "{" + escape_bibtex(first["name"] or f"NeuroVault collection {first['collection_id']}") + "}",
            "journal": escape_bibtex(first["journal_name"] or ""),
            "doi": first["doi"],
            "note": f"NeuroVault collection{'s' if len(group) > 1 else ''} {numbers}",
        }
        kind = "article" if fields["journal"] else "misc"
        entries.append(bibtex_entry(kind, f"neurovault{first['collection_id']}", fields))
    return entries, without


def bibtex_authors(text: str | None) -> str:
    """Turn NeuroVault's ``A, B and C`` into BibTeX's ``A and B and C``."""
    names = re.split(r"(?:,|\s+and|,\s+and)\s+(?!and\s)", text or "")
    return " and ".join(escape_bibtex(name) for name in names if name.strip())


def references_text(entries: list[str], without: list[str]) -> str:
    """Put the references together."""
    software = [bibtex_entry(kind, key, fields) for key, (_, kind, fields) in SOFTWARE.items()]
    missing = ["% Collections without a DOI: cite them by their NeuroVault address.", *without] if without else []
    data = ["% Data: the papers of the contributing NeuroVault collections", *entries]
    return "\n\n".join(["% Methods and software", *software, *data, "\n".join(missing)]).rstrip() + "\n"


def run_facts(
    *,
    selection: list[Row],
    images: list[Row],
    rejected: list[Row],
    collections: list[Row],
    decomposition: Mapping[str, Any],
    terms: list[Row],
    stability: list[Row],
) -> dict[str, Any]:
    """Count what the methods text and run.json state."""
    n_used = Counter(row["collection_id"] for row in images)
    with_doi = {row["collection_id"] for row in collections if clean_doi(row["DOI"]) or clean_doi(row["preprint_DOI"])}
    without_doi = [row for row in selection if row["collection_id"] not in with_doi]
    iqs = [row["iq_restarts"] for row in stability if row["iq_restarts"] is not None]
    correlations = [row["r_bootstraps"] for row in stability if row["r_bootstraps"] is not None]
    return {
        "images_selected": len(selection),
        "collections_selected": len({row["collection_id"] for row in selection}),
        "images_used": len(images),
        "collections_used": len(n_used),
        "images_rejected": dict(sorted(Counter(row["reason"] for row in rejected).items())),
        "images_with_terms": terms[0]["images"] if terms else 0,
        "terms": len({row["term"] for row in terms}),
        "map_types": dict(sorted(Counter(_plain_word(row["map_type"]) for row in images).items())),
        "largest_collection_images": max(n_used.values(), default=0),
        "locked_images_without_doi": len(without_doi),
        "locked_collections_without_doi": len({row["collection_id"] for row in without_doi}),
        "components": decomposition["n_components"],
        "voxels": decomposition["n_voxels"],
        "variance_explained": decomposition["variance_explained"],
        "mean_iq_restarts": sum(iqs) / len(iqs) if iqs else None,
        "min_iq_restarts": min(iqs, default=None),
        "mean_r_bootstraps": sum(correlations) / len(correlations) if correlations else None,
        "min_r_bootstraps": min(correlations, default=None),
    }


def methods_text(facts: Mapping[str, Any], decomposition: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Write the methods paragraph with the numbers of this run."""
    paragraphs = [
        "# Methods",
        _data_paragraph(facts, settings),
        _preparation_paragraph(facts, settings),
        _decomposition_paragraph(facts, decomposition),
        _terms_paragraph(facts, settings),
        _reproducibility_paragraph(facts),
        "## References",
        "\n".join(f"- {_reference_line(key)}" for key in sorted(SOFTWARE)),
        "references.bib has these and the papers of the contributing collections; please cite those too.",
    ]
    return "\n\n".join(paragraphs) + "\n"


def _plain_word(text: str | None) -> str:
    """Keep what is a word in Markdown too; map types come from the archive."""
    return re.sub(r"[^\w ()-]+", " ", text or "unknown", flags=re.ASCII).strip()[:40] or "unknown"


def _cite(*keys: str) -> str:
    return "(" + "; ".join(SOFTWARE[key][0] for key in keys) + ")"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _listing(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _data_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    choice = settings["fetch_metadata"]
    origin = f"came from NeuroVault {_cite('gorgolewski2015neurovault')}"
    if settings["archive"]["source"] == "demo":
        origin = (
            "were simulated: this is the workflow's demonstration, with planted networks, in the format of NeuroVault"
            f" {_cite('gorgolewski2015neurovault')}; its results say nothing about brains"
        )
    limit = choice["max_images_per_collection"]
    balance = (
        "without a limit on the number of images of one collection"
        if limit is None
        else f"with at most {_count(limit, 'image')} of one collection, drawn at random (seed"
        f" {choice['random_state']}), so that no study dominates"
    )
    refused = sum(facts["images_rejected"].values())
    quality = (
        f"{_count(refused, 'image')} did not pass the quality control of files and voxels"
        f" ({_listing(facts['images_rejected'])})"
        if refused
        else "All passed the quality control of files and voxels"
    )
    return (
        f"**Data.** The statistic maps {origin}. {_count(facts['images_selected'], 'image')} of"
        f" {_count(facts['collections_selected'], 'collection')} met the criteria on the metadata, {balance}."
        f" {quality}. The analysis used {_count(facts['images_used'], 'image')} of"
        f" {_count(facts['collections_used'], 'collection')} ({_listing(facts['map_types'])};"
        f" at most {facts['largest_collection_images']} of one collection)."
    )


def _preparation_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    masking = settings["mask_images"]
    mask = {"brain": "MNI152 brain mask", "gray_matter": "MNI152 grey-matter mask"}.get(masking["mask"])
    grid = (
        f"nilearn's {mask} at {masking['resolution_mm']:g} mm {_cite('abraham2014nilearn', 'fonov2011template')}"
        if mask
        else "a study-specific mask in MNI space"
    )
    interpolation = {
        "linear": "linear interpolation",
        "continuous": "third-order spline interpolation",
        "nearest": "nearest-neighbour interpolation",
    }[masking["interpolation"]]
    background = (
        "; before resampling, the background was filled by extrapolation from the rim of the data"
        if masking["extrapolate_background"]
        else ""
    )
    scaling = (
        "Each map was divided by its standard deviation over the mask, because the maps are in different units"
        if settings["stack_images"]["scale"] == "unit_variance"
        else "The maps were not scaled"
    )
    return (
        f"**Preparation.** Non-finite values were set to zero, and every map was resampled to the grid of {grid} with"
        f" {interpolation}{background}, and reduced to the {facts['voxels']:,} voxels of the mask. {scaling}."
    )


def _decomposition_paragraph(facts: Mapping[str, Any], decomposition: Mapping[str, Any]) -> str:
    start = (
        f"The matrix of images by voxels was centred, reduced to {facts['components']} principal components"
        f" ({100 * facts['variance_explained']:.1f} % of the variance) and whitened, and decomposed by spatial"
        f" independent component analysis with voxels as observations: FastICA {_cite('hyvarinen1999fastica')},"
        " symmetric decorrelation, log cosh contrast, as implemented in scikit-learn"
        f" {_cite('pedregosa2011scikitlearn')}, tolerance {decomposition['tol']:g}, at most"
        f" {decomposition['max_iter']} iterations, seed {decomposition['random_state']}."
    )
    n_restarts = decomposition["n_restarts"]
    consensus = ""
    if n_restarts > 1:
        consensus = (
            f" To lessen the dependence on the starting point, FastICA was run from {n_restarts} random starts on a"
            f" random tenth of the voxels ({decomposition['n_restarts_converged']} converged); the estimates were"
            " clustered by average linkage on their absolute correlations, as in ICASSO"
            f" {_cite('himberg2004icasso')}, and the clusters' centrotypes, made orthogonal, were where the final run"
            " over all voxels started."
        )
        if facts["mean_iq_restarts"] is not None:
            consensus += (
                f" The stability index Iq had a mean of {facts['mean_iq_restarts']:.2f} (lowest"
                f" {facts['min_iq_restarts']:.2f}); it measures stability over starting points, not over studies."
            )
    end = (
        f" The final run converged after {_count(decomposition['n_iter'], 'iteration')}."
        if decomposition["converged"]
        else f" The final run did not converge within {decomposition['max_iter']} iterations, so the components are to"
        " be read with caution."
    )
    studies = ""
    if facts["mean_r_bootstraps"] is not None:
        studies = (
            f" To see whether components would be found in other studies, {decomposition['n_bootstraps_used']} times"
            " the collections were drawn with replacement and decomposed in the same way on a tenth of the voxels; the"
            " components' mean absolute correlation with their matches in these draws was"
            f" {facts['mean_r_bootstraps']:.2f} (lowest {facts['min_r_bootstraps']:.2f})."
        )
    order = (
        " Components have unit variance over the mask, are ordered by the variance that they explain, and are signed so"
        " that the largest absolute value is positive."
    )
    return f"**Decomposition.** {start}{consensus}{end}{studies}{order}"


def _terms_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    if not facts["images_with_terms"]:
        return "**Names.** No image had term weights, so the components are not named."
    through = (
        "the images' loadings (the mixing matrix, whose columns are the patterns to interpret;"
        f" {SOFTWARE['haufe2014interpretation'][0]})"
        if settings["project_terms"]["projection"] == "mixing"
        else "the unmixing matrix"
    )
    centred = (
        ", each term centred over images so that terms common to all images do not name every component"
        if settings["project_terms"]["center_terms"]
        else ""
    )
    return (
        f"**Names.** {_count(facts['images_with_terms'], 'image')} of {facts['images_used']:,} had Neurosynth"
        f" {_cite('yarkoni2011neurosynth')} term weights (correlations of the image with the meta-analytic maps of"
        f" {facts['terms']:,} terms; negative ones set to zero; images without weights left out, not counted as zero)."
        f" The weights were projected on the components through {through}{centred}. The terms describe; they"
        " are not tests of significance."
    )


def _reproducibility_paragraph(facts: Mapping[str, Any]) -> str:
    caution = ""
    if facts["locked_images_without_doi"]:
        caution = (
            f" {_count(facts['locked_images_without_doi'], 'locked image')} of"
            f" {_count(facts['locked_collections_without_doi'], 'collection')} without a DOI may vanish from"
            " NeuroVault."
        )
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("nilearn", "scikit-learn", "nibabel", "numpy", "scipy")
    )
    return (
        f"**Reproducibility.** The analysis is a Snakemake workflow {_cite('moelder2021snakemake')} run with Snakemake"
        f" {importlib.metadata.version('snakemake')}, Python {platform.python_version()}, {versions}"
        f" {_cite('harris2020numpy', 'virtanen2020scipy')}. images.lock.tsv lists every image with its address, size"
        f" and SHA-256, run.json the configuration, seeds, versions and the hash of every result.{caution}"
    )


def _reference_line(key: str) -> str:
    fields = {name: re.sub(r"[{}]", "", value) for name, value in SOFTWARE[key][2].items()}
    names = fields["author"].split(" and ")
    authors = "; ".join(names) if len(names) <= 3 else f"{names[0]} et al."
    where = f"https://doi.org/{fields['doi']}" if "doi" in fields else fields["url"]
    pages = fields["pages"].replace("--", "\u2013")
    return f"{authors} ({fields['year']}). {fields['title']}. {fields['journal']} {fields['volume']}, {pages}. {where}"


def _table_named(results: Iterable[str], name: str) -> list[Row]:
    return next((read_table(path) for path in results if Path(path).name == name), [])


def main(
    *,
    selection: str,
    collections: str,
    downloads: list[str],
    term_status: list[str],
    images: str,
    rejected: str,
    decomposition: str,
    results: list[str],
    lock: str,
    run: str,
    methods: str,
    references: str,
    settings: Mapping[str, Any],
    data_dir: str,
) -> None:
    """Write the lock, the record of the run, the methods paragraph and the references."""
    chosen, used = read_table(selection), read_table(images)
    studies = read_table(collections)
    with Path(decomposition).open(encoding="utf-8") as stream:
        decomposed = json.load(stream)
    facts = run_facts(
        selection=chosen,
        images=used,
        rejected=read_table(rejected),
        collections=studies,
        decomposition=decomposed,
        terms=_table_named(results, "desc-ICA_terms.tsv"),
        stability=_table_named(results, "desc-ICA_stability.tsv"),
    )
    files = [row for table in downloads for row in read_table(table)]
    terms = [row for table in term_status for row in read_table(table)]
    write_table(lock, lock_rows(chosen, studies, files, terms, {row["image_id"] for row in used}))
    write_json(
        run,
        {
            "configuration": settings,
            "data_dir": data_dir,
            "seeds": {
                section: values["random_state"]
                for section, values in settings.items()
                if isinstance(values, Mapping) and "random_state" in values
            },
            "software": environment(),
            "counts": facts,
            "decomposition": decomposed,
            "results_sha256": {path: sha256_of(path) for path in results},
        },
    )
    entries, without = collection_entries(studies, Counter(row["collection_id"] for row in used))
    for path, text in (
        (methods, methods_text(facts, decomposed, settings)),
        (references, references_text(entries, without)),
    ):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    logging.info(
        "%d images locked; %d papers of collections to cite, %d collections without a DOI",
        len(chosen), len(entries), len(without),
    )  # fmt: skip


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
