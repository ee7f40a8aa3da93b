"""Read the names that belong to the volumes or labels of an image, from a file beside it."""

import csv
from pathlib import Path
from xml.etree import ElementTree

NAME_COLUMNS = ("name", "network")


def is_image_file(reference: str) -> bool:
    """Tell the path of a NIfTI image from the name of an atlas."""
    return reference.endswith((".nii", ".nii.gz"))


def names_beside(image: str) -> str | None:
    """Return the file that names an image's regions: beside it and called the same, with another extension."""
    stem = Path(image).with_name(Path(image).name.removesuffix(".gz").removesuffix(".nii"))
    files = (f"{stem}{extension}" for extension in (".tsv", ".txt", ".xml"))
    return next((file for file in files if Path(file).is_file()), None)


def read_names(path: str) -> list[tuple[int | None, str]]:
    """Read the names of an atlas's regions, in the order of the file.

    Parameters
    ----------
    path : path
        A table separated by tabs with a heading and a column ``name`` or ``network``, maybe also ``index``, as BIDS has
        it (``dseg.tsv``); the same without a heading, index and name first, as Schaefer's; a list with one name a line;
        or an atlas description of FSL (``.xml``, Harvard-Oxford) or SPM (AAL).

    Returns
    -------
    list of (index, name)
        The value that the region has in the image; None where the file gives only names.

    Raises
    ------
    ValueError
        If the file is none of these.
    """
    try:
        names = _names_of_xml(path) if path.endswith(".xml") else _names_of_table(path)
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError, csv.Error) as error:
        raise ValueError(
            f"{path}: no names of regions can be read from it ({error}); expected: a table separated by tabs with the"
            " columns index and name, one name a line, or the .xml of an atlas of FSL"
        ) from error
    if not names:
        raise ValueError(f"{path}: it names no region")
    return names


def _names_of_table(path: str) -> list[tuple[int | None, str]]:
    rows = list(csv.reader(Path(path).read_text(encoding="utf-8-sig").splitlines(), dialect="excel-tab"))
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    heading = [cell.lower() for cell in rows[0]] if rows else []
    named = next((column for column in NAME_COLUMNS if column in heading), None)
    if named:
        name = heading.index(named)
        index = heading.index("index") if "index" in heading else None
        return [(None if index is None else int(row[index]), row[name]) for row in _as_wide(rows[1:], len(heading))]
    if len(heading) == 1:
        return [(None, row[0]) for row in _as_wide(rows, 1)]
    return [(int(row[0]), row[1]) for row in rows]


def _as_wide(rows: list[list[str]], width: int) -> list[list[str]]:
    for row in rows:
        if len(row) != width:
            raise ValueError(f"a line has {len(row)} columns where {width} are expected: {' | '.join(row)[:80]}")
    return rows


def _names_of_xml(path: str) -> list[tuple[int | None, str]]:
    """Read ``<label index="0" ...>name</label>`` of FSL, or ``<label><index>1</index><name>...`` of AAL."""
    names: list[tuple[int | None, str]] = []
    for label in ElementTree.parse(path).getroot().iter("label"):
        if "index" in label.attrib:
            # FSL counts from 0; in its label images 0 is the background and the first region has 1.
            names.append((int(label.attrib["index"]) + 1, (label.text or "").strip()))
        else:
            names.append((int(label.findtext("index", "")), label.findtext("name", "").strip()))
    return names
