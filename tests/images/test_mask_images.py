"""Each image of a batch has a row: usable images have voxels, the others a reason."""

import gzip
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from image_files import AFFINE, SHAPE, damaged, image_bytes
from mask_images import main
from neurovault_ica.images.nifti import read_image
from neurovault_ica.runtime.tables import read_table, write_table
from nilearn import image as nilearn_image
from nilearn.datasets import load_mni152_brain_mask
from nilearn.maskers import NiftiMasker
from threadpoolctl import threadpool_limits

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"


@pytest.fixture(scope="module")
def mask_img() -> nib.Nifti1Image:
    return load_mni152_brain_mask(resolution=6)


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


class Batch:
    """A data directory with its status table, which `run` masks."""

    def __init__(self, folder: Path, mask_img: nib.Nifti1Image) -> None:
        self.folder, self.rows = folder, []
        self.mask, self.brain = folder / "mask.nii.gz", folder / "brain.nii.gz"
        folder.mkdir(parents=True, exist_ok=True)
        nib.save(mask_img, self.mask)
        nib.save(load_mni152_brain_mask(resolution=6), self.brain)

    def add(self, image_id: int, content: bytes | None, *, packed: bool = True, status: str = "ok") -> Path:
        file = f"neurovault/collection_1/image_{image_id}.nii.gz"
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(gzip.compress(content, 1) if packed else content)
        self.rows.append(
            {
                "image_id": image_id, "status": status, "reason": None, "file": file, "found": None,
                "sha256": sha256(content or b"").hexdigest(),
                "bytes": path.stat().st_size if path.exists() else None,
            }
        )  # fmt: skip
        return path

    def run(self, interpolation: str = "linear", extrapolate_background: bool = False):
        status = self.folder / "download_images" / "status-0.tsv"
        voxels, quality = (self.folder / "mask_images" / name for name in ("voxels-0.npy", "quality-0.tsv"))
        write_table(status, self.rows)
        main(
            str(status),
            str(self.mask),
            str(self.brain),
            str(voxels),
            str(quality),
            data_dir=str(self.folder),
            interpolation=interpolation,
            extrapolate_background=extrapolate_background,
        )
        return np.load(voxels, mmap_mode="r"), read_table(quality)


@pytest.fixture
def batch(tmp_path, mask_img) -> Batch:
    return Batch(tmp_path, mask_img)


def test_rows_follow_the_table_and_unusable_images_have_no_voxels(batch, data):
    batch.add(7, image_bytes(data))
    batch.add(3, b"<html>", packed=False)
    batch.add(9, None, status="failed")
    batch.add(1, image_bytes(2 * data))
    voxels, quality = batch.run()
    assert voxels.dtype == np.float32
    assert [(row["image_id"], row["row"], row["reason"]) for row in quality] == [
        ("7", 0, None),
        ("3", None, "unreadable"),
        ("1", 1, None),
    ]
    assert voxels.shape[0] == 2
    np.testing.assert_allclose(voxels[1], 2 * voxels[0], rtol=1e-5)
    assert quality[0]["coverage"] > 0.9
    assert quality[0]["dtype"] == "float32"
    assert quality[1]["coverage"] is None


@pytest.mark.filterwarnings("ignore")
def test_voxels_equal_the_example_of_nilearn(batch, data, mask_img):
    data[:4] = np.nan
    path = batch.add(1, image_bytes(data))
    voxels, _ = batch.run("continuous")
    masker = NiftiMasker(mask_img=mask_img, standardize=None).fit()
    expected = masker.transform(nilearn_image.smooth_img(str(path), None))
    np.testing.assert_allclose(voxels, np.atleast_2d(expected), atol=1e-6 * np.abs(expected).max())


def test_a_batch_without_usable_images_is_an_empty_matrix(batch):
    batch.add(1, b"", packed=False)
    voxels, quality = batch.run()
    assert voxels.shape == (0, int(np.asarray(nib.load(batch.mask).dataobj).sum()))
    assert [row["reason"] for row in quality] == ["unreadable"]


def test_an_empty_batch_is_an_empty_matrix(batch):
    voxels, quality = batch.run()
    assert len(voxels) == 0
    assert quality == []


def test_results_do_not_depend_on_the_number_of_threads(tmp_path, mask_img, data):
    written = []
    for threads in (1, 2):
        batch = Batch(tmp_path / str(threads), mask_img)
        batch.add(1, image_bytes(data[:, :-1], AFFINE + np.eye(4) * 0.1))
        with threadpool_limits(threads):
            written.append(batch.run("continuous")[0])
    np.testing.assert_array_equal(*written)


