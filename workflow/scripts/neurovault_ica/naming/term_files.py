"""Find the term maps in a folder or a 4-D file, and read the terms from the names of the files.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

import re
from collections import Counter
from pathlib import Path

from neurovault_ica.naming.name_files import is_image_file, names_beside

# The part of a file name after the term. Neurosynth's files are called pain_association-test_z_FDR_0.01 or
# pain_pAgF_z_FDR_0.01, those of NiMARE pain_z_desc-association.
MEASURE = re.compile(r"[_-](?:(?:association|uniformity|specificity|consistency)-test|p(?:AgF|FgA)|z|stat)(?:[_-].*)?$")
# NiMARE may also write z.nii.gz or z_desc-association.nii.gz into a folder named after the term.
WITHOUT_TERM = re.compile(r"(?:z|stat|map|(?:association|uniformity)-test)(?:[_-].*)?$")
# File names of other measures in the same folder, such as p values. They are ignored.
OTHER_MEASURES = re.compile(r"(?:.*_)?(?:p|logp|chi2|prob|dof|se|tau2|sigma2)(?:_(?:desc|level|corr|method|diag)-.*)?$")


def find_term_files(path: str) -> dict[str, str]:
    """Find the term maps in a folder and its subfolders.

    Returns
    -------
    dict of str to str
        Term to file, sorted by term. If several files have the same term, their paths are appended to it.
    """
    files = [file for file in Path(path).rglob("*") if is_image_file(file.name) and not file.name.startswith(".")]
    named = {str(file): name for file in sorted(files) if (name := _term_of(file))}
    counts = Counter(named.values())
    terms = {
        name if counts[name] == 1 else f"{name} ({Path(file).relative_to(path)})": file for file, name in named.items()
    }
    return dict(sorted(terms.items()))


def files_of_term_maps(path: str) -> list[str]:
    """List the files to read: all maps of a folder, or a 4-D file and the file that names its volumes."""
    if Path(path).is_dir():
        return list(find_term_files(path).values())
    names = names_beside(path)
    return [path, names] if names else [path]


def explain_term_maps(path: str) -> str | None:
    """Describe the problem with a folder or file of term maps, or return None. No image is opened."""
    if Path(path).is_dir():
        if find_term_files(path):
            return None
        return f"the folder {path} has no map of a term; it needs files such as pain_z.nii.gz or pain/z.nii.gz"
    if not Path(path).is_file():
        return f"there is no file or folder {path} (current folder: {Path.cwd()}); correct the path"
    if not is_image_file(path):
        return f"{path} is neither a folder nor a NIfTI file; give one of these (.nii, .nii.gz)"
    if names_beside(path) is None:
        stem = Path(path).name.removesuffix(".gz").removesuffix(".nii")
        return (
            f"no file names the volumes of {path}; put {stem}.txt with one term per line, or {stem}.tsv with a column"
            " name, into the same folder"
        )
    return None


def _term_of(file: Path) -> str | None:
    """Read the term from the name of a file or its folder. None for maps of another measure."""
    stem = file.name.removesuffix(".gz").removesuffix(".nii")
    if OTHER_MEASURES.fullmatch(stem):
        return None
    if WITHOUT_TERM.fullmatch(stem):
        stem = file.parent.name
    return " ".join(MEASURE.sub("", stem).replace("_", " ").split()) or stem
