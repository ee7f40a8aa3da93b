"""The tables of docs/scale.md are what the benchmark has measured."""

from compare_example import COLUMNS, STAGES, TABLES_BEGIN, TABLES_END, read_measurements, save, write_tables
from workflow_runs import ROOT


def test_the_tables_in_the_docs_are_those_of_the_measurements():
    rows = read_measurements(ROOT / "docs/scale.tsv")
    assert write_tables(rows) in (ROOT / "docs/scale.md").read_text()


def measured(n_images, seconds):
    """Both sides, of which the workflow takes a quarter of the example's time."""
    return [
        dict(zip(COLUMNS, (n_images, 8, 3, side, part, share * seconds, share * seconds, 100.0), strict=True))
        for side, share in (("example", 4), ("workflow", 1))
        for part in ("whole", *STAGES)
    ]


def test_sizes_are_added_and_measured_again(tmp_path):
    (tmp_path / "scale.md").write_text(f"before\n{TABLES_BEGIN}{TABLES_END}after\n")
    for n_images, seconds in ((300, 7.0), (100, 2.0), (300, 5.0)):
        save(measured(n_images, seconds), tmp_path)
    assert read_measurements(tmp_path / "scale.tsv") == [*measured(100, 2.0), *measured(300, 5.0)]
    text = (tmp_path / "scale.md").read_text()
    assert text.startswith(f"before\n{TABLES_BEGIN}### 100 images, 8 components: median of 3 runs\n")
    assert text.endswith(f"{TABLES_END}after\n")
    assert "| whole | 20.0 | 20.0 | 5.0 | 5.0 | 4.0 | 4.0 |" in text
    assert "7.0" not in text
