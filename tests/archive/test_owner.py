"""Results of one archive are not replaced by those of another one, unless they are deleted on purpose."""

import json
import os
import shutil

import pytest
from conftest import ROOT
from neurovault_ica.archive.archive import open_archive
from neurovault_ica.archive.owner import check_owner, remember
from neurovault_ica.runtime.commands import Call, Configuration
from neurovault_ica.runtime.layers import read_file

DEFAULTS = read_file(ROOT / "config.yaml")["archive"]
HEADER = "image_id\tcollection_id\n"


def archive(**settings):
    return open_archive(DEFAULTS | settings)


def call(*arguments, files=(), settings=()):
    return Call(arguments, os.getcwd(), Configuration(tuple(files), tuple(settings)))  # noqa: PTH109


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory without results, with two tables, two caches, a link to one of them, and two locks."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("cache", "other"):
        (tmp_path / name).mkdir()
    (folder / "inside").mkdir()
    (folder / "link").symlink_to(tmp_path / "cache")
    (folder / "paper.tsv").write_text("one")
    (folder / "copy.tsv").write_text("one")
    (folder / "another.tsv").write_text("two")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def write_results(folder):
    (folder / "results/stack_images").mkdir(parents=True, exist_ok=True)
    (folder / "results/stack_images/images.tsv").write_text(HEADER + "1\t7\n2\t7\n3\t8\n")


def is_refused(now):
    try:
        check_owner(now, call())
    except RuntimeError:
        return True
    return False


OFFLINE = {"source": "offline", "data_dir": "../cache"}
SERVER = {"source": "neurovault"}


@pytest.mark.parametrize(
    ("made_by", "now", "refused"),
    [
        (OFFLINE, {"source": "demo"}, True),
        ({"source": "demo"}, OFFLINE, True),
        ({"source": "demo"}, {"source": "demo", "data_dir": "unused", "url": "https://unused.org"}, False),
        (OFFLINE, OFFLINE | {"data_dir": "../other"}, True),
        (OFFLINE, OFFLINE | {"data_dir": "link"}, False),
        (OFFLINE, OFFLINE | {"data_dir": "~/cache"}, False),
        (OFFLINE, OFFLINE | {"data_dir": "../cache/"}, False),
        (OFFLINE, OFFLINE | {"data_dir": "ABSOLUTE"}, False),
        (OFFLINE, OFFLINE | {"on_changed": "skip", "neurosynth_url": None}, False),
        (OFFLINE, SERVER | {"data_dir": "../cache", "mode": "offline"}, True),
        (SERVER, SERVER | {"url": "https://NeuroVault.org/"}, False),
        (SERVER, SERVER | {"url": "http://127.0.0.1:8000"}, True),
        (SERVER, SERVER | {"data_dir": "elsewhere"}, False),
        (SERVER, SERVER | {"mode": "offline"}, False),
        (SERVER | {"mode": "offline"}, SERVER | {"mode": "offline", "data_dir": "../other"}, True),
        ({"source": "table", "table": "a/maps.tsv"}, {"source": "table", "table": "b/maps.tsv"}, True),
        ({"source": "table", "table": "a/maps.tsv"}, {"source": "table", "table": "./a/maps.tsv"}, False),
        (OFFLINE | {"lock": "paper.tsv"}, OFFLINE, True),
        (OFFLINE, OFFLINE | {"lock": "paper.tsv"}, True),
        (OFFLINE | {"lock": "paper.tsv"}, OFFLINE | {"lock": "another.tsv"}, True),
        (OFFLINE | {"lock": "paper.tsv"}, OFFLINE | {"lock": "copy.tsv"}, False),
    ],
)
def test_another_archive_is_told_from_other_settings_of_the_same_one(folder, made_by, now, refused):
    if now.get("data_dir") == "ABSOLUTE":
        now = now | {"data_dir": str(folder.parent / "cache")}
    remember(archive(**made_by), call())
    assert not is_refused(archive(**now)), "there are no results yet, as after a killed first run"
    write_results(folder)
    assert not is_refused(archive(**made_by))
    assert is_refused(archive(**now)) == refused


