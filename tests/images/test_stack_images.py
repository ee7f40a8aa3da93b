"""The matrix has every image, or rejected.tsv says why not."""

import numpy as np
import pytest
import stack_images
from neurovault_ica.runtime.tables import column_names, write_table


def test_an_image_that_is_there_twice_is_not_lost_silently(tmp_path):
    selection = tmp_path / "fetch_metadata" / "images.tsv"
    write_table(
        selection, [dict.fromkeys(column_names(selection)) | {"image_id": 1, "collection_id": n} for n in (1, 2)]
    )
    status = tmp_path / "download_images" / "status-0.tsv"
    failed = {"image_id": 1, "status": "failed", "reason": "not_found"}
    write_table(status, [dict.fromkeys(column_names(status)) | failed])
    np.save(tmp_path / "voxels.npy", np.ones((1, 3), np.float32))
    outputs = {name: str(tmp_path / name) for name in ("matrix", "images", "rejected", "quality", "mask")}
    with pytest.raises(RuntimeError, match="2 images were selected, but 0 are kept and 1 rejected"):
        stack_images.main(
            selection=str(selection), downloads=[str(status)], qualities=[], voxels=[str(tmp_path / "voxels.npy")],
            brain_mask="", **outputs, scale="none", limits={},
            max_failed_fraction=1.0,
        )  # fmt: skip
