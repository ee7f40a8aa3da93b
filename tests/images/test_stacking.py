"""The matrix has the wanted rows of the batches in the given order, scaled as configured."""

import os
from contextlib import ExitStack

import numpy as np
import pytest
from neurovault_ica.images.stacking import StackedVoxels, require_voxels, write_matrix, write_npy_header

PLACES = [(1, 2), (0, 0), (1, 0), (2, 1)]


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    return [rng.normal(3 * number, 1 + number, (4, 5000)).astype(np.float32) for number in range(3)]


@pytest.fixture
def stack(batches, tmp_path):
    files = [str(tmp_path / f"voxels-{number}.npy") for number in range(3)]
    for file, voxels in zip(files, batches, strict=True):
        np.save(file, voxels)
    return StackedVoxels(files, PLACES)


def test_rows_come_from_the_files_of_the_batches(stack, batches):
    assert len(stack) == 4
    assert stack.shape == (4, 5000)
    for row, (file, place) in enumerate(PLACES):
        np.testing.assert_array_equal(stack[row], batches[file][place])


def test_unscaled_rows_are_written_as_they_are(stack, batches, tmp_path):
    path = tmp_path / "matrix.npy"
    sds = [row["sd"] for row in write_matrix(str(path), stack, [3, 1], scale="none")]
    expected = np.stack([batches[2][1], batches[0][0]])
    np.testing.assert_array_equal(np.load(path), expected)
    assert sds == pytest.approx(expected.std(axis=1, dtype=np.float64), rel=1e-12)


def test_unit_variance_divides_by_the_standard_deviation_and_keeps_the_mean(stack, batches, tmp_path):
    path = tmp_path / "matrix.npy"
    sds = [row["sd"] for row in write_matrix(str(path), stack, [0, 2, 3], scale="unit_variance")]
    images = np.stack([batches[1][2], batches[1][0], batches[2][1]]).astype(np.float64)
    matrix = np.load(path)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix.std(axis=1, dtype=np.float64), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix, images / images.std(axis=1, keepdims=True), rtol=1e-6)
    assert sds == pytest.approx(images.std(axis=1), rel=1e-12)
    assert sds[2] > 1.4 * sds[0], "the images differ in scale"


def test_taken_rows_give_the_same_matrix_and_are_never_twice_on_the_disk(stack, tmp_path):
    """The disk space of a row is freed before the next row is added to the matrix."""
    paths = [str(tmp_path / f"{name}.npy") for name in ("kept", "taken")]
    options = {"scale": "unit_variance", "signs": "split"}
    rows = [0, 2, 3]  # two of file 1, and one of file 2; file 0 is not needed
    expected = write_matrix(paths[0], stack, rows, **options)
    with ExitStack() as files:
        opened = [files.enter_context((tmp_path / f"voxels-{number}.npy").open("rb")) for number in range(3)]
        sizes = []

        def watched(voxels):
            sizes.append([(os.fstat(file.fileno()).st_size - 128) // voxels.nbytes for file in opened])
            return voxels

        assert write_matrix(paths[1], stack, rows, **options, smooth=watched, take=True) == expected
    assert sizes == [[4, 4, 1], [4, 2, 1], [4, 0, 1]]
    assert (tmp_path / "taken.npy").read_bytes() == (tmp_path / "kept.npy").read_bytes()
    assert [path.name for path in tmp_path.glob("voxels-*")] == ["voxels-0.npy"]


def test_a_run_killed_while_rows_are_taken_leaves_whole_files_or_none(stack, batches, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_matrix(str(tmp_path / "matrix.npy"), stack, [0, 1, 2, 3], scale="none", smooth=stop, take=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["voxels-0.npy", "voxels-1.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "voxels-1.npy"), batches[1])
    with pytest.raises(RuntimeError, match=r"missing \(1 of 3\), such as .*voxels-2\.npy\. .*Run again"):
        require_voxels([str(tmp_path / f"voxels-{number}.npy") for number in range(3)])


def test_a_matrix_that_fails_leaves_no_file(stack, tmp_path):
    with pytest.raises(IndexError):
        write_matrix(str(tmp_path / "matrix.npy"), stack, [0, 9], scale="none")
    assert not list(tmp_path.glob("*matrix*"))


def test_a_header_can_be_rewritten_with_more_rows(tmp_path):
    path = tmp_path / "voxels.npy"
    values = np.arange(24, dtype=np.float32).reshape(8, 3)
    with path.open("wb") as stream:
        write_npy_header(stream, (0, 3))
        stream.write(values.data)
        stream.seek(0)
        write_npy_header(stream, (8, 3))
    np.testing.assert_array_equal(np.load(path), values)