def test_the_lock_of_these_results_has_the_same_images(folder):
    remember(archive(**OFFLINE), call())
    write_results(folder)
    (folder / "results/write_lock").mkdir()
    shutil.copy("paper.tsv", "results/write_lock/images.lock.tsv")
    assert not is_refused(archive(**OFFLINE, lock="copy.tsv"))
    assert is_refused(archive(**OFFLINE, lock="another.tsv"))


def test_the_folder_can_be_moved_with_an_archive_inside(folder):
    remember(archive(source="offline", data_dir=str(folder / "inside")), call())
    write_results(folder)
    moved = folder.rename(folder.with_name("moved"))
    os.chdir(moved)
    for data_dir in ("inside", str(moved / "inside")):
        assert not is_refused(archive(source="offline", data_dir=data_dir))
    assert is_refused(archive(source="offline", data_dir="link"))


def message(now, *arguments, **given):
    with pytest.raises(RuntimeError) as stopped:
        check_owner(now, call(*arguments, **given))
    return str(stopped.value).splitlines()


def test_the_error_shows_both_archives_and_the_commands(folder):
    remember(archive(**OFFLINE), call("--cores", "4", files=["preset.yaml", "mine.yaml"]))
    write_results(folder)
    assert message(archive(), "--cores", "2", "scan_components") == [
        "the results in this folder come from another archive, and this run would replace them:",
        "  results/: source: offline, data_dir: ../cache (3 images of 2 collections), with --configfile preset.yaml"
        " mine.yaml",
        "  this run: source: demo, with config.yaml alone",
        "To continue with the results in results/: snakemake --cores 2 scan_components --configfile preset.yaml"
        " mine.yaml",
        "To keep them, run in another folder: snakemake --cores 2 scan_components --directory FOLDER",
        "To replace them on purpose, delete them first: rm -rf results/*/ logs benchmarks/*.tsv",
    ]
    lines = message(archive(source="neurovault", lock="paper.tsv"), "-C", "archive=...", settings=["archive=..."])
    assert lines[1].startswith("  results/: source: offline, data_dir: ../cache, lock: null (3 images")
    assert lines[2] == (
        "  this run: source: neurovault, url: https://neurovault.org, lock: paper.tsv, with --config archive=..."
    )


def test_an_edited_configuration_is_told_what_to_set(folder):
    """To repeat the same command would not help, because the configuration file itself was edited."""
    remember(archive(**OFFLINE), call(files=["mine.yaml"]))
    write_results(folder)
    lines = message(archive(**SERVER), "--configfile", "mine.yaml", files=["mine.yaml"])
    assert lines[3].endswith("results/: set in the section archive of mine.yaml: source: offline, data_dir: ../cache")
    remember(archive(**OFFLINE), call())
    (folder / "config.yaml").touch()
    lines = message(archive(**SERVER), "-n")
    assert lines[3].endswith("set in the section archive of config.yaml: source: offline, data_dir: ../cache")
    assert lines[4].endswith("snakemake -n --directory FOLDER --configfile config.yaml")


def test_with_directory_paths_start_where_the_command_is_typed(folder):
    remember(archive(**OFFLINE), call(files=["mine.yaml"]))
    write_results(folder)
    away = Call(["-d", "project", "-n"], str(folder.parent), Configuration())
    with pytest.raises(RuntimeError) as stopped:
        check_owner(archive(), away)
    lines = str(stopped.value).splitlines()
    assert lines[3].endswith("results in project/results/: snakemake -d project -n --configfile project/mine.yaml")
    assert lines[4].endswith("snakemake -n --directory FOLDER")
    assert lines[5].endswith("rm -rf project/results/*/ project/logs project/benchmarks/*.tsv")


