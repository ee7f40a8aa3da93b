"""NIfTI files for tests, sound and damaged."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

AFFINE = np.array([[-4.0, 0, 0, 90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
SHAPE = (46, 55, 46)


def image_bytes(data, affine=AFFINE, kind=nib.Nifti1Image, **header) -> bytes:
    img = kind(data, affine)
    for field, value in header.items():
        img.header[field] = value
    return img.to_bytes()


def saved(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1))
    return path


def damaged(content: bytes, field_offset: int, value: bytes) -> bytes:
    return content[:field_offset] + value + content[field_offset + len(value) :]
