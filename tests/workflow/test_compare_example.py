"""The benchmark against nilearn's example and robustica: arguments, sums, tables, and the tables in docs/scale.md."""

import sys

import pytest
from compare_example import PACKAGES, medians, read_arguments
from cost_tables import COLUMNS, STAGES, TABLES_BEGIN, TABLES_END, read_measurements, save, write_tables
from environments import versions_in
from watching import add_up, watch
from workflow_runs import ROOT


def test_the_tables_in_the_docs_agree_with_the_measurements():
    rows = read_measurements(ROOT / "docs/scale.tsv")
    assert write_tables(rows) in (ROOT / "docs/scale.md").read_text()


def measured(n_images, seconds):
    """Return measurements of both sides; the workflow takes a quarter of the example's time."""
    versions = {"example": "nilearn 9.8, numpy 2", "workflow": "nilearn 9.7, numpy 2"}
    return [
        dict(
            zip(
                COLUMNS,
                (n_images, 8, 3, side, part, share * seconds, share * seconds, 100.0, "2030-01-02", versions[side]),
                strict=True,
            )
        )
        for side, share in (("example", 4), ("workflow", 1))
        for part in ("whole", *STAGES)
    ]


def icasso(seconds):
    start, end = (206, 20, 1), ("2030-01-02",)
    return [
        dict(
            zip(
                COLUMNS,
                (*start, "robustica", "20 runs", 20 * seconds, 30.0, 2000.0, *end, "robustica 7.6"),
                strict=True,
            )
        ),
        dict(zip(COLUMNS, (*start, "run_ica", "20 restarts", seconds, 6.0, 250.0, *end, "numpy 2"), strict=True)),
    ]


def test_new_sizes_are_added_and_repeated_sizes_replaced(tmp_path):
    (tmp_path / "scale.md").write_text(f"before\n{TABLES_BEGIN}{TABLES_END}after\n")
    save([*measured(300, 7.0), *icasso(9.0)], tmp_path)
    save([*measured(206, 2.0), *icasso(8.0)], tmp_path)
    save(measured(300, 5.0), tmp_path)
    assert read_measurements(tmp_path / "scale.tsv") == [*measured(206, 2.0), *measured(300, 5.0), *icasso(8.0)]
    text = (tmp_path / "scale.md").read_text()
    assert text.startswith(f"before\n{TABLES_BEGIN}### 206 images, 8 components: median of 3 runs\n")
    assert text.endswith(f"{TABLES_END}after\n")
    assert "| whole | 20.0 | 20.0 | 5.0 | 5.0 | 4.0 | 4.0 |" in text
    assert "7.0" not in text
    assert "| 9.0 |" not in text


def test_every_table_names_date_and_versions(tmp_path):
    save([*measured(300, 7.0), *icasso(8.0)], tmp_path)
    of_example, of_icasso = write_tables(read_measurements(tmp_path / "scale.tsv")).split("### ")[1:]
    assert "Measured on 2030-01-02." in of_example
    assert "| | example (nilearn 9.8): wall s | CPU s | workflow (nilearn 9.7): wall s |" in of_example
    assert "- nilearn's example: nilearn 9.8, numpy 2\n- this workflow: nilearn 9.7, numpy 2\n" in of_example
    assert "Measured on 2030-01-02." in of_icasso
    assert "| robustica 7.6: 20 runs | 160.0 | 30.0 | 2000 MB |" in of_icasso
    assert "| `reduce_images` and `run_ica`: 20 restarts | 8.0 | 6.0 | 250 MB |" in of_icasso
    assert "| ratio | 20.0 | 5.0 | 8.0 |" in of_icasso


def test_the_median_of_the_runs_is_stored_with_the_versions_used():
    runs = [{"part": "whole", "wall_s": wall, "cpu_s": 1.0, "peak_mb": None} for wall in (3.0, 1.0, 2.0)]
    (row,) = medians({("workflow", "whole"): runs}, (119, 8), 3)
    assert (row["images"], row["components"], row["runs"], row["wall_s"], row["peak_mb"]) == (119, 8, 3, 2.0, None)
    assert row["versions"] == versions_in(sys.executable, *PACKAGES["workflow"])


def test_missing_folders_are_made_and_mistakes_refused_before_any_work(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = ["--workdir", str(tmp_path / "a/b"), "--out", str(tmp_path / "out"), "--icasso", "206x20"]
    arguments = read_arguments(words)
    assert arguments.workdir == tmp_path / "a/b"
    assert arguments.workdir.is_dir()
    assert (arguments.sizes, arguments.icasso) == ([], [(206, 20)])
    assert read_arguments([]).sizes == [(119, 8)]
    for mistake, advice in (
        (["--workdir", str(tmp_path / "file")], "name a folder that can be written"),
        (["--out", str(tmp_path / "file/out")], "name a folder that can be written"),
        (["--archive", str(tmp_path / "nothing")], "name a NeuroVault cache"),
        (["--sizes", "119x8", "248"], "248 is not a size; write images x components, such as 119x8"),
        (["--icasso", "8x119"], "the components must be fewer than the images"),
        (["--out", str(tmp_path / "out")], "has no measurements yet (scale.tsv); give --sizes or --icasso"),
        (["--runs", "0"], "0 is not a whole number of at least 1"),
    ):
        with pytest.raises(SystemExit):
            read_arguments(mistake)
        assert advice in capsys.readouterr().err


def process(began, ended, cpu_s, peak_mb):
    return {"part": "any", "began": began, "ended": ended, "cpu_s": cpu_s, "peak_mb": peak_mb}


def test_wall_time_counts_simultaneous_processes_once():
    processes = [process(7, 9, 2, 50), process(1, 4, 3, 70), process(2, 3, 1, 90), process(3, 6, 2.5, 80)]
    assert add_up("stage", processes) == {"part": "stage", "wall_s": 7, "cpu_s": 8.5, "peak_mb": 90}


def test_a_command_and_its_processes_are_measured(tmp_path):
    script = tmp_path / ".snakemake/scripts/tmpabc.mask_images.py"
    script.parent.mkdir(parents=True)
    # After its work the script sleeps, so that even on a busy machine the last measurement includes all of the work.
    script.write_text(
        "from time import process_time, sleep\nblock = bytearray(400_000_000)\n"
        "while process_time() < 0.4: pass\nsleep(1)\n"
    )
    command = f"import subprocess, sys; print('said'); subprocess.run([sys.executable, {str(script)!r}])"
    (whole, *processes), printed = watch([sys.executable, "-c", command], tmp_path)
    rows = {row["part"]: row for row in processes}
    assert printed == "said\n"
    assert rows.keys() == {"Snakemake", "mask_images"}
    assert rows["mask_images"]["peak_mb"] > 300 > rows["Snakemake"]["peak_mb"]
    assert whole["peak_mb"] == rows["mask_images"]["peak_mb"]
    assert 0.3 < rows["mask_images"]["cpu_s"] < whole["cpu_s"]
    assert add_up("", [rows["mask_images"]])["wall_s"] < add_up("", [whole])["wall_s"]


def test_a_command_that_fails_is_quoted(tmp_path):
    with pytest.raises(RuntimeError, match="no such thing"):
        watch([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path)