@pytest.mark.parametrize("harmless", ["--unlock", "--lint", "--list", "--list-target-rules"])
def test_commands_that_do_not_touch_results_are_allowed(folder, harmless):
    remember(archive(**OFFLINE), call())
    write_results(folder)
    check_owner(archive(), call(harmless))
    for harmful in ("-n", "--touch", "--delete-all-output", "--report"):
        assert len(message(archive(), harmful)) == 6


def test_what_is_the_same_for_every_archive_does_not_belong_to_one(folder):
    remember(archive(), call())
    for name in (
        "build_mask/mask.nii.gz",
        "build_demo_archive/truth/images.tsv",
        "fetch_metadata/.part-a-1-images.tsv",
    ):
        (folder / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "results" / name).touch()
    check_owner(archive(**OFFLINE), call())
    (folder / "results/fetch_metadata/images.tsv").touch()
    assert len(message(archive(**OFFLINE))) == 6
    shutil.rmtree("results/fetch_metadata")
    check_owner(archive(**OFFLINE), call())


@pytest.mark.parametrize("damaged", [None, "", "{", "[]", '{"archive": {}, "places": {}}'])
def test_results_of_an_older_version_belong_to_the_archive_in_their_run_json(folder, damaged):
    write_results(folder)
    (folder / "results/write_lock").mkdir()
    run = {"configuration": {"archive": DEFAULTS | OFFLINE}}
    (folder / "results/write_lock/run.json").write_text(json.dumps(run))
    if damaged is not None:
        (folder / "results/archive.json").write_text(damaged)
    check_owner(archive(**OFFLINE, on_changed="skip"), call())
    lines = message(archive(), "--cores", "2")
    assert lines[1] == "  results/: source: offline, data_dir: ../cache (3 images of 2 collections)"
    assert lines[3].endswith("add the configuration of that run, such as snakemake --cores 2 --configfile FILE")


@pytest.mark.parametrize(("planted", "is_demo"), [("1\t7\n2\t7\n3\t8\n", True), ("9\t9\n", False)])
def test_without_a_run_json_the_images_tell_the_demo(folder, planted, is_demo):
    write_results(folder)
    for rule in ("fetch_metadata", "build_demo_archive/truth"):
        (folder / "results" / rule).mkdir(parents=True)
    shutil.copy("results/stack_images/images.tsv", "results/fetch_metadata/images.tsv")
    (folder / "results/build_demo_archive/truth/images.tsv").write_text(HEADER + planted)
    if is_demo:
        check_owner(archive(), call())
        assert message(archive(**OFFLINE), files=["mine.yaml"])[1].startswith("  results/: source: demo (3 images of 2")
    else:
        check_owner(archive(**OFFLINE), call())
        assert message(archive())[1] == "  results/: not the demo (3 images of 2 collections)"


def test_a_disk_that_cannot_be_written_is_reported_by_the_first_job(folder):
    (folder / "results").touch()
    remember(archive(), call())


def test_a_projection_of_own_maps_is_not_remembered_as_the_configuration_of_the_run(folder):
    projection = call("project_images", files=["mine.yaml", "maps.yaml"])
    remember(archive(**OFFLINE), projection)
    memory = folder / "results/archive.json"
    assert json.loads(memory.read_text())["configfiles"] == ["mine.yaml", "maps.yaml"], "it also makes the run"
    remember(archive(**OFFLINE), call(files=["mine.yaml"]))
    before = memory.read_bytes()
    remember(archive(**OFFLINE), projection)
    assert memory.read_bytes() == before


def test_a_projection_on_other_components_does_not_claim_the_folder_for_an_archive(folder):
    (folder / "results/project_images").mkdir(parents=True)
    (folder / "results/project_images/loadings.tsv").write_text(HEADER)
    assert not is_refused(archive())
    assert not is_refused(archive(**OFFLINE))
