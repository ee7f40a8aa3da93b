"""Reference networks are read from files and atlases, or refused with a reason."""

import ftplib
import gzip
import http.server
import inspect
import threading

import nibabel as nib
import nilearn.datasets
import nilearn.datasets.atlas
import numpy as np
import pytest
import requests
from neurovault_ica.images.targets import target_of
from neurovault_ica.naming.nilearn_atlases import NILEARN_ATLASES, SMITH_NAMES
from neurovault_ica.naming.references import fetch_atlas, read_reference
from neurovault_ica.record.bibliography import read_works
from nilearn.datasets import load_mni152_brain_mask
from nilearn.image import resample_to_img

FOCI_MM = [(-40, -24, 52), (0, -84, 6), (28, 30, -10)]


@pytest.fixture(scope="module")
def mask_img():
    return load_mni152_brain_mask(resolution=4)


def networks(affine=None, shape=(61, 73, 61)):
    """Make three blobs on another grid than the mask: 3 mm voxels, right to left."""
    affine = np.array([[-3.0, 0, 0, 90], [0, 3, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]]) if affine is None else affine
    mm = nib.affines.apply_affine(affine, np.indices(shape).reshape(3, -1).T)
    blobs = [5 * np.exp(-np.square(mm - focus).sum(axis=1) / 450) for focus in FOCI_MM]
    return nib.Nifti1Image(np.stack(blobs, axis=-1).reshape(*shape, 3).astype(np.float32), affine)


def saved(folder, img, name="mine.nii.gz"):
    nib.save(img, folder / name)
    return str(folder / name)


def read(reference, mask_img, data_dir="unused"):
    return read_reference(str(reference), target_of(mask_img), data_dir=str(data_dir))


def test_maps_are_resampled_as_nilearn_does_and_numbered_without_names(tmp_path, mask_img):
    img = networks()
    found = read(saved(tmp_path, img), mask_img)
    inside = np.asarray(mask_img.dataobj) != 0
    expected = resample_to_img(img, mask_img, "linear", force_resample=True, copy_header=True).get_fdata()[inside].T
    np.testing.assert_allclose(found.maps, expected, atol=1e-5)
    assert found.names == ["network 1", "network 2", "network 3"]


def test_names_are_read_from_the_file_beside(tmp_path, mask_img):
    path = saved(tmp_path, networks())
    (tmp_path / "mine.txt").write_text("motor\nvisual\nreward\n")
    assert read(path, mask_img).names == ["motor", "visual", "reward"]
    (tmp_path / "mine.txt").write_text("motor\nvisual\n")
    with pytest.raises(ValueError, match=r"mine\.nii\.gz: it has 3 volumes, but 2 names"):
        read(path, mask_img)


def test_a_label_image_gives_a_map_for_each_label(tmp_path, mask_img):
    blobs = networks()
    data = np.asarray(blobs.dataobj)
    labels = np.where(data.max(axis=-1) > 2, np.array([2, 5, 9])[data.argmax(axis=-1)], 0).astype(np.int16)
    path = saved(tmp_path, nib.Nifti1Image(labels[..., np.newaxis], blobs.affine))
    (tmp_path / "mine.tsv").write_text("index\tname\n2\tmotor\n5\tvisual\n77\tabsent\n")
    found = read(path, mask_img)
    assert found.names == ["motor", "visual", "network 9"]
    assert set(np.unique(found.maps)) == {0, 1}
    places = nib.affines.apply_affine(mask_img.affine, np.argwhere(np.asarray(mask_img.dataobj) != 0))
    for map_, focus in zip(found.maps, FOCI_MM, strict=True):
        np.testing.assert_allclose(places[map_ == 1].mean(axis=0), focus, atol=3)


