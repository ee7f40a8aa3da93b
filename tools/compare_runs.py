"""Show two finished runs side by side: matched components, and what differs in images, settings and software.

``make compare FIRST=old SECOND=new NAME=years`` calls this file. It answers what another seed, another year of
NeuroVault or another number of components changes.
"""

import argparse
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "workflow/scripts"))
from neurovault_ica.report.compared_runs import Comparison, Run, compare_runs, read_run  # noqa: E402
from neurovault_ica.report.comparison_page import render_comparison  # noqa: E402
from neurovault_ica.runtime.tables import write_table  # noqa: E402


def write_comparison(first: Run, second: Run, folder: Path) -> Comparison:
    """Compare two runs; write the tables and the page to a new folder.

    Raises
    ------
    ValueError
        If the folder exists.
    """
    if folder.exists():
        raise ValueError(f"{folder} already exists; choose another NAME or delete it")
    comparison = compare_runs(first, second)
    page = render_comparison(first, second, comparison)
    tables = folder / "compare_runs"
    tables.mkdir(parents=True)
    try:
        write_table(tables / "components.tsv", comparison.components)
        write_table(tables / "correlations.tsv", list_pairs(first, second, comparison))
        write_table(tables / "images.tsv", comparison.images)
        write_table(tables / "settings.tsv", [*comparison.settings, *comparison.software])
        (folder / "comparison.html").write_text(page, encoding="utf-8")
    except BaseException:
        # Remove the unfinished folder, because the next attempt refuses a folder that exists.
        shutil.rmtree(folder)
        raise
    return comparison


def list_pairs(first: Run, second: Run, comparison: Comparison) -> list[dict[str, object]]:
    """List the correlation of every component of the first run with every component of the second."""
    return [
        {"first": one, "second": other, "r": comparison.r[k, m]}
        for k, one in enumerate(first.labels)
        for m, other in enumerate(second.labels)
    ]


def main() -> None:
    """Compare the two runs on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    folders = "folder in which snakemake ran, or one that make paper made"
    parser.add_argument("first", type=Path, help=folders)
    parser.add_argument("second", type=Path, help=folders)
    parser.add_argument("--into", type=Path, required=True, help="new folder for the page and its tables")
    options = parser.parse_args()
    try:
        write_comparison(read_run(options.first), read_run(options.second), options.into)
    except (OSError, ValueError) as error:
        sys.exit(f"compare: {error}")
    print(f"Written: {options.into.absolute() / 'comparison.html'}")


if __name__ == "__main__":
    main()
