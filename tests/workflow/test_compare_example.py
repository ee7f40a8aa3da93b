"""The benchmark against nilearn's example: its sums, its tables, and the tables in docs/scale.md."""

import sys

import pytest
from compare_example import (
    COLUMNS,
    STAGES,
    TABLES_BEGIN,
    TABLES_END,
    add_up,
    read_measurements,
    save,
    watch,
    write_tables,
)
from workflow_runs import ROOT


def test_the_tables_in_the_docs_agree_with_the_measurements():
    rows = read_measurements(ROOT / "docs/scale.tsv")
    assert write_tables(rows) in (ROOT / "docs/scale.md").read_text()


def measured(n_images, seconds):
    """Return measurements of both sides; the workflow takes a quarter of the example's time."""
    return [
        dict(zip(COLUMNS, (n_images, 8, 3, side, part, share * seconds, share * seconds, 100.0), strict=True))
        for side, share in (("example", 4), ("workflow", 1))
        for part in ("whole", *STAGES)
    ]


def test_new_sizes_are_added_and_repeated_sizes_replaced(tmp_path):
    (tmp_path / "scale.md").write_text(f"before\n{TABLES_BEGIN}{TABLES_END}after\n")
    for n_images, seconds in ((300, 7.0), (100, 2.0), (300, 5.0)):
        save(measured(n_images, seconds), tmp_path)
    assert read_measurements(tmp_path / "scale.tsv") == [*measured(100, 2.0), *measured(300, 5.0)]
    text = (tmp_path / "scale.md").read_text()
    assert text.startswith(f"before\n{TABLES_BEGIN}### 100 images, 8 components: median of 3 runs\n")
    assert text.endswith(f"{TABLES_END}after\n")
    assert "| whole | 20.0 | 20.0 | 5.0 | 5.0 | 4.0 | 4.0 |" in text
    assert "7.0" not in text


def process(began, ended, cpu_s, peak_mb):
    return {"part": "any", "began": began, "ended": ended, "cpu_s": cpu_s, "peak_mb": peak_mb}


def test_wall_time_counts_simultaneous_processes_once():
    processes = [process(7, 9, 2, 50), process(1, 4, 3, 70), process(2, 3, 1, 90), process(3, 6, 2.5, 80)]
    assert add_up("stage", processes) == {"part": "stage", "wall_s": 7, "cpu_s": 8.5, "peak_mb": 90}


def test_a_command_and_its_processes_are_measured(tmp_path):
    script = tmp_path / ".snakemake/scripts/tmpabc.mask_images.py"
    script.parent.mkdir(parents=True)
    script.write_text("block = bytearray(300_000_000)\nwhile __import__('time').process_time() < 0.5: pass\n")
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
