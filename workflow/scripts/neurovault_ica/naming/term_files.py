"""Find the maps of terms in a folder or a 4-D file, and what the terms are called.

Snakemake imports this while it reads the Snakefile, so the standard library is all that it needs.
"""

import re
from collections import Counter
from pathlib import Path

from neurovault_ica.images.names_beside import is_image_file, names_beside

# What stands behind the term in the names of Neurosynth (pain_association-test_z_FDR_0.01, pain_pAgF_z_FDR_0.01) and of
# NiMARE (pain_z_desc-association).
MEASURE = re.compile(r"[_-](?:(?:association|uniformity|specificity|consistency)-test|p(?:AgF|FgA)|z|stat)(?:[_-].*)?$")
# NiMARE may also put the maps of a term into a folder that has its name: z.nii.gz, z_desc-association.nii.gz.
UNNAMED = re.compile(r"(?:z|stat|map|(?:association|uniformity)-test)(?:[_-].*)?$")
# Maps beside them that say something else than how strongly a term goes with a place.
OTHER_MEASURES = re.compile(r"(?:.*_)?(?:p|logp|chi2|prob|dof|se|tau2|sigma2)(?:_(?:desc|level|corr|method|diag)-.*)?$")


def find_term_files(path: str) -> dict[str, str]:
    """Find the files of a folder that hold the map of a term, in it or in folders below.

    Returns
    -------
    dict of str to str
        Term to file, sorted by term. Files of the same term keep their whole names.
    """
    files = [file for file in Path(path).rglob("*") if is_image_file(file.name) and not file.name.startswith(".")]
    named = {str(file): name for file in sorted(files) if (name := _term_of(file))}
    counts = Counter(named.values())
    terms = {
        name if counts[name] == 1 else f"{name} ({Path(file).relative_to(path)})": file for file, name in named.items()
    }
    return dict(sorted(terms.items()))


def input_files(path: str) -> list[str]:
    """List the files that the term maps at `path` are read from: maps, or a 4-D file and the names beside it."""
    if Path(path).is_dir():
        return list(find_term_files(path).values())
    names = names_beside(path)
    return [path, names] if names else [path]


def explain_problem(path: str) -> str | None:
    """Say what is wrong with a folder or file of term maps, as far as one sees without opening it."""
    if Path(path).is_dir():
        if find_term_files(path):
            return None
        return f"there is no map of a term in the folder {path}; expected: files such as pain_z.nii.gz or pain/z.nii.gz"
    if not Path(path).is_file():
        return f"there is no file or folder {path} (looked from {Path.cwd()})"
    if not is_image_file(path):
        return f"{path} is neither a folder nor a NIfTI file (.nii, .nii.gz)"
    if names_beside(path) is None:
        stem = Path(path).name.removesuffix(".gz").removesuffix(".nii")
        return f"nothing names the volumes of {path}; put {stem}.txt beside it with one term a line, or {stem}.tsv"
    return None


def _term_of(file: Path) -> str | None:
    """Take the term out of the name of a file or of its folder; None for maps of another measure."""
    stem = file.name.removesuffix(".gz").removesuffix(".nii")
    if OTHER_MEASURES.fullmatch(stem):
        return None
    if UNNAMED.fullmatch(stem):
        stem = file.parent.name
    return " ".join(MEASURE.sub("", stem).replace("_", " ").split()) or stem
