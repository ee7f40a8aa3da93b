"""Read the names of an image's volumes or regions from the file beside it.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from neurovault_ica.runtime.text_tables import decode, split_line, split_lines
from neurovault_ica.runtime.wording import counted

# Columns that may hold the names.
NAME_COLUMNS = ("name", "network")


def is_image_file(reference: str) -> bool:
    """Tell the path of a NIfTI image from the name of an atlas."""
    return reference.lower().endswith((".nii", ".nii.gz"))


def names_beside(image: str) -> str | None:
    """Return the file that names an image's volumes or regions: same folder, same name, other extension."""
    stem = Path(image).with_name(re.sub(r"\.nii(\.gz)?$", "", Path(image).name, flags=re.IGNORECASE))
    files = (f"{stem}{extension}" for extension in (".tsv", ".txt", ".xml"))
    return next((file for file in files if Path(file).is_file()), None)


def read_name_file(path: str) -> list[tuple[int | None, str]]:
    """Read the names of volumes or regions, in the order of the file.

    Parameters
    ----------
    path : path
        One of these formats: (1) a tab-separated table with a header, a column ``name`` or ``network``, and optionally
        a column ``index``, as in BIDS (``dseg.tsv``); (2) a tab-separated table without a header whose first columns
        are index and name, as for Schaefer's atlas; (3) a list with one name per line; (4) an atlas description of FSL
        (``.xml``, Harvard-Oxford) or SPM (AAL).

    Returns
    -------
    list of (index, name)
        The index is the region's value in the image, or None if the file gives only names.

    Raises
    ------
    ValueError
        If the file has none of these formats, contains no name, or gives two names to one index.
    """
    try:
        names = _names_of_xml(path) if path.endswith(".xml") else _names_of_table(path)
        _refuse_second_names(names)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(
            f"{path}: cannot read names of regions ({error}); give a tab-separated table with the columns index"
            " and name, a list with one name per line, or the .xml file of an FSL atlas"
        ) from error
    if not names:
        raise ValueError(f"{path}: the file names no region or volume; give a file with at least one name")
    return names


def name_by_value(names: list[tuple[int | None, str]]) -> dict[int, str]:
    """Return the name of each value of a label image. Names without a value belong to 1, 2, ... in their order."""
    return {order if value is None else value: name for order, (value, name) in enumerate(names, start=1)}


def _refuse_second_names(names: Sequence[tuple[int | None, str]]) -> None:
    first: dict[int, str] = {}
    for value, name in names:
        if value is not None and first.setdefault(value, name) != name:
            raise ValueError(f"the index {value} has two names, {first[value]!r} and {name!r}")


def _names_of_table(path: str) -> list[tuple[int | None, str]]:
    lines = split_lines(decode(Path(path).read_bytes(), Path(path).name))
    cells = [(number, split_line(Path(path).name, number, line)) for number, line in enumerate(lines, start=1)]
    rows = [(number, [cell.strip() for cell in row]) for number, row in cells if any(cell.strip() for cell in row)]
    heading = [cell.lower() for cell in rows[0][1]] if rows else []
    named = next((column for column in NAME_COLUMNS if column in heading), None)
    if named:
        rows, name = rows[1:], heading.index(named)
        index = heading.index("index") if "index" in heading else None
    else:
        name, index = (1, 0) if len(heading) > 1 else (0, None)
    names = []
    for number, row in rows:
        if len(row) != len(heading):
            raise ValueError(
                f"line {number} has {counted(len(row), 'column')}, but the first line has {len(heading)}:"
                f" {' | '.join(row)[:80]}"
            )
        names.append((None if index is None else _index(row[index], f"line {number}: "), row[name]))
    return names


def _index(text: str, place: str = "") -> int:
    """Read an index. Spreadsheets and pandas may write it as 3.0."""
    try:
        return int(text.removesuffix(".0"))
    except ValueError as error:
        raise ValueError(f"{place}the index {text[:80]!r} is not a whole number") from error


def _names_of_xml(path: str) -> list[tuple[int | None, str]]:
    """Read ``<label index="0" ...>name</label>`` of FSL, or ``<label><index>1</index><name>...`` of AAL."""
    root = ElementTree.parse(path).getroot()
    # The index of FSL's probabilistic atlases counts volumes from 0. Their images of labels have 0 in the background,
    # and 1 in the first region. In atlases of the type Label, the index is the value itself, as in JHU's white matter.
    first = 0 if (root.findtext("header/type") or "").strip().lower() == "label" else 1
    names: list[tuple[int | None, str]] = []
    for label in root.iter("label"):
        if "value" in label.attrib:
            names.append((_index(label.attrib["value"]), (label.text or "").strip()))
        elif "index" in label.attrib:
            names.append((_index(label.attrib["index"]) + first, (label.text or "").strip()))
        else:
            names.append((_index(label.findtext("index", "")), label.findtext("name", "").strip()))
    return names
