"""Checks of the configuration, their messages, defaults and overlays."""

import copy
import re

import pytest
from conftest import ROOT
from neurovault_ica.archive.archive import open_archive
from neurovault_ica.configuration.checking import check_configuration, check_scan, complete
from neurovault_ica.configuration.named_files import atlas_files, reference_files, term_database
from neurovault_ica.runtime.layers import read_file


@pytest.fixture
def config():
    return read_file(ROOT / "config.yaml")


def test_default_configuration_is_valid(config):
    check_configuration(config)


@pytest.mark.parametrize(
    ("ica", "flags", "found"),
    [
        ({"n_bootstraps": 0, "n_splits": 0}, {}, "n_bootstraps: 0, n_splits: 0"),
        ({"n_splits": 0}, {"min_r_bootstraps": None}, "flags.min_r_bootstraps: null, n_splits: 0"),
        ({}, {"min_r_bootstraps": None, "min_r_split_half": None}, "null, flags.min_r_split_half: null"),
    ],
)
def test_a_scan_that_could_recommend_nothing_is_refused_before_it_starts(config, ica, flags, found):
    config["run_ica"] |= ica
    config["run_ica"]["flags"] |= flags
    check_configuration(config)
    with pytest.raises(ValueError, match=rf"scan_components: .*{re.escape(found)}\), so no number could be"):
        check_scan(config["run_ica"])


@pytest.mark.parametrize("without", ["n_bootstraps", "n_splits"])
def test_a_scan_needs_only_one_measure(config, without):
    config["run_ica"][without] = 0
    check_scan(config["run_ica"])


def test_a_short_lock_is_too_few_images(config, tmp_path):
    lock = tmp_path / "images.lock.tsv"
    lock.write_text("image_id\n" + "1\n" * 11)
    config["archive"]["lock"] = str(lock)
    config["fetch_metadata"]["max_images"] = 5
    with pytest.raises(ValueError, match=rf"there are only 11 \(lines of archive\.lock {lock}\)"):
        check_configuration(config)
    lock.write_text("image_id\n" + "1\n" * 12)
    check_configuration(config)


