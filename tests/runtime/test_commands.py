"""Commands in messages can be copied: they have the options and the configuration of the run, targets first."""

import shlex
from types import SimpleNamespace

import pytest
from neurovault_ica.runtime.commands import Call, Configuration, command_for, describe_call

MINE = Configuration(("mine.yaml",), ())


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "snakemake --cores 2 SCAN --configfile mine.yaml"),
        (["-n", "--configfile", "mine.yaml"], "snakemake --cores 2 SCAN --configfile mine.yaml"),
        (["--cores", "all", "old"], "snakemake --cores all SCAN --configfile mine.yaml"),
        (["--cores=4", "old"], "snakemake --cores=4 SCAN --configfile mine.yaml"),
        (["-c4", "old", "--forcerun", "b"], "snakemake -c4 SCAN --configfile mine.yaml"),
        (["-j", "9", "-s", "a/Snakefile"], "snakemake -j 9 -s a/Snakefile SCAN --configfile mine.yaml"),
        (["-c", "3", "--", "old"], "snakemake -c 3 SCAN --configfile mine.yaml"),
        (["-d", "study"], "snakemake -d study --cores 2 SCAN --configfile mine.yaml"),
        (["-c3", "--sdm", "conda", "apptainer"], "snakemake --sdm conda apptainer -c3 SCAN --configfile mine.yaml"),
        (["--sdm", "conda"], "snakemake --sdm conda --cores 2 SCAN --configfile mine.yaml"),
        (["--cores", "--configfile", "mine.yaml"], "snakemake --cores all SCAN --configfile mine.yaml"),
        (
            ["--replace-workflow-config", "old", "-c1", "--use-conda"],
            "snakemake --replace-workflow-config -c1 --use-conda SCAN --configfile mine.yaml",
        ),
        (["--workflow-profile", "p"], "snakemake --workflow-profile p SCAN --configfile mine.yaml"),
    ],
)
def test_a_command_for_another_target_keeps_the_lasting_options(tmp_path, monkeypatch, arguments, command):
    monkeypatch.chdir(tmp_path)
    assert Call(arguments, str(tmp_path), MINE).for_target("SCAN") == command
    # Snakemake itself must understand the command, also with the profile p. Its import takes a second.
    from snakemake.cli import parse_args

    (tmp_path / "p").mkdir()
    (tmp_path / "p/config.yaml").write_text("{}")
    assert list(parse_args(shlex.split(command)[1:])[1].targets) == ["SCAN"]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["--cores", "2", "scan"], "snakemake --cores 2 scan --configfile mine.yaml"),
        (["scan", "--configfile", "a.yaml", "b.yaml", "-n"], "snakemake scan -n --configfile mine.yaml"),
        (["--configfiles=a.yaml", "scan"], "snakemake scan --configfile mine.yaml"),
        (["-C", "batches=2", "archive={}", "-n"], "snakemake -n --configfile mine.yaml"),
        (["--config", "batches=2"], "snakemake --configfile mine.yaml"),
        (["--configfile", "a.yaml", "--", "scan"], "snakemake --configfile mine.yaml -- scan"),
    ],
)
def test_a_command_can_get_another_configuration(tmp_path, monkeypatch, arguments, command):
    monkeypatch.chdir(tmp_path)
    assert Call(arguments, str(tmp_path), Configuration()).with_configuration(MINE) == command


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["--cores", "2", "scan"], "snakemake --cores 2 scan --directory other"),
        (["--directory", "study", "scan", "-n"], "snakemake scan -n --directory other"),
        (["--directory=study", "scan"], "snakemake scan --directory other"),
        (["--configfile", "a.yaml", "--", "scan"], "snakemake --configfile a.yaml --directory other -- scan"),
        (["-dstudy", "-n", "--dry-run"], "snakemake -n --dry-run --directory other"),
    ],
)
def test_a_command_can_get_another_folder(arguments, command):
    assert Call(arguments, ".", Configuration()).in_folder("other") == command


def test_paths_are_those_of_the_folder_in_which_the_command_is_typed(tmp_path, monkeypatch):
    """With --directory, the working directory is another one."""
    (tmp_path / "my study").mkdir()
    monkeypatch.chdir(tmp_path / "my study")
    settings = SimpleNamespace(
        configfiles=[tmp_path / "my study/mine.yaml", tmp_path / "preset.yaml", "/lab/x.yaml"],
        config_args=["archive={source: demo}"],
    )
    monkeypatch.setenv("PWD", "/")
    call = describe_call(["--directory", "my study", "-c", "1"], settings)
    assert call.start == str(tmp_path)
    assert call.configuration.files == ("mine.yaml", str(tmp_path / "preset.yaml"), "/lab/x.yaml")
    assert call.for_target("SCAN") == (
        "snakemake --directory 'my study' -c 1 SCAN --configfile 'my study/mine.yaml' preset.yaml /lab/x.yaml"
        " --config 'archive={source: demo}'"
    )


def test_without_the_start_paths_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = SimpleNamespace(configfiles=[tmp_path / "mine.yaml"], config_args=[])
    call = describe_call([f"--directory={tmp_path}"], settings)
    assert call.start is None
    assert call.for_target("SCAN") == (
        f"snakemake --directory={tmp_path} --cores 2 SCAN --configfile {tmp_path}/mine.yaml"
    )
    monkeypatch.setenv("PWD", str(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    assert describe_call(["-d", ".."], settings).start == str(tmp_path / "other")
    assert describe_call(["-n"], settings).start == str(tmp_path)


def test_jobs_read_the_command_of_their_run(tmp_path):
    assert command_for("SCAN", tmp_path) == "snakemake --cores 2 SCAN"
    (tmp_path / "archive.json").write_text('{"command": "snakemake -d MY_TARGET TARGET --configfile TARGET.yaml"}')
    assert command_for("SCAN", tmp_path) == "snakemake -d MY_TARGET SCAN --configfile TARGET.yaml"
    (tmp_path / "archive.json").write_text("{")
    assert command_for("SCAN", tmp_path) == "snakemake --cores 2 SCAN"