def label_image(labels=(2, 5, 9)):
    blobs = networks()
    data = np.asarray(blobs.dataobj)
    return np.where(data.max(axis=-1) > 2, np.array(labels)[data.argmax(axis=-1)], 0), blobs.affine


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint8"])
def test_labels_that_the_file_stores_rounded_are_labels(dtype, tmp_path, mask_img):
    labels, affine = label_image()
    expected = read(saved(tmp_path, nib.Nifti1Image(labels.astype(np.int16), affine)), mask_img)
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    path = saved(tmp_path, nib.Nifti1Image(labels.astype(float), affine, header))
    found = read(path, mask_img)
    assert found.names == ["network 2", "network 5", "network 9"]
    np.testing.assert_array_equal(found.maps, expected.maps)


def test_interpolated_labels_are_refused_with_their_values(tmp_path, mask_img):
    labels, affine = label_image()
    labels = labels.astype(np.float32)
    labels[np.argwhere(labels == 5)[0][0]] *= 0.5
    with pytest.raises(ValueError, match=r"2 values that are not whole .*such as 2\.5, 4\.5, but most are.* nearest"):
        read(saved(tmp_path, nib.Nifti1Image(labels, affine)), mask_img)


def test_a_single_map_is_one_network_and_values_that_are_not_finite_are_zero(tmp_path, mask_img, caplog):
    img = networks()
    one = np.asarray(img.dataobj)[..., 0].copy()
    one[one < 0.1] = np.nan
    found = read(saved(tmp_path, nib.Nifti1Image(one, img.affine)), mask_img)
    assert found.names == ["network 1"]
    assert "one volume, which is not a label image" in caplog.text
    assert np.isfinite(found.maps).all()
    assert found.maps.max() == pytest.approx(5, rel=0.1)


def test_networks_outside_the_mask_are_left_out(tmp_path, mask_img, caplog):
    img = networks()
    data = np.asarray(img.dataobj).copy()
    data[..., 1] = 0
    found = read(saved(tmp_path, nib.Nifti1Image(data, img.affine)), mask_img)
    assert found.names == ["network 1", "network 3"]
    assert "dropped the networks without a voxel in the mask: network 2" in caplog.text