@pytest.mark.parametrize("source", ["offline", "neurovault"])
@pytest.mark.parametrize("given", ["data/neurovault", "data/neurovault/collection_3", "."])
def test_a_cache_that_is_one_level_off_is_found(config, tmp_path, monkeypatch, source, given):
    (tmp_path / "data/neurovault/collection_3").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    config["archive"] |= {"source": source, "data_dir": given}
    with pytest.raises(ValueError, match=r"archive\.data_dir: .*; did you mean data\?$"):
        check_configuration(config)
    config["archive"]["data_dir"] = "data"
    check_configuration(config)


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_are_valid(config, preset, tmp_path, monkeypatch):
    (tmp_path / "data" / "neurovault").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for section, keys in read_file(preset).items():
        if isinstance(keys, dict):
            assert set(keys) <= set(config[section]), f"{preset.name}: {section}"
            keys = config[section] | keys
        config[section] = keys
    check_configuration(config)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("run_ica.n_component", 8, "run_ica.n_component: unknown key; did you mean n_components?"),
        ("run_ics", {}, "run_ics: unknown key; did you mean run_ica?"),
        ("run_ica.n_components", 0, "run_ica.n_components: 0 is not valid; expected: a whole number, 2 to 1000"),
        ("run_ica.n_components", "20", 'run_ica.n_components: "20" is not valid; expected: a whole number, 2 to 1000'),
        ("run_ica.n_components", True, "run_ica.n_components: true is not valid; expected: a whole number, 2 to 1000"),
        (
            "run_ica.n_bootstraps",
            1,
            "n_bootstraps: 1 is not valid; expected: a whole number of bootstrap samples, 0 or 2",
        ),
        ("archive.source", "ofline", 'archive.source: "ofline" is not valid; expected: demo'),
        ("archive.data_dir", None, "archive.data_dir: null is not valid; expected: the path of a folder"),
        ("mask_images.interpolation", "cubic", '"cubic" is not valid; expected: linear, continuous or nearest'),
        ("mask_images.smoothing_mm", 0, "0 is not valid; expected: a width (FWHM) in mm, a number above 0"),
        ("stack_images.quality.min_coverage", 60, "min_coverage: 60 is not valid; expected: a share, 0 to 1, or null"),
        ("stack_images.quality.min_covrage", 0.6, "did you mean min_coverage?"),
        ("stack_images.quality", {}, "stack_images.quality.min_coverage: this key is missing"),
        ("stack_images.quality", 0.6, "quality: 0.6 is not valid; expected: a mapping of criteria"),
        ("stack_images.quality.sign_percentile", 50, "50 is not valid; expected: a percentile above 0 and below 50"),
        (
            "plot_components.threshold",
            {"percentil": 90},
            "threshold.percentil: unknown key; did you mean percentile?",
        ),
        (
            "match_networks.reference",
            "smith_2009_rsn",
            'match_networks.reference: "smith_2009_rsn" is neither a NIfTI file (.nii, .nii.gz) nor an atlas of'
            " networks that nilearn has or can fetch; did you mean smith_2009_rsn10? known atlases: seitzman_2018,",
        ),
        ("match_networks.reference", "yeo", "did you mean yeo_2011_7? known atlases: "),
        ("match_networks.reference", "Schaefer", "did you mean schaefer_2018_100? known atlases: "),
        ("match_networks.reference", "harvard_oxford", "known atlases: seitzman_2018, smith_2009_rsn10,"),
        ("match_networks.reference", "seitzman", "did you mean seitzman_2018?"),
        ("match_networks.reference", "mine.nii.gz", "match_networks.reference: file not found: mine.nii.gz"),
        ("project_terms.term_maps", "", 'project_terms.term_maps: "" is not valid; expected: the path of a folder of'),
        ("project_terms.term_maps", "maps", "project_terms.term_maps: "),
        (
            "plot_components.atlas",
            "harvard_oxford",
            "plot_components.atlas: file not found: harvard_oxford (relative to",
        ),
        ("plot_components.atlas", "AAL", "; give a NIfTI file, aal3 or null"),
        ("plot_components.atlas_names", "x.tsv", '"x.tsv" is not valid with atlas aal3, which has names of its own'),
        ("build_term_maps.database", "neurosinth", "there is no folder neurosinth (current folder: "),
        ("build_term_maps.vocabulary", "LDA5", "the demo's database has no vocabulary LDA5"),
        ("build_term_maps.min_studies", 0, "min_studies: 0 is not valid; expected: a whole number, 1 or more"),
        ("plot_components.threshold", {"percentile": 100}, "threshold.percentile: 100 is not valid"),
        ("plot_components.threshold", {"percentile": 90, "z": 3}, "threshold: "),
        ("fetch_metadata.image_terms", {"map_type": {"isin": ["Z map"]}}, "fetch_metadata.image_terms.map_type: "),
        ("fetch_metadata.image_filter", "keep", 'image_filter: "keep" is not valid; expected: file.py:function'),
        ("fetch_metadata.image_ids", [], "fetch_metadata.image_ids: [] is not valid"),
        ("fetch_metadata", None, "fetch_metadata: null is not valid"),
        (
            "fetch_metadata.max_images",
            11,
            "run_ica.n_components: 12 components need at least as many images, but there",
        ),
        ("scan_components.orders", [8, 101], "scan_components.orders: 101 components need at least as many images"),
        ("fetch_metadata.image_ids", [1, 2, 3], "only 3 (images in fetch_metadata.image_ids); lower n_components"),
        ("fetch_metadata.image_ids", [1, 2] * 12, "only 2 (images in fetch_metadata.image_ids)"),
        ("match_networks.reference", "difumo_1024", "this atlas is available as difumo_64, difumo_128, difumo_256;"),
        ("plot_components.atlas", "AAL3", 'plot_components.atlas: "AAL3" is written aal3'),
        ("stack_images.quality.min_peak", 60, "min_peak: 60 is above max_peak, 50, so all Z and T maps"),
        ("run_ica.tol", float("nan"), "run_ica.tol: NaN is not valid; expected: a number"),
        ("stack_images.quality.min_rms", float("nan"), "stack_images.quality.min_rms: NaN is not valid"),
        ("batches", 0, "batches: 0 is not valid; expected: a whole number, 1 to 10000"),
        (
            "run_ica.n_components",
            12.0,
            "12.0 is not valid; expected: a whole number, 2 to 1000, without a decimal point: 12",
        ),
        ("mask_images.resolution_mm", 2.0, "without a decimal point: 2"),
        ("fetch_metadata.max_images", 100.0, "without a decimal point: 100"),
        ("scan_components.orders", [8, 12.0], "scan_components.orders.1: 12.0 is not valid"),
        ("batches", True, "batches: true is not valid"),
        ("mask_images.mask", "grey_matter", 'mask_images.mask: "grey_matter" is written gray_matter'),
        ("mask_images.mask", "white_matter", "; give a NIfTI file, brain or gray_matter"),
        ("archive.source", "“offline”", 'archive.source: "“offline”" is not valid'),
        ("archive.source", "offline\xa0", 'archive.source: "offline\\u00a0" is not valid'),
    ],
)
def test_a_wrong_value_is_explained(config, place, value, message):
    *sections, key = place.split(".")
    target = config
    for section in sections:
        target = target[section]
    target[key] = value
    with pytest.raises(ValueError, match="the configuration is not valid") as caught:
        check_configuration(config)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("place", "key", "message"),
    [
        ("", "n_components", "n_components: unknown key; this key belongs below run_ica"),
        ("", "n_component", "n_component: unknown key; n_components belongs below run_ica"),
        ("", "max_images", "max_images: unknown key; this key belongs below fetch_metadata"),
        ("", "random_state", "random_state: unknown key; this key belongs below fetch_metadata or run_ica"),
        ("", "run_ica.n_components", "write run_ica: {n_components: ...}"),
        ("", "stack_images.quality.min_rms", "write stack_images: {quality: {min_rms: ...}}"),
        ("", "run_icas", "run_icas: unknown key; did you mean run_ica?"),
        ("run_ica", "max_images", "run_ica.max_images: unknown key; this key belongs below fetch_metadata"),
        ("run_ica", "batches", "run_ica.batches: unknown key; this key belongs below no section"),
        ("run_ica", "N_Components", "run_ica.N_Components: unknown key; did you mean n_components?"),
        ("stack_images", "min_coverage", "min_coverage: unknown key; this key belongs below stack_images.quality"),
        ("mask_images", "xyzzy", "mask_images.xyzzy: unknown key; choose one of: mask, resolution_mm"),
        ("", "\xa0\xa0tol", '"\\u00a0\\u00a0tol": unknown key; it contains characters that are not visible'),
        ("", 7, "7: unknown key; choose one of: archive, "),
    ],
)
def test_an_unknown_key_is_explained_with_its_place(config, place, key, message):
    (config[place] if place else config)[key] = 12
    with pytest.raises(ValueError, match="the configuration is not valid") as caught:
        check_configuration(config)
    assert message in str(caught.value)


