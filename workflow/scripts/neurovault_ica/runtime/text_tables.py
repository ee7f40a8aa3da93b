"""Read text files of users: decode them, and split their lines into fields at tabs.

Snakemake imports this module while it reads the Snakefile, so it imports only the standard library.
"""

import codecs
import re

ENCODINGS = {
    # UTF-32 comes first, because its mark begins with the mark of UTF-16.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# A field in quotes may contain tabs and doubled quotes. In other fields, quotes are ordinary characters.
FIELD = re.compile(r'(?:^|\t)(?:"((?:[^"]|"")*)"(?=\t|$)|([^\t]*))')
LINE_END = re.compile(r"\r\n|\n|\r")


def decode(content: bytes, name: str, advice: str = "save it as UTF-8") -> str:
    """Decode a text file of the user: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Parameters
    ----------
    content : bytes
    name : str
        Name of the file, for messages.
    advice : str
        What the user should do if it cannot be decoded; the end of the message.

    Raises
    ------
    ValueError
        If the file has another encoding, or is not text.
    """
    if content.startswith(b"PK\x03\x04"):
        raise ValueError(f"{name} is a workbook or a zip file, not text; {advice}")
    encoding = next((code for mark, code in ENCODINGS.items() if content.startswith(mark)), "utf-8-sig")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        kind = encoding.removesuffix("-sig").upper()
        byte = error.object[error.start]
        raise ValueError(f"{name}, line {line}: the file is not {kind} (byte {byte:#04x}); {advice}") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            f"{name}, line {line}: the file is not plain text, or is UTF-16 without a byte order mark (it has zero"
            f" bytes); {advice}"
        )
    return text


def split_lines(text: str) -> list[str]:
    """Split a text at the line ends of Unix, Windows and old Macs."""
    return LINE_END.split(text)


def split_line(name: str, number: int, line: str) -> list[str]:
    """Split a line at its tabs and remove the quotes around fields.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    number : int
        Number of the line, for messages.
    line : str
        Without its end.

    Raises
    ------
    ValueError
        If a quote is opened and not closed in the same field.
    """
    cells = []
    for field in FIELD.finditer(line):
        quoted, plain = field.groups()
        if quoted is None and plain.startswith('"') and plain.count('"') % 2:
            # A cell with a line break, as spreadsheets write it, also ends up here.
            raise ValueError(
                f"{name}, line {number}: a quote is opened before {plain[1:31]!r} and not closed in the same field of"
                " this line; close or remove the quote, or remove the line break within the cell"
            )
        cells.append(plain if quoted is None else quoted.replace('""', '"'))
    return cells
