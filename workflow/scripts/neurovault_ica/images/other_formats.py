"""Recognise intact image files in formats that are not read, and say how to convert them."""

import zlib
from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"
# Number of bytes that are read from the start of a file. They contain the header in every format.
N_BYTES = 2000
WITH_NIBABEL = "convert it: python -c \"import nibabel as nib; nib.save(nib.load('{name}'), '{stem}.nii.gz')\""
WITH_FREESURFER = "convert it: mri_convert {name} {stem}.nii.gz, or " + WITH_NIBABEL.removeprefix("convert it: ")
# Beginning of the content -> format and advice.
SIGNATURES = {
    b"PK\x03\x04": ("a zip archive", "extract the .nii.gz file from it"),
    b"BZh": ("compressed with bzip2", "unpack it with bunzip2"),
    b"\xfd7zXZ\0": ("compressed with xz", "unpack it with unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack it with zstd -d"),
    b"\x89HDF": ("an HDF5 file, such as MINC 2 or MATLAB 7.3", "convert it to NIfTI, such as with mnc2nii"),
    b"CDF\x01": ("a MINC 1 file", WITH_NIBABEL),
    b"MATLAB 5.0": ("a MATLAB file", "save the map as NIfTI, such as with spm_write_vol or niftiwrite"),
    b"\x93NUMPY": ("a numpy array without affine", "save it as NIfTI with its affine, with nibabel.Nifti1Image"),
    b"NRRD": ("an NRRD file", "save it as NIfTI, such as with 3D Slicer"),
    b"version https://git-lfs": ("a pointer of Git LFS, not the file itself", "fetch the file with git lfs pull"),
    b"/annex/objects": ("a pointer of git-annex, not the file itself", "fetch the file with datalad get"),
    b"../.git/annex": ("a pointer of git-annex, not the file itself", "fetch the file with datalad get"),
}
AFNI = ("an AFNI dataset", "convert it: 3dAFNItoNIFTI -prefix {stem}.nii.gz {name}")
GIFTI = ("a GIFTI file, whose values belong to a surface", "give a volume")
TWICE = (
    "compressed with gzip twice",
    "unpack it once: gunzip -c {name} > once.nii.gz && mv once.nii.gz {name}",
)
PAIR = ("half of a pair (.hdr and .img)", WITH_NIBABEL)
ANALYZE = (
    "half of an Analyze or SPM pair (.hdr and .img)",
    WITH_NIBABEL + "; such files may not state left and right, so check them",
)
FREESURFER = ("a FreeSurfer volume (.mgh, .mgz)", WITH_FREESURFER)
# FreeSurfer's files begin with the version, 1, as a big-endian number of four bytes.
FREESURFER_VERSION = b"\0\0\0\1"
SUFFIXES = (".gz", ".nii", ".img", ".hdr", ".mgz", ".mgh", ".mnc", ".BRIK", ".HEAD", ".zip", ".bz2", ".xz", ".zst")


def describe_format(path: Path) -> str | None:
    """Name the format of an image file that is not a single NIfTI file, and say how to convert it.

    Returns
    -------
    str or None
        None if the format is not known.
    """
    content = _beginning(path)
    found = _recognise(path, content, is_twice=content.startswith(GZIP_MAGIC) and _unpack(content) != content)
    if found is None:
        return None
    kind, advice = found
    if found is PAIR and not any(extension in path.name.lower() for extension in (".hdr", ".img")):
        advice = "give both halves these extensions, then convert the pair with nibabel or fslchfiletype NIFTI_GZ"
    # A quote in the name would end the quoted text in the command.
    name = path.name if "'" not in path.name else "FILE"
    stem = name
    while (suffix := Path(stem).suffix) in SUFFIXES:
        stem = stem.removesuffix(suffix)
    return f"{kind}; {advice.format(name=name, stem=stem)}"


def _beginning(path: Path) -> bytes:
    """Read the first bytes of a file, decompressed if it is compressed with gzip."""
    with path.open("rb") as stream:
        return _unpack(stream.read(N_BYTES))


def _unpack(content: bytes) -> bytes:
    """Decompress the beginning of a file once. Return other content unchanged."""
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(content, N_BYTES)
    except zlib.error:
        return content


def _recognise(path: Path, content: bytes, *, is_twice: bool) -> tuple[str, str] | None:
    if is_twice:
        return TWICE
    extension = Path(path.name.removesuffix(".gz")).suffix.lower()
    size = {int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big")}
    if 348 in size and len(content) >= 348:
        unmarked = ANALYZE if extension in (".hdr", ".img") else None
        return {b"ni1": PAIR, b"n+1": None}.get(content[344:347], unmarked)
    if content.startswith(FREESURFER_VERSION) and extension in (".mgz", ".mgh"):
        return FREESURFER
    for signature, found in SIGNATURES.items():
        if content.startswith(signature):
            return found
    if b"<GIFTI" in content[:500]:
        return GIFTI
    if extension in (".head", ".brik"):
        return AFNI
    header = _header_beside(path) if extension == ".img" else None
    return _recognise(header, _beginning(header), is_twice=False) if header else None


def _header_beside(path: Path) -> Path | None:
    """Return the .hdr file beside an .img file; None if there is none."""
    stem = Path(path.name.removesuffix(".gz")).stem
    files = (path.with_name(f"{stem}{suffix}") for suffix in (".hdr", ".HDR", ".hdr.gz"))
    return next((file for file in files if file.is_file()), None)
