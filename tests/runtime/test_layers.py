"""Later configuration files replace settings of earlier ones, and the message about a broken file names it."""

import json

import pytest
from neurovault_ica.configuration.checking import PATHS, replace_mappings
from neurovault_ica.runtime.layers import expand_paths, read_file, read_layers
from snakemake.settings.types import ConfigSettings
from snakemake.utils import update_config
from workflow_runs import ROOT

PRESET = ROOT / "presets/nilearn_example.yaml"


def merged(tmp_path, *texts, config=None, base="config.yaml", **options):
    """Merge files as Snakemake and the Snakefile do."""
    files = []
    for number, text in enumerate(texts):
        if isinstance(text, str):
            files.append(tmp_path / f"{number}.yaml")
            files[-1].write_text(text)
        else:
            files.append(text)
    settings = ConfigSettings(configfiles=files, config=config or {}, **options)
    found = read_file(ROOT / base)
    update_config(found, settings.overwrite_config)
    replace_mappings(found, read_layers([ROOT / base], settings))
    return found


def test_a_file_replaces_sections_with_free_keys(tmp_path):
    found = merged(tmp_path, "fetch_metadata: {image_terms: {}}\nplot_components: {threshold: {z: 3}}")
    assert found["fetch_metadata"]["image_terms"] == {}
    assert found["plot_components"]["threshold"] == {"z": 3}
    defaults = read_file(ROOT / "config.yaml")
    assert found["fetch_metadata"]["collection_terms"] == defaults["fetch_metadata"]["collection_terms"]


def test_the_users_file_replaces_the_sections_of_a_preset(tmp_path):
    preset = read_file(PRESET)
    assert preset["fetch_metadata"]["image_terms"], "the preset has no conditions to replace"
    found = merged(
        tmp_path, PRESET, "fetch_metadata: {image_terms: {}}\nplot_components: {threshold: {z: 3}}\nbatches: 2"
    )
    assert found["fetch_metadata"]["image_terms"] == {}
    assert found["fetch_metadata"]["collection_terms"] == preset["fetch_metadata"]["collection_terms"]
    assert found["plot_components"]["threshold"] == {"z": 3}
    assert found["run_ica"]["n_restarts"] == preset["run_ica"]["n_restarts"]


def test_the_last_of_several_files_that_gives_a_section_counts(tmp_path):
    texts = ["plot_components: {threshold: {z: 3}}", "plot_components: {threshold: {mixture: 0.5}}", "batches: 3"]
    assert merged(tmp_path, *texts)["plot_components"]["threshold"] == {"mixture": 0.5}
    assert merged(tmp_path, *texts[::-1])["plot_components"]["threshold"] == {"z": 3}


def test_the_command_line_is_laid_over_all_files(tmp_path):
    line = {"fetch_metadata": {"image_terms": {"modality": "MEG"}}}
    found = merged(tmp_path, PRESET, "fetch_metadata: {image_terms: {}}", config=line)
    assert found["fetch_metadata"]["image_terms"] == {"modality": "MEG"}


def test_numbers_inside_a_value_of_the_command_line_are_numbers(tmp_path):
    # This import takes a second.
    from snakemake.cli import parse_config

    line = ["run_ica={n_components: 8, tol: 0.01}", "match_networks={reference: null}", "batches=2"]
    line += [
        "fetch_metadata={image_terms: {is_valid: true, map_type: {is_in: [Z map, T map]}, id: {greater_than: 10}}}"
    ]
    found = merged(tmp_path, "run_ica: {n_components: 5, n_splits: 3}", config=parse_config(line))
    assert found["run_ica"]["n_components"] == 8
    assert (found["run_ica"]["tol"], found["run_ica"]["n_splits"], found["batches"]) == (0.01, 3, 2)
    assert found["match_networks"]["reference"] is None
    terms = {"is_valid": True, "map_type": {"is_in": ["Z map", "T map"]}, "id": {"greater_than": 10}}
    assert found["fetch_metadata"]["image_terms"] == terms


def test_without_the_workflows_own_file_its_sections_do_not_count():
    settings = ConfigSettings(configfiles=[PRESET], replace_workflow_config=True)
    assert read_layers([ROOT / "config.yaml"], settings)[:-1] == [read_file(PRESET)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"run_ica:\n\ttol: 1\n", "line 2: a line is indented with a tab; YAML accepts only spaces"),
        (b"run_ica:\n  tol: 1\n  tol: 2\n", "line 3: tol is set twice; keep one"),
        (b"run_ica: [1\nbatches: 2\n", "line 2: did not find expected .*; here or some lines above, a colon"),
        (b"# nothing yet\n", "no settings found; write a section"),
        (b"just words\n", "no sections found"),
        (b"- archive\n", "no sections found"),
        (b"batches: 2\narchive: \xff\n", "line 2: the text is not UTF-8; save the file as UTF-8"),
        ("batches: 2\n".encode("utf-16"), "the text is UTF-16; save the file as UTF-8"),
        (b"batches: \0\n", "save the file as UTF-8 text"),
    ],
)
def test_a_broken_file_is_named_with_the_line(tmp_path, content, message):
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=rf"mine\.yaml.*{message}"):
        read_file(tmp_path / "mine.yaml")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ValueError, match=f"{path}.*give the path of a YAML file"):
            read_file(path)


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfbatches: 2\r\nlog_level: info\r\n", b'{"batches": 2, "log_level": "info"}']
)
def test_files_of_other_systems_and_json_are_read(tmp_path, content):
    (tmp_path / "mine.yaml").write_bytes(content)
    assert read_file(tmp_path / "mine.yaml") == {"batches": 2, "log_level": "info"}


def test_a_tilde_becomes_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    config = read_file(ROOT / "config.yaml")
    config["archive"] |= {"data_dir": "~/data", "lock": "~/my run/images.lock.tsv"}
    config["fetch_metadata"]["image_filter"] = "~/filters.py:keep"
    config["match_networks"]["reference"] = "smith_2009_rsn10"
    before = json.loads(json.dumps(config))
    expand_paths(config, PATHS)
    assert config["archive"]["data_dir"] == "/home/ada/data"
    assert config["archive"]["lock"] == "/home/ada/my run/images.lock.tsv"
    assert config["fetch_metadata"]["image_filter"] == "/home/ada/filters.py:keep"
    assert config["match_networks"] == before["match_networks"]


def test_an_unknown_user_is_named():
    with pytest.raises(ValueError, match=r"archive\.data_dir: ~nobody_here/x: .*; write the path without ~"):
        expand_paths({"archive": {"data_dir": "~nobody_here/x"}}, PATHS)