def test_a_decimal_comma_in_braces_is_explained(config):
    """YAML reads {smoothing_mm: 6,5} as two keys."""
    config["mask_images"] |= {"smoothing_mm": 6, 5: None}
    with pytest.raises(ValueError, match=r"mask_images\.5: unknown key; .* write 6\.5 instead of 6,5"):
        check_configuration(config)


def test_a_value_that_breaks_two_limits_is_explained_once(config):
    config["run_ica"]["n_components"] = float("inf")
    with pytest.raises(ValueError, match="is not valid") as caught:
        check_configuration(config)
    assert str(caught.value).count("run_ica.n_components") == 1


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"archive.url": "neurovault.org"}, "archive.url: "),
        ({"archive.url": "https://me:secret@neurovault.org"}, "archive.url: "),
        ({"archive.source": "table"}, "archive.table: null is not valid with archive.source table"),
        ({"archive.table": "x.tsv"}, 'archive.table: "x.tsv" is not valid with archive.source demo'),
        ({"archive.lock": "no/such.tsv"}, "archive.lock: file not found: no/such.tsv"),
        ({"archive.source": "offline", "download_images.resample": True}, "resample: true is not possible offline"),
        ({"archive.mode": "offline", "download_images.resample": True}, "resample: true is not possible offline"),
        (
            {"archive.mode": "offline", "match_networks.reference": "msdl"},
            '"msdl" would be downloaded, but this run is offline',
        ),
        (
            {"build_term_maps.database": "neurosynth", "build_term_maps.vocabulary": "LDA5"},
            "build_term_maps.database: Neurosynth has no vocabulary LDA5; choose one of terms, LDA50, LDA100,",
        ),
        ({"download_images.connections": 100}, "connections: 100 is not valid"),
    ],
)
def test_a_wrong_combination_is_explained(config, places, message):
    for place, value in places.items():
        section, key = place.split(".")
        config[section][key] = value
    with pytest.raises(ValueError, match="the configuration is not valid") as caught:
        check_configuration(config)
    assert message in str(caught.value)


@pytest.mark.parametrize("mode", ["download_new", "offline"])
def test_the_default_networks_and_regions_need_no_network_and_no_file(config, mode):
    config["archive"]["mode"] = mode
    assert config["match_networks"]["reference"] == "seitzman_2018"
    assert config["plot_components"]["atlas"] == "aal3"
    check_configuration(config)
    assert reference_files(config) == atlas_files(config) == []


def test_files_of_a_table_are_relative_to_its_folder(config):
    archive = config["archive"] | {"source": "table", "table": "lab/maps.tsv"}
    assert open_archive(archive).data_dir == "lab"
    assert open_archive(config["archive"]).data_dir == "results/build_demo_archive/archive"
    assert open_archive(config["archive"] | {"source": "neurovault"}).data_dir == "data"


