"""Make NeuroVault caches of any size from real maps. If more are needed, add mixtures of these maps with noise."""

import functools
import itertools
import json
import shutil
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.filebasedimages import ImageFileError
from scipy import ndimage

PER_COLLECTION = 5
# Number of simulated maps if there are no real ones. Further images are mixtures of them.
N_SIMULATED = 60
# Small mixtures: steps in one standard deviation, so that a map has some hundred different values.
STEPS_PER_SD = 20
# Small mixtures: voxels by which a mixture is moved.
SHIFTS = [(0, 0, 0), *itertools.product((-1, 1), repeat=3)]
SHAPE = (91, 109, 91)
AFFINE = np.array([[-2, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1.0]])


def find_images(archive: Path) -> list[Path]:
    """List the images of a cache that have a single volume with data, which both sides of a comparison can use."""
    files = sorted(archive.glob("neurovault/collection_*/image_*.nii.gz"))
    return [file for file in files if _is_readable(file)]


def _is_readable(file: Path) -> bool:
    try:
        data = np.asarray(nib.load(file).dataobj)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError):
        return False
    values = data[np.isfinite(data)]
    return data.ndim >= 3 and all(length == 1 for length in data.shape[3:]) and values.size > 0 and values.std() > 0


def make_archive(folder: Path, sources: list[Path], n_images: int, *, small: bool = False) -> list[Path]:
    """Fill a cache with `n_images` images: `sources`, then mixtures of them with noise.

    Without sources, simulated maps take their place. If `small`, mixtures are stored as whole numbers, and each mixture
    is used in several positions. This takes a fifth of the space and a tenth of the time.
    """
    if not sources:
        sources = list(_simulate(folder / "simulated", np.random.default_rng(0)))
    make = functools.partial(_make_image, folder, sources, small=small)
    with ProcessPoolExecutor() as pool:
        return list(pool.map(make, range(n_images), chunksize=len(SHIFTS)))


def _make_image(folder: Path, sources: list[Path], number: int, *, small: bool) -> Path:
    collection = 1 + number // PER_COLLECTION
    home = folder / "neurovault" / f"collection_{collection}"
    home.mkdir(parents=True, exist_ok=True)
    file = home / f"image_{1000 + number}.nii.gz"
    if number < len(sources):
        shutil.copy(sources[number], file)
    else:
        if small:
            file.write_bytes(_small_image(sources, number))
        else:
            nib.save(mixture(sources, np.random.default_rng(number)), file)
    record = {
        "id": 1000 + number, "name": f"map {number}", "map_type": "Z map", "image_type": "statistic_map",
        "modality": "fMRI-BOLD", "analysis_level": "group", "is_thresholded": False, "not_mni": False,
        "file_size": file.stat().st_size,
    }  # fmt: skip
    (home / f"image_{1000 + number}_metadata.json").write_text(json.dumps(record))
    study = {"id": collection, "name": f"study {collection}", "number_of_images": PER_COLLECTION}
    (home / "collection_metadata.json").write_text(json.dumps(study))
    return file


def mixture(sources: list[Path], rng: np.random.Generator) -> nib.Nifti1Image:
    """Mix two sources on the same grid with smooth noise. The background of the first source stays zero."""
    data, affine = _load(sources[rng.integers(len(sources))])
    partner, partner_affine = _load(sources[rng.integers(len(sources))])
    first, second = rng.normal(size=2)
    mixed = first * data
    if partner.shape == data.shape and np.allclose(partner_affine, affine):
        mixed += second * partner
    shift = tuple(rng.integers(length) for length in data.shape)
    mixed += np.roll(_noise(data.shape), shift, axis=(0, 1, 2))
    return nib.Nifti1Image(np.where(data != 0, mixed, 0).astype(np.float32), affine)


def _small_image(sources: list[Path], number: int) -> bytes:
    """Make a file of whole numbers. Consecutive images are one mixture, moved by up to one voxel along each axis.

    After a move by one voxel, the maps correlate by about 0.9, so they are not duplicates. The header is a gzip member
    of its own, so that the voxels of a mixture are compressed only once.
    """
    mixed, place = divmod(number, len(SHIFTS))
    header, voxels = _whole_numbers(tuple(sources), mixed)
    header = header.copy()
    affine = header.get_best_affine()
    affine[:3, 3] += affine[:3, :3] @ SHIFTS[place]
    header.set_sform(affine, 2)
    # isal writes gzip five times as fast as zlib.
    return igzip.compress(header.binaryblock + bytes(4), mtime=0) + voxels


@functools.lru_cache(maxsize=2)
def _whole_numbers(sources: tuple[Path, ...], number: int) -> tuple[nib.Nifti1Header, bytes]:
    """Return header and compressed voxels of a mixture, in steps of a twentieth of its standard deviation."""
    image = mixture(list(sources), np.random.default_rng(number))
    data = image.get_fdata(dtype=np.float32)
    step = data[data != 0].std() / STEPS_PER_SD
    numbers = nib.Nifti1Image(np.round(data / step).astype(np.int16), image.affine)
    numbers.header.set_slope_inter(step, 0)
    numbers.header.set_qform(None, 0)
    content = numbers.to_bytes()
    return nib.Nifti1Header(content[:348]), igzip.compress(content[352:], 3, mtime=0)


@functools.lru_cache(maxsize=256)
def _load(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read an image and divide it by its standard deviation."""
    img = nib.load(file)
    data = np.nan_to_num(np.asarray(img.dataobj, dtype=np.float32), posinf=0, neginf=0).reshape(img.shape[:3])
    return data / data.std(), img.affine


@functools.cache
def _noise(shape: tuple[int, ...]) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=shape).astype(np.float32), 1.5, mode="wrap")
    return noise / noise.std()


def _simulate(folder: Path, rng: np.random.Generator) -> Iterator[Path]:
    """Write random mixtures of twenty networks in an ellipsoid of the size of a brain."""
    folder.mkdir(parents=True)
    centre, radii = (np.array(SHAPE) - 1) / 2, np.array([36, 44, 36])
    grid = np.moveaxis(np.indices(SHAPE), 0, -1)
    inside = np.square((grid - centre) / radii).sum(axis=-1) < 1
    networks = []
    for _ in range(20):
        seeds = np.zeros(SHAPE, dtype=np.float32)
        seeds.ravel()[rng.choice(np.flatnonzero(inside), size=4)] = 1
        network = ndimage.gaussian_filter(seeds, 4)
        networks.append(network / network[inside].std())
    for number in range(N_SIMULATED):
        volume = np.tensordot(rng.laplace(size=20), np.stack(networks), axes=1) + np.roll(_noise(SHAPE), number, axis=0)
        file = folder / f"{number}.nii.gz"
        nib.save(nib.Nifti1Image(np.where(inside, volume, 0).astype(np.float32), AFFINE), file)
        yield file