BROKEN = {
    "origin in a corner": (lambda data, _: (data, np.diag([3.0, 3, 3, 1])), "lie in the MNI152 brain"),
    "far away": (
        lambda data, affine: (data, affine + np.outer([1, 1, 1, 0], [0, 0, 0, 300])),
        "lie in the MNI152 brain",
    ),
    "empty": (lambda data, affine: (0 * data, affine), "all voxels are 0"),
    "five dimensions": (lambda data, affine: (np.stack([data, data], axis=-1), affine), "3-D or 4-D"),
    "complex": (lambda data, affine: (data.astype(np.complex64), affine), "complex64"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_files_without_networks_in_mni_space_are_refused(fault, tmp_path, mask_img):
    img = networks()
    change, message = BROKEN[fault]
    data, affine = change(np.asarray(img.dataobj), img.affine)
    with pytest.raises(ValueError, match=message) as error:
        read(saved(tmp_path, nib.Nifti1Image(data, affine)), mask_img)
    assert "match_networks.reference" in str(error.value)


def test_files_that_are_not_images_are_refused(tmp_path, mask_img):
    (tmp_path / "page.nii.gz").write_text("<html>")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        read(tmp_path / "page.nii.gz", mask_img)
    with pytest.raises(ValueError, match="no such file"):
        read(tmp_path / "absent.nii", mask_img)


@pytest.fixture
def server():
    """Serve files of {path: content} on the loopback, and count the requests."""
    content, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = content.get(self.path)
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.005,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/", content, asked
        running.shutdown()
        thread.join()


def at(monkeypatch, url):
    """Let nilearn's own fetcher of the Smith networks ask the test's server."""
    fetch = nilearn.datasets.fetch_atlas_smith_2009
    monkeypatch.setattr(nilearn.datasets, "fetch_atlas_smith_2009", lambda **arguments: fetch(url=url, **arguments))


def test_nilearn_downloads_an_atlas_once_into_the_data_folder(tmp_path, mask_img, server, monkeypatch):
    url, content, asked = server
    img = networks()
    ten = np.concatenate([np.asarray(img.dataobj)] * 4, axis=-1)[..., :10]
    content["/PNAS_Smith09_bm10.nii.gz"] = gzip.compress(nib.Nifti1Image(ten, img.affine).to_bytes())
    at(monkeypatch, url)
    for _ in range(2):
        found = read("smith_2009_bm10", mask_img, tmp_path / "data")
        assert found.names == list(SMITH_NAMES)
        np.testing.assert_array_equal(found.maps[0], found.maps[3])
    assert asked == ["/PNAS_Smith09_bm10.nii.gz"]
    assert [path.name for path in (tmp_path / "data").rglob("*.nii.gz")] == ["PNAS_Smith09_bm10.nii.gz"]


def test_an_atlas_that_cannot_be_fetched_is_named(tmp_path, mask_img, server, monkeypatch):
    url, _, asked = server
    at(monkeypatch, url)
    with pytest.raises(
        RuntimeError, match=r"smith_2009_rsn20: nilearn could not fetch this atlas \(HTTPError.*404"
    ) as error:
        read("smith_2009_rsn20", mask_img, tmp_path)
    assert asked
    assert "fetch_atlas_smith_2009" in str(error.value)


FETCHED = ["smith_2009_rsn10", "yeo_2011_7", "difumo_64", "msdl", "schaefer_2018_100", "allen_2011", "basc_2015_7"]
FAULTS = [requests.ConnectionError("no route"), ftplib.error_perm("550"), EOFError()]


@pytest.mark.parametrize(
    ("name", "fault"), [*((name, OSError("x")) for name in FETCHED), *((FETCHED[0], fault) for fault in FAULTS)]
)
def test_every_fetcher_without_network_access_names_its_atlas(name, fault, tmp_path, monkeypatch):
    """nilearn's own fetchers run with our arguments; only their network access is cut."""

    def cut(*_, **__):
        raise fault

    monkeypatch.setattr(nilearn.datasets.atlas, "fetch_files", cut)
    with pytest.raises(RuntimeError, match=f"{name}: nilearn could not fetch this atlas"):
        fetch_atlas(name, str(tmp_path))


def test_names_of_a_table_of_labels_are_read(tmp_path, mask_img, monkeypatch):
    """nilearn gives DiFuMo's labels as a table."""
    (tmp_path / "labels.csv").write_text("Component,Difumo_names,Yeo_networks7\n1,Motor,a\n2,Visual,b\n3,Reward,c\n")
    files = [str(tmp_path / "labels.csv"), saved(tmp_path, networks())]
    monkeypatch.setattr(nilearn.datasets.atlas, "fetch_files", lambda *_, **__: files)
    assert read("difumo_64", mask_img, tmp_path / "data").names == ["Motor", "Visual", "Reward"]


def test_networks_of_a_label_atlas_have_their_own_names(tmp_path, mask_img, monkeypatch):
    """nilearn lists the background first; it is not a network."""
    blobs = networks()
    data = np.asarray(blobs.dataobj)
    labels = np.where(data.max(axis=-1) > 2, 1 + data.argmax(axis=-1), 0).astype(np.uint8)
    maps = saved(tmp_path, nib.Nifti1Image(labels, blobs.affine))
    table = tmp_path / "order.txt"
    table.write_text("1\tMotor\t0\t0\t9\t0\n2\tVisual\t0\t9\t0\t0\n3\tReward\t9\t0\t0\t0\n")
    monkeypatch.setattr(nilearn.datasets.atlas, "fetch_files", lambda *_, **__: [str(table), maps])
    found = read("schaefer_2018_100", mask_img, tmp_path / "data")
    assert found.names == ["Motor", "Visual", "Reward"]
    assert found.maps.sum(axis=1).min() > 20


@pytest.mark.parametrize("name", NILEARN_ATLASES)
def test_nilearn_has_the_fetchers_with_these_arguments(name):
    atlas = NILEARN_ATLASES[name]
    fetcher = getattr(nilearn.datasets, atlas.fetcher)
    options = {"data_dir": "data", "verbose": 0} if atlas.is_downloaded else {}
    inspect.signature(fetcher).bind(**options, **atlas.arguments)
    assert atlas.work in read_works()
