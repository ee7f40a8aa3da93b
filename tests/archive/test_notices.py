"""Sentences at the end of a run: what is missing, and how to get it."""

import pytest
from neurovault_ica.archive.notices import left_over, missing_maps
from neurovault_ica.runtime.commands import Call, Configuration
from partial_tables import write_partial

CALL = Call(["--cores", "2", "--configfile", "mine.yaml"], ".", Configuration(("mine.yaml",)))


def configured(database, *, source="server", term_maps=None):
    return {
        "build_term_maps": {"database": database},
        "fetch_terms": {"source": source},
        "project_terms": {"term_maps": term_maps},
    }


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Write the table of fetch_database with these reasons."""
    monkeypatch.chdir(tmp_path)

    def write(*reasons):
        rows = [{"file": f"{number}.npz", "status": "failed" if reason else "ok", "reason": reason}
                for number, reason in enumerate(reasons)]  # fmt: skip
        write_partial(tmp_path / "results/fetch_database/files.tsv", rows)

    return write


def test_maps_that_only_the_demo_has_are_explained():
    [note] = missing_maps(configured("demo"), None, CALL)
    assert note.startswith("No term maps were computed: build_term_maps.database is demo, which is only for simul")
    assert " Names come from term weights and metadata. To name" in note
    [note] = missing_maps(configured("demo", source=None, term_maps="my/maps"), None, CALL)
    assert " Names come from your term maps and metadata. To name" in note
    [note] = missing_maps(configured("demo", source=None), None, CALL)
    assert " Names come from metadata. To name" in note


def test_a_database_that_could_not_be_fetched_is_named_with_its_reasons(fetched):
    fetched(None, "no_connection", "no_connection")
    [note] = missing_maps(configured("neurosynth"), "neurosynth", CALL)
    assert note.startswith("No term maps were computed: Neurosynth's database could not be fetched (no_connection).")
    assert "To fetch it later: snakemake --cores 2 update --configfile mine.yaml" in note


def test_a_run_that_has_or_wants_no_maps_says_nothing(fetched):
    assert list(missing_maps(configured(None), None, CALL)) == []
    assert list(missing_maps(configured("neurosynth"), "neurosynth", CALL)) == [], "no table yet"
    fetched(None, None)
    assert list(missing_maps(configured("neurosynth"), "neurosynth", CALL)) == []


def test_results_of_stages_that_are_switched_off_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stages = {"build_term_maps": "neurosynth", "match_networks": None, "plot_surfaces": False}
    (tmp_path / "results/build_term_maps").mkdir(parents=True)
    assert list(left_over(stages)) == []
    (tmp_path / "results/plot_surfaces").mkdir()
    [note] = left_over(stages)
    assert note == (
        "Left from an earlier configuration, and not used by this run: results/plot_surfaces. To delete it: rm -r"
        " results/plot_surfaces\n"
    )
    (tmp_path / "results/match_networks").mkdir()
    [note] = left_over(stages)
    assert "results/match_networks and results/plot_surfaces. To delete them: rm -r results/match_networks" in note
