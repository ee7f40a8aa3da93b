"""mask_images notices images that changed since download_images checked them."""

import pytest
from mask_images import main
from neurovault_ica.runtime.tables import read_table, write_table
from neurovault_server import nifti


@pytest.fixture
def masks(template_file):
    """The mask of the analysis and the brain, beside the template."""
    return [template_file.replace("template", name) for name in ("mask", "brain")]


@pytest.mark.parametrize("resampled", [False, True])
def test_a_users_own_map_is_never_treated_as_a_copy(tmp_path, masks, resampled):
    """The size of a copy is not compared, because the table has the size of the original."""
    content = nifti(1)
    (tmp_path / "face_resampled.nii.gz").write_bytes(content)
    status, quality = tmp_path / "download_images/status-0.tsv", tmp_path / "mask_images/quality-0.tsv"
    row = {"image_id": "1", "status": "ok", "reason": None, "bytes": len(content) + 1, "sha256": "a" * 64}
    write_table(status, [row | {"file": "face_resampled.nii.gz", "found": None}])

    def run():
        main(
            str(status), *masks, str(tmp_path / "mask_images/voxels-0.npy"), str(quality), data_dir=str(tmp_path),
            interpolation="linear", extrapolate_background=False, resampled=resampled,
        )  # fmt: skip

    if resampled:
        run()
        assert read_table(quality)[0]["reason"] is None
    else:
        with pytest.raises(RuntimeError, match=r"deleted or changed .*\(1 of 1\), such as face_resampled\.nii\.gz"):
            run()
