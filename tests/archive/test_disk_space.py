"""The disk space that is announced before a run equals the size of the files that it writes."""

import pytest
from conftest import ROOT
from neurovault_ica.archive.disk_space import Need, check, needed, notice, still_needed, used_bytes
from neurovault_ica.runtime.layers import read_file

CONFIG = read_file(ROOT / "config.yaml")
FREE = 40_000_000_000


@pytest.fixture
def disk(monkeypatch, tmp_path):
    """A disk with 40 GB free."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": FREE}))
    return tmp_path / "results"


def settings(**masking):
    return CONFIG | {"mask_images": CONFIG["mask_images"] | masking}


@pytest.mark.parametrize(
    ("masking", "voxels"), [({}, 235_375), ({"resolution_mm": 4}, 29_398), ({"mask": "gray_matter"}, 204_492)]
)
def test_before_the_mask_is_made_its_size_is_estimated(disk, masking, voxels):
    need = needed(settings(**masking), 1000, disk)
    assert 4000 * voxels <= need.mask_images == need.stack_images < 1.2 * 4000 * voxels
    assert needed(settings(mask="mine.nii.gz"), 1000, disk) is None


def test_a_disk_that_is_too_small_stops_the_run_with_numbers_and_advice(disk):
    text = (
        r"is too small: 28000 images need at most 53\.3 GB in results/: mask_images 26\.4 GB, stack_images 26\.4 GB,"
        r" other stages 0\.5 GB\. 40\.0 GB are free, so 13\.3 GB are missing\. Make space, set mask_images.keep_voxels:"
        r" false \(26\.4 GB less\)"
    )
    with pytest.raises(RuntimeError, match=text):
        list(check(CONFIG, 28000, disk))
    [said] = check(settings(keep_voxels=False), 28000, disk)
    assert said.startswith("28000 images need at most 26.9 GB in results/")
    with pytest.raises(RuntimeError, match=r"14\.0 GB are still to be downloaded.* 0\.9 GB are missing"):
        list(check(settings(keep_voxels=False), 28000, disk, to_download=14_000_000_000))
    assert list(check(CONFIG, 100, disk)) == [], "little"


def test_before_the_selection_the_largest_number_of_images_counts(disk):
    large = CONFIG | {"fetch_metadata": CONFIG["fetch_metadata"] | {"max_images": 28000}}
    [line] = notice(large, disk)
    assert line.startswith("Disk: the disk of ")
    (disk / "fetch_metadata").mkdir(parents=True)
    (disk / "fetch_metadata/images.tsv").write_text("image_id\n" + "1\n" * 10000)
    [line] = notice(large, disk)
    assert line.startswith("Disk: 10000 images need at most 19.1 GB in results/")
    (disk / "stack_images").mkdir()
    (disk / "stack_images/matrix.npy").touch()
    assert list(notice(large, disk)) == []


def test_a_file_with_two_names_counts_once(tmp_path):
    (tmp_path / "voxels.npy").write_bytes(bytes(1_000_000))
    once = used_bytes(tmp_path)
    (tmp_path / "kept.npy").hardlink_to(tmp_path / "voxels.npy")
    assert once == used_bytes(tmp_path) >= 1_000_000


def test_an_update_needs_space_for_the_batches_that_are_masked_at_once(disk, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    (disk / "mask_images/kept").mkdir(parents=True)
    (disk / "mask_images/voxels-0.npy").write_bytes(bytes(4_000_000))
    need = Need(4_000_000, 4_000_000, 0, keeps_voxels=True, batches=4)
    assert still_needed(need, disk) == 4_000_000, "the matrix"
    (disk / "mask_images/kept/voxels-0.npy").hardlink_to(disk / "mask_images/voxels-0.npy")
    assert still_needed(need, disk) == 6_000_000, "the matrix, and two of four batches again"
    assert still_needed(need._replace(batches=1), disk) == 8_000_000
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5_000_000}))
    message = r"new voxels need \d\.\d GB until they replace those of the last run\. 0\.0 GB are free"
    with pytest.raises(RuntimeError, match=message):
        list(check(settings(resolution_mm=4), 40, disk))