def test_the_background_is_filled_if_configured(batch, data):
    centre = np.zeros(SHAPE, np.float32)
    centre[12:34, 14:40, 12:34] = 5 + data[12:34, 14:40, 12:34]
    batch.add(1, image_bytes(centre))
    batch.add(2, image_bytes(-centre))
    plain, quality = batch.run()
    filled, same_quality = batch.run(extrapolate_background=True)
    # Negative values are data, too.
    np.testing.assert_array_equal(filled[1], -filled[0])
    assert (plain == 0).mean() > 0.1
    assert (filled == 0).mean() < (plain == 0).mean() / 2
    assert same_quality == quality


def test_values_beyond_float32_are_cleaned(batch, data):
    large = data.astype(np.float64)
    large[20, 20, 20] = 1e300
    batch.add(1, image_bytes(large))
    voxels, _ = batch.run()
    assert np.isfinite(voxels).all()
    assert np.abs(voxels).max() <= np.abs(data).max()


def test_quality_does_not_depend_on_the_mask_of_the_analysis(tmp_path, mask_img, data):
    part = np.asarray(mask_img.dataobj).copy()
    part[:, :, :14] = 0
    tables = []
    for name, inside in (("whole", np.asarray(mask_img.dataobj)), ("part", part)):
        batch = Batch(tmp_path / name, nib.Nifti1Image(inside, mask_img.affine))
        batch.add(1, image_bytes(data))
        voxels, quality = batch.run()
        assert voxels.shape == (1, np.count_nonzero(inside))
        tables.append(quality)
    assert tables[0] == tables[1]


@pytest.mark.parametrize(("value", "reason"), [(0, "outside_template"), (3, "constant")])
def test_an_image_that_is_constant_in_the_mask_of_the_analysis_is_rejected(value, reason, tmp_path, mask_img, data):
    batch = Batch(tmp_path, mask_img)
    data[5:40, 8:50, 6:40] = value
    centre = np.zeros(mask_img.shape, np.uint8)
    centre[14:19, 17:22, 13:18] = 1
    nib.save(nib.Nifti1Image(centre, mask_img.affine), batch.mask)
    batch.add(1, image_bytes(data))
    _, quality = batch.run()
    assert (quality[0]["reason"], quality[0]["row"]) == (reason, None)


@pytest.mark.parametrize("scale", [1e18, 1e-25])
def test_values_of_any_unit_are_masked_and_measured(scale, batch, data):
    batch.add(1, image_bytes(data))
    batch.add(2, image_bytes((data * scale).astype(np.float32)))
    voxels, quality = batch.run()
    np.testing.assert_allclose(voxels[1].astype(float), voxels[0].astype(float) * scale, rtol=1e-4, atol=1e-5 * scale)
    assert [quality[1][name] for name in ("sd", "rms", "max_abs")] == pytest.approx(
        [quality[0][name] * scale for name in ("sd", "rms", "max_abs")], rel=1e-5
    )


def test_integers_are_measured_with_the_step_of_the_file(batch, data):
    """The zeros of this file read as 0.0149, half a step."""
    brain = np.zeros(SHAPE, bool)
    brain[6:40, 8:50, 6:40] = True
    stored = np.where(brain, np.clip(np.round(100 * data), -126, 126), 0).astype(np.int16)
    batch.add(1, image_bytes(stored, scl_slope=0.03, scl_inter=0.0149))
    _, quality = batch.run()
    assert quality[0]["background_fraction"] == 0
    assert quality[0]["outside_fraction"] < 0.5


def sform(*rows: tuple[float, ...]) -> bytes:
    return np.array(rows, "<f4").tobytes()