def test_the_simulated_database_is_only_for_simulated_images(config):
    assert term_database(config) == "demo"
    config["archive"]["source"] = "neurovault"
    assert term_database(config) is None
    config["build_term_maps"]["database"] = "neurosynth"
    assert term_database(config) == "neurosynth"


def test_missing_files_are_reported_before_any_job(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config["archive"] |= {"source": "offline", "data_dir": "cache"}
    config["mask_images"]["mask"] = "mask.nii.gz"
    config["fetch_metadata"]["image_filter"] = "mine.py:keep"
    with pytest.raises(ValueError, match="the configuration is not valid") as caught:
        check_configuration(config)
    for message in (
        f"archive.data_dir: cache (relative to {tmp_path}) does not exist, so there is no NeuroVault cache",
        "mask_images.mask: file not found: mask.nii.gz",
        f"fetch_metadata.image_filter: file not found: mine.py (relative to {tmp_path})",
    ):
        assert message in str(caught.value)
    config["archive"]["data_dir"] = str(tmp_path)
    config["mask_images"]["mask"] = str(tmp_path / "mask.nii.gz")
    with pytest.raises(ValueError, match="the configuration is not valid") as caught:
        check_configuration(config)
    assert f"archive.data_dir: {tmp_path} has no folder neurovault/" in str(caught.value)
    assert f"mask_images.mask: file not found: {tmp_path}/mask.nii.gz; give" in str(caught.value)


def test_quality_control_can_be_switched_off(config):
    filled = complete({"stack_images": {"quality": None}}, ROOT / "config.yaml")
    assert filled["stack_images"] == config["stack_images"] | {"quality": None}
    check_configuration(filled)


def test_the_lock_that_a_run_writes_cannot_be_its_input(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/write_lock").mkdir(parents=True)
    (tmp_path / "results/write_lock/images.lock.tsv").touch()
    config["archive"]["lock"] = "results/write_lock/images.lock.tsv"
    with pytest.raises(ValueError, match="will be overwritten by this run; copy it to another folder"):
        check_configuration(config)


def test_a_missing_key_is_reported(config):
    del config["run_ica"]["tol"]
    with pytest.raises(ValueError, match=r"run_ica\.tol: this key is missing"):
        check_configuration(config)


def test_every_mistake_is_listed_at_once(config):
    config["run_ica"]["tol"] = -1
    config["batches"] = "four"
    with pytest.raises(ValueError, match=r"(?s)batches.*run_ica\.tol"):
        check_configuration(config)


def test_missing_keys_get_their_defaults(config):
    given = {
        "batches": 2,
        "stack_images": {"quality": {"max_peak": None}},
        "plot_components": {"threshold": {"z": 3}},
        "fetch_metadata": {"image_terms": {}},
    }
    before = copy.deepcopy(given)
    filled = complete(given, ROOT / "config.yaml")
    assert given == before
    config["batches"] = 2
    config["stack_images"]["quality"]["max_peak"] = None
    config["plot_components"]["threshold"] = {"z": 3}
    config["fetch_metadata"]["image_terms"] = {}
    assert filled == config
    assert complete({"run_ica": 5}, ROOT / "config.yaml")["run_ica"] == 5


def test_every_key_has_a_comment():
    """Each key of config.yaml has a comment above it, above its group, or at the end of its line."""
    commented = False
    for line in (ROOT / "config.yaml").read_text().splitlines():
        text = line.strip()
        if not text:
            commented = False
        elif text.startswith("#") or "#" in text:
            commented = True
        elif line.startswith("  ") and not line.startswith("   "):
            assert commented, f"config.yaml: no comment for {text}"


def test_a_known_configuration_is_not_compared_with_the_schema_again(config, tmp_path, monkeypatch):
    known = tmp_path / ".snakemake/checked_configuration"
    monkeypatch.chdir(tmp_path)
    wrong = complete({"run_ica": {"n_components": "many"}}, ROOT / "config.yaml")
    for _ in range(2):
        with pytest.raises(ValueError, match="n_components"):
            check_configuration(wrong, known_file=known)
    known.parent.mkdir(exist_ok=True)
    known.write_bytes(b"\xff damaged")
    check_configuration(config, known_file=known)
    compared = []
    checking = "neurovault_ica.configuration.checking"
    monkeypatch.setattr(f"{checking}._schema_mistakes", lambda given: compared.append(given) or [])
    check_configuration(config, known_file=known)
    assert compared == []
    config["mask_images"]["mask"] = "nowhere.nii.gz"
    with pytest.raises(ValueError, match=r"file not found: nowhere\.nii\.gz"):
        check_configuration(config, known_file=known)
    assert compared == [config]
    with pytest.raises(ValueError, match=r"file not found: nowhere\.nii\.gz"):
        check_configuration(config, known_file=known)
    assert compared == [config]
