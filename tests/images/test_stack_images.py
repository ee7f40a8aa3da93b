"""Each selected image is in the matrix, or in rejected.tsv with a reason."""

import nibabel as nib
import numpy as np
import pytest
import stack_images
from neurovault_ica.images.criteria import CRITERIA
from neurovault_ica.images.smoothing import Smoother
from neurovault_ica.images.targets import target_of
from neurovault_ica.runtime.tables import read_table
from partial_tables import write_partial

# Measures of an image that meets every limit.
GOOD = {column: 0.5 for criterion in CRITERIA for column in criterion.columns} | {
    "distinct_values": 100, "mean": 0.0, "sd": 1.0,
}  # fmt: skip


class Stack:
    """Two batches of images that stack_images joins."""

    def __init__(self, folder, mask_img=None):
        self.folder = folder
        self.mask_img = mask_img
        self.selected = []
        self.batches = [([], [], []), ([], [], [])]

    def add(self, batch, image_id, voxels=None, *, reason=None, **measured):
        """Add an image. Without voxels, measures and reason it was not available; with a reason it is unusable."""
        status, quality, values = self.batches[batch]
        self.selected.append({"image_id": image_id, "collection_id": image_id, "map_type": "Z map"})
        if voxels is None and reason is None:
            status.append({"image_id": image_id, "status": "failed", "reason": "not_found"})
            return
        status.append({"image_id": image_id, "status": "ok"})
        if reason:
            quality.append({"image_id": image_id, "reason": reason, "value": "found"})
        else:
            quality.append({"image_id": image_id, "row": len(values)} | GOOD | measured)
            values.append(voxels)

    def table(self, name, rows):
        return write_partial(self.folder / name, rows)

    def run(self, *, limits, scale="none", signs="together", smoothing_mm=None, max_failed_fraction=1.0):
        """Run the stage, and return its matrix and tables."""
        files = []
        for number, (_, _, values) in enumerate(self.batches):
            files.append(str(self.folder / f"voxels-{number}.npy"))
            np.save(files[-1], np.array(values, np.float32).reshape(len(values), -1))
        if self.mask_img is None:
            (self.folder / "brain.nii.gz").write_bytes(b"mask")
        else:
            nib.save(self.mask_img, self.folder / "brain.nii.gz")
        outputs = {
            name: str(self.folder / "stack_images" / f"{name}.tsv") for name in ("images", "rejected", "quality")
        }
        stack_images.main(
            selection=self.table("fetch_metadata/images.tsv", self.selected),
            downloads=[self.table(f"download_images/status-{n}.tsv", b[0]) for n, b in enumerate(self.batches)],
            qualities=[self.table(f"mask_images/quality-{n}.tsv", b[1]) for n, b in enumerate(self.batches)],
            voxels=files,
            brain_mask=str(self.folder / "brain.nii.gz"),
            matrix=str(self.folder / "matrix.npy"),
            mask=str(self.folder / "mask.nii.gz"),
            **outputs,
            smoothing_mm=smoothing_mm,
            scale=scale,
            signs=signs,
            limits=limits,
            max_failed_fraction=max_failed_fraction,
            threads=2,
        )
        return np.load(self.folder / "matrix.npy"), {name: read_table(path) for name, path in outputs.items()}


@pytest.fixture
def images():
    return np.random.default_rng(0).standard_normal((5, 4000)).astype(np.float32)


@pytest.fixture
def stack(tmp_path, images):
    stack = Stack(tmp_path)
    stack.add(1, 30, images[0])
    stack.add(0, 10, images[1])
    stack.add(0, 20)
    stack.add(1, 40, reason="not_3d")
    stack.add(0, 50, -2 * images[0])
    stack.add(1, 60, images[2], coverage=0.1)
    stack.add(1, 70, images[3])
    return stack