# Offsets of NIfTI-1: dim 40, datatype 70, bitpix 72, vox_offset 108, sform_code 254, srow_x 280.
HEADER_FAULTS = {
    "claims 32767 voxels each way": (40, np.array([3, 32767, 32767, 32767], "<i2").tobytes(), "too_large"),
    "one long line": (40, np.array([3, 32767, 2, 1], "<i2").tobytes(), "too_large"),
    "claims more than the file has": (40, np.array([3, 300, 300, 300], "<i2").tobytes(), "unreadable"),
    "negative length": (40, np.array([3, -5, 10, 10], "<i2").tobytes(), "unreadable"),
    "no dimensions": (40, np.array([0, 1, 1, 1], "<i2").tobytes(), "not_3d"),
    "a plane": (40, np.array([2, 10, 10, 1], "<i2").tobytes(), "not_3d"),
    "two volumes": (40, np.array([4, 10, 10, 10, 2], "<i2").tobytes(), "not_3d"),
    "two statistics": (40, np.array([5, 10, 10, 10, 1, 2], "<i2").tobytes(), "not_3d"),
    "colours": (70, np.array([128, 24], "<i2").tobytes(), "not_numeric"),
    "complex": (70, np.array([32, 64], "<i2").tobytes(), "not_numeric"),
    "unknown type": (70, np.array([999, 24], "<i2").tobytes(), "unreadable"),
    "data begin far away": (108, np.array([1e30], "<f4").tobytes(), "unreadable"),
    "data begin nowhere": (108, np.array([np.nan], "<f4").tobytes(), "unreadable"),
    "wrong magic": (344, b"nop\0", "unreadable"),
    "header of a pair": (344, b"ni1\0", "unreadable"),
    "affine of zeros": (280, sform((0,) * 4, (0,) * 4, (0,) * 4), "bad_affine"),
    "affine not finite": (280, sform((np.nan, 0, 0, 0), (0, 4, 0, 0), (0, 0, 4, 0)), "bad_affine"),
    "affine of a plane": (280, sform((4, 4, 0, 0), (4, 4, 0, 0), (0, 0, 4, 0)), "bad_affine"),
    "voxels of a metre": (280, sform((1000, 0, 0, 0), (0, 4, 0, 0), (0, 0, 4, 0)), "bad_affine"),
    "voxels of a micrometre": (280, sform((0.001, 0, 0, 0), (0, 4, 0, 0), (0, 0, 4, 0)), "bad_affine"),
    "far away": (280, sform((4, 0, 0, 5000), (0, 4, 0, 0), (0, 0, 4, 0)), "outside_template"),
}


@pytest.mark.parametrize("fault", HEADER_FAULTS)
def test_a_wrong_header_has_a_reason_in_the_table(fault, batch, data):
    offset, value, reason = HEADER_FAULTS[fault]
    batch.add(1, damaged(image_bytes(data), offset, value))
    batch.add(2, image_bytes(data))
    voxels, quality = batch.run()
    assert [(row["reason"], row["row"]) for row in quality] == [(reason, None), (None, 0)]
    assert quality[0]["value"]
    assert len(voxels) == 1


FILE_FAULTS = {
    "no bytes": lambda _: b"",
    "HTML": lambda _: b"<!DOCTYPE html><html>" * 50,
    "text packed": lambda _: gzip.compress(b"hello " * 500),
    "half a file": lambda packed: packed[: len(packed) // 2],
    "without its end": lambda packed: packed[:-4],
    "only the magic number": lambda packed: packed[:2],
    "a changed byte": lambda packed: damaged(packed, len(packed) // 2, bytes([packed[len(packed) // 2] ^ 255])),
    "a changed checksum": lambda packed: damaged(packed, len(packed) - 8, b"\1\2\3\4"),
    "packed twice": lambda packed: gzip.compress(packed),
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_a_damaged_file_is_unreadable(fault, batch, data):
    batch.add(1, FILE_FAULTS[fault](gzip.compress(image_bytes(data))), packed=False)
    voxels, quality = batch.run()
    assert quality[0]["reason"] == "unreadable"
    assert quality[0]["value"]
    assert len(voxels) == 0


def test_images_that_disappeared_after_the_download_stop_the_run(batch, data):
    kept, cut, deleted = (batch.add(number, image_bytes(data)) for number in range(3))
    cut.write_bytes(cut.read_bytes()[:-1])
    deleted.unlink()
    with pytest.raises(RuntimeError, match=r"\(2 of 3\), such as \S+image_1.nii.gz; .* --forcerun download_images"):
        batch.run()
    assert kept.exists()


def test_a_file_without_read_permission_is_unreadable(batch, data, monkeypatch):
    batch.add(1, image_bytes(data))
    monkeypatch.setattr(Path, "read_bytes", refuse)
    _, quality = batch.run()
    assert (quality[0]["reason"], quality[0]["value"]) == ("unreadable", "Permission denied")


def refuse(path):
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: np.zeros_like(data), "empty"),
        (lambda data: np.full_like(data, np.nan), "empty"),
        (lambda data: np.where(data == data.max(), np.inf, 0), "empty"),
        (lambda data: np.full_like(data, 3), "empty"),
    ],
    ids=["zeros", "NaN", "infinite or zero", "one value everywhere"],
)
def test_an_image_without_data_is_empty(change, reason, batch, data):
    batch.add(1, image_bytes(change(data).astype(np.float32)))
    _, quality = batch.run()
    assert quality[0]["reason"] == reason


