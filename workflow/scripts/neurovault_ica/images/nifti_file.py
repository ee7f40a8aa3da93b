"""Check whether a file is a NIfTI file. Uses neither numpy nor nibabel, so that checks of downloads start quickly."""

from pathlib import Path
from typing import NamedTuple

from isal import isal_zlib

from neurovault_ica.images.other_formats import GZIP_MAGIC, describe_format

# Bytes of a file that are read at once. The first piece contains the whole header, even if it is compressed.
CHUNK_BYTES = 1 << 16
# `find_fault` decompresses at most this much of a file, because a small file can decompress to any size. Statistic maps
# have about a hundredth of it.
MAX_UNPACKED_BYTES = 1_000_000_000


class Format(NamedTuple):
    """A version of the NIfTI format."""

    n_bytes: int  # length of the header
    magic: bytes  # of a file that holds both header and voxels; the byte after it is ignored
    place: slice  # where the magic is in the header
    first_voxel: int  # smallest position of the voxels: header and four bytes that announce extensions


# By the size of the header, which its first four bytes state.
FORMATS = {
    348: Format(348, b"n+1", slice(344, 348), 352),
    540: Format(540, b"n+2", slice(4, 8), 544),
}
# Bytes that `read_header` needs: up to the first voxel, and the length and code of an extension there.
HEADER_BYTES = max(found.first_voxel for found in FORMATS.values()) + 8


class UnusableError(Exception):
    """An image that cannot be used.

    Attributes
    ----------
    reason : str
        A key of `rejections.IMAGE_REASONS`.
    found : str
        What is wrong with this image, and what to do.
    """

    def __init__(self, reason: str, found: object) -> None:
        super().__init__(f"{reason}: {found}")
        self.reason, self.found = reason, str(found)


def format_of(raw: bytes) -> Format:
    """Return the NIfTI version of a file that begins with the bytes `raw`, in either byte order.

    Raises
    ------
    UnusableError
        ``unreadable``.
    """
    if not raw:
        raise UnusableError("unreadable", "empty file")
    sizes = {int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big")}
    found = next((found for size, found in FORMATS.items() if size in sizes and len(raw) >= size), None)
    if found is None:
        start = raw[:15].decode("latin-1")
        raise UnusableError("unreadable", f"no NIfTI header, the file begins with {start!r}")
    magic = raw[found.place]
    if not magic.startswith(found.magic):
        raise UnusableError("unreadable", f"not a NIfTI file in one piece, magic {magic!r}")
    return found


def find_fault(path: Path, *, whole: bool = False) -> str | None:
    """Explain why a file cannot be a NIfTI image, compressed or not; None if there is no fault.

    Parameters
    ----------
    path : Path
    whole : bool
        Whether to decompress the whole file to check that it is complete. Otherwise only the beginning is checked.
    """
    with path.open("rb") as stream:
        start = stream.read(CHUNK_BYTES)
    try:
        format_of(unpack(start, HEADER_BYTES, whole=False))
    except UnusableError as error:
        return describe_format(path) or error.found
    return _fault_in_gzip(path) if whole and start.startswith(GZIP_MAGIC) else None


def _fault_in_gzip(path: Path) -> str | None:
    """Decompress a file in pieces to check that all its gzip members are complete. Bytes after them are ignored."""
    size = 0
    with path.open("rb") as stream:
        chunk = stream.read(CHUNK_BYTES)
        try:
            while chunk.startswith(GZIP_MAGIC):
                member = isal_zlib.decompressobj(wbits=isal_zlib.MAX_WBITS | 16)
                while chunk and not member.eof:
                    size += len(member.decompress(chunk, 16 * CHUNK_BYTES))
                    if size >= MAX_UNPACKED_BYTES:
                        return None
                    chunk = member.unconsumed_tail or member.unused_data or stream.read(CHUNK_BYTES)
                if not member.eof:
                    return "gzip: the file ends too early"
                if len(chunk) < len(GZIP_MAGIC):
                    chunk += stream.read(CHUNK_BYTES)
        except isal_zlib.error as error:  # type: ignore[misc]  # a class, but its stub says otherwise
            return f"gzip: {error}"
    return None


def is_packed(path: Path) -> bool:
    """Return whether a file is compressed with gzip, by its first bytes."""
    with path.open("rb") as stream:
        return stream.read(2) == GZIP_MAGIC


def unpack(content: bytes, size: int, *, whole: bool) -> bytes:
    """Decompress up to `size` bytes. Intel's library takes half the time of zlib.

    With `whole`, the checksum at the end of the file is compared as well, if at most 1 MB lies between.

    Raises
    ------
    UnusableError
        ``unreadable``, if the content is damaged or, with `whole`, ends too early.
    """
    if not content.startswith(GZIP_MAGIC):
        return content[:size]
    parts: list[bytes] = []
    missing = size
    try:
        while content.startswith(GZIP_MAGIC) and missing > 0:
            member = isal_zlib.decompressobj(wbits=isal_zlib.MAX_WBITS | 16)
            parts.append(member.decompress(content, missing))
            missing -= len(parts[-1])
            if whole and not member.eof:
                member.decompress(member.unconsumed_tail, 1 << 20)
            content = member.unused_data
    except isal_zlib.error as error:  # type: ignore[misc]  # a class, but its stub says otherwise
        raise UnusableError("unreadable", f"gzip: {error}") from error
    if whole and not member.eof and not member.unconsumed_tail:
        raise UnusableError("unreadable", "gzip: the file ends too early")
    return parts[0] if len(parts) == 1 else b"".join(parts)