def test_every_image_is_kept_or_rejected_with_its_reason(stack, images):
    matrix, tables = stack.run(limits={"min_coverage": 0.4, "max_duplicate_correlation": 0.99})
    np.testing.assert_array_equal(matrix, images[[0, 1, 3]])
    assert [(row["image_id"], row["row"]) for row in tables["images"]] == [("30", 0), ("10", 1), ("70", 2)]
    assert [row["sd"] for row in tables["images"]] == pytest.approx(images[[0, 1, 3]].std(axis=1, dtype=float))
    columns = ("image_id", "reason", "value", "threshold", "stage")
    assert [tuple(row[column] for column in columns) for row in tables["rejected"]] == [
        ("20", "not_found", None, None, "download_images"),
        ("40", "not_3d", "found", None, "mask_images"),
        ("50", "inverted_contrast", "r = -1.0 with image 30", "0.99", "stack_images"),
        ("60", "coverage", "0.1", "0.4", "stack_images"),
    ]
    used = {row["image_id"]: row["used"] for row in tables["quality"]}
    assert used == {"30": True, "10": True, "20": False, "40": False, "50": False, "60": False, "70": True}
    assert (stack.folder / "mask.nii.gz").read_bytes() == b"mask"


def test_images_are_smoothed_after_they_were_judged(tmp_path):
    mask = np.ones((12, 12, 12), np.uint8)
    rng = np.random.default_rng(0)
    first = rng.standard_normal(mask.size).astype(np.float32)
    # A chessboard of noise that smoothing removes: only the smoothed images are nearly equal.
    chessboard = np.where(np.indices(mask.shape).sum(axis=0) % 2, 1, -1).ravel()
    second = (first + chessboard).astype(np.float32)
    stack = Stack(tmp_path, nib.Nifti1Image(mask, np.diag([2, 2, 2, 1])))
    stack.add(0, 1, first)
    stack.add(1, 2, second)
    matrix, tables = stack.run(limits={"max_duplicate_correlation": 0.9}, scale="none", smoothing_mm=6)
    smooth = Smoother(target_of(stack.mask_img), 6)
    np.testing.assert_array_equal(matrix, [smooth(first), smooth(second)])
    assert np.corrcoef(matrix)[0, 1] > 0.95
    assert [row["sd"] for row in tables["images"]] == pytest.approx(matrix.std(axis=1, dtype=float))


def test_without_limits_only_unusable_images_are_rejected(stack, images):
    matrix, tables = stack.run(limits={}, scale="unit_variance")
    kept = images[[0, 1, 0, 2, 3]].astype(float) * np.array([1, 1, -2, 1, 1])[:, None]
    np.testing.assert_allclose(matrix, kept / kept.std(axis=1, keepdims=True), rtol=1e-5)
    assert [row["reason"] for row in tables["rejected"]] == ["not_found", "not_3d"]


def test_too_many_failed_downloads_stop_the_run(stack):
    stack.run(limits={}, max_failed_fraction=1 / 7)
    with pytest.raises(RuntimeError, match=r"1 of 7 images .*max_failed_fraction 0\.1 allows; .*: 20 \(not_found\)"):
        stack.run(limits={}, max_failed_fraction=0.1)


def test_a_run_without_images_stops_with_the_reasons(stack):
    with pytest.raises(RuntimeError, match=r"none of 7 images is left after quality control \(5 with data in"):
        stack.run(limits={"min_coverage": 0.9})


def test_an_image_that_is_selected_twice_stops_the_run(stack):
    stack.selected.append(stack.selected[2] | {"collection_id": 99})
    with pytest.raises(RuntimeError, match=r"an image_id occurs twice in .*: 8 selected, 5 kept, 2 rejected"):
        stack.run(limits={})


def test_files_of_batches_that_are_no_more_are_removed(tmp_path):
    """A run with more batches left them. Their voxels can be many GB."""
    stack = Stack(tmp_path)
    stack.add(0, 1, [1, 2, 3])
    stack.add(1, 2, [3, 1, 2])
    (tmp_path / "kept").mkdir()
    left = [tmp_path / name for name in ("voxels-2.npy", "quality-12.tsv", "kept/voxels-2.npy", "kept/voxels-2.json")]
    stay = [tmp_path / name for name in ("quality-1.tsv", "kept/voxels-1.json", "notes-2024.txt")]
    for file in left + stay:
        file.touch()
    stack.run(limits={})
    assert not [file for file in left if file.exists()]
    assert all(file.exists() for file in stay)