def test_a_failure_leaves_no_file(batch, data, monkeypatch):
    batch.add(1, image_bytes(data))
    monkeypatch.setattr("mask_images.write_table", lambda *_: None)
    monkeypatch.setattr("neurovault_ica.images.masking.mask_image", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        batch.run()
    assert list((batch.folder / "mask_images").iterdir()) == []


def test_the_stage_imports_no_heavy_package():
    code = "import mask_images, sys; print(*{'nilearn', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


@pytest.fixture
def masked_files(monkeypatch):
    """The file names of the images that were read, in order."""
    names = []

    def read(path, **options):
        names.append(path.name)
        return read_image(path, **options)

    monkeypatch.setattr("mask_images.read_image", read)
    return names


def outputs(folder):
    return [(folder / "mask_images" / name).read_bytes() for name in ("voxels-0.npy", "quality-0.tsv")]


def test_an_update_masks_only_new_and_changed_images(batch, data, mask_img, masked_files, tmp_path):
    for image_id, content in ((1, data), (2, data * 0), (3, data[::-1]), (4, data**3)):
        batch.add(image_id, image_bytes(content))
    batch.run()
    del masked_files[:], batch.rows[2]
    # Snakemake deletes the outputs of a job before it runs.
    for file in (batch.folder / "mask_images").glob("*-0.*"):
        file.unlink()
    batch.add(5, image_bytes(data + 1))
    batch.add(1, image_bytes(data + 2))
    batch.rows = [batch.rows[3], batch.rows[2], batch.rows[1], batch.rows[4]]
    batch.run()
    assert masked_files == ["image_5.nii.gz", "image_1.nii.gz"]
    scratch = Batch(tmp_path / "scratch", mask_img)
    for image_id, content in ((5, data + 1), (4, data**3), (2, data * 0), (1, data + 2)):
        scratch.add(image_id, image_bytes(content))
    _, quality = scratch.run()
    assert outputs(batch.folder) == outputs(scratch.folder)
    assert [row["reason"] for row in quality] == [None, None, "empty", None]


@pytest.mark.parametrize("change", ["setting", "mask", "code", "script", "voxels", "list", "table"])
def test_nothing_is_taken_over_if_anything_else_has_changed(batch, data, masked_files, monkeypatch, change):
    batch.add(1, image_bytes(data))
    batch.run()
    expected, kept = outputs(batch.folder), batch.folder / "mask_images/kept"
    batch.run()
    assert masked_files == ["image_1.nii.gz"]
    options = {}
    if change == "setting":
        options["interpolation"] = "nearest"
    elif change == "mask":
        mask = nib.load(batch.mask)
        nib.save(nib.Nifti1Image(mask.get_fdata()[:, :, ::-1], mask.affine), batch.mask)
    elif change == "code":
        monkeypatch.setattr("neurovault_ica.images.reuse.version", lambda _: "0.1")
    elif change == "script":
        monkeypatch.setattr("mask_images._report", lambda *_: None)
    elif change == "voxels":
        content = bytearray((kept / "voxels-0.npy").read_bytes())
        content[-9] ^= 1
        (kept / "voxels-0.npy").unlink()
        (kept / "voxels-0.npy").write_bytes(content)
    elif change == "list":
        (kept / "voxels-0.json").write_text((kept / "voxels-0.json").read_text()[:-9])
    else:
        (kept / "quality-0.tsv").unlink()
    batch.run(**options)
    assert masked_files == ["image_1.nii.gz"] * 2
    if change in ("code", "script", "voxels", "list", "table"):
        assert outputs(batch.folder) == expected


def test_a_file_system_without_hard_links_masks_again(batch, data, masked_files, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "Operation not permitted")))
    batch.add(1, image_bytes(data))
    batch.run()
    batch.run()
    assert len(masked_files) == 2


@pytest.mark.parametrize("content", [None, b"another size"])
def test_an_image_that_was_deleted_or_changed_since_its_check_stops_the_run(batch, data, content):
    path = batch.add(1, image_bytes(data))
    if content:
        path.write_bytes(content)
    else:
        path.unlink()
    with pytest.raises(
        RuntimeError, match=r"images in .* were deleted or changed .*\(1 of 1\).*--forcerun download_images"
    ):
        batch.run()
