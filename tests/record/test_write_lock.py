"""The lock, the record of the run, the methods text and the references."""

import hashlib
import json
import re

import pytest
from bibtex import parse_bibtex
from conftest import ROOT
from neurovault_ica.archive.lock import lock_rows
from neurovault_ica.record.bibliography import cite, read_works
from neurovault_ica.runtime.files import write_json
from neurovault_ica.runtime.layers import read_file
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from write_lock import main

HOSTILE = r'}} @misc{evil, title={$x$ 50% #1 a_b ~ ^ \input{/etc/passwd} "q" & <script>' + "\u202e"


@pytest.fixture
def lock(tmp_path):
    """Run the stage on 4 selected images, 2 of them used; return the folder of its outputs."""

    def run(name="run", *, word=str, source="demo", **inputs):
        folder = tmp_path / name

        def table(place, rows):
            names = column_names(folder / f"{place}.tsv")
            write_table(folder / f"{place}.tsv", [dict.fromkeys(names) | row for row in rows])
            return str(folder / f"{place}.tsv")

        selection = [
            {
                "image_id": number, "collection_id": 7 + number % 2, "file": f"https://neurovault.org/media/{number}.nii.gz",
                "modify_date": "2016-01-01T00:00:00Z", "map_type": word("Z map"), "collection_DOI": "10.1000/seven",
                "name": word("a map"),
            }
            for number in (4, 3, 2, 1)
        ]  # fmt: skip
        result = folder / "run_ica/components.nii.gz"
        result.parent.mkdir(parents=True)
        result.write_bytes(b"some bytes")
        decomposition = {
            "n_components": 2, "n_voxels": 235375, "n_iter": 12, "converged": True,
            "algorithm": "fastica", "max_iter": 500, "max_sample_iter": 100, "tol": 0.0001,
            "n_restarts": 20, "n_restarts_converged": 19, "random_state": 0, "variance_explained": 0.625,
            "n_bootstraps_used": 17, "n_effective_collections": 1.6, "n_splits_used": 10,
            "n_axes_of_draws": 7, "flags": {},
            "n_flagged": {"start_dependent": 0, "not_reproduced": 0, "one_collection": 0},
        }  # fmt: skip
        write_json(folder / "run_ica/desc-ICA_decomposition.json", decomposition)
        settings = read_file(ROOT / "config.yaml")
        settings["archive"]["source"] = source
        outputs = {
            "lock": str(folder / "write_lock/images.lock.tsv"),
            "run": str(folder / "write_lock/run.json"),
            "methods": str(folder / "write_lock/methods.md"),
            "references": str(folder / "write_lock/references.bib"),
        }
        terms = table(
            "project_terms/desc-ICA_terms",
            [{"component": "ICA_00", "term": word("motor"), "rank": 1, "weight": 1.0, "images": 2, "q": 0.01}],
        )
        stability = table(
            "run_ica/desc-ICA_stability",
            [
                {"component": f"ICA_0{k}", "iq_restarts": 0.8 + k / 10, "r_bootstraps": 0.6 + k / 10}
                | {"r_split_half": 0.5 + k / 10, "chance_r_bootstraps": 0.3, "chance_r_split_half": 0.2}
                for k in range(2)
            ],
        )
        tables = {
            "terms": terms,
            "stability": stability,
            "enrichment": table("project_terms/desc-ICA_enrichment", []),
            "map_terms": table("project_terms/desc-ICA_termmaps", []),
            "names": table(
                "project_terms/desc-ICA_names",
                [
                    {"component": "ICA_00", "name": word("motor"), "source": "terms", "value": 1.0, "q": 0.01},
                    {"component": "ICA_01", "name": word("task"), "mark": "n.s.", "source": "terms", "value": 0.5},
                ],
            ),
            "mixture": [],
            "networks": table(
                "match_networks/desc-ICA_networks",
                [
                    {
                        "component": f"ICA_0{k}",
                        "best_network": "visual",
                        "best_r": 0.5,
                        "best_q": 0.01,
                        "best_positive_r": 0.6,
                        "best_one_signed": True,
                    }
                    for k in range(2)
                ],
            ),
        }
        main(
            selection=table("fetch_metadata/images", selection),
            collections=table(
                "fetch_metadata/collections",
                [
                    {
                        "collection_id": 7,
                        "name": word("Seven"),
                        "authors": word("A. One, B. Two and C. Three"),
                        "DOI": "10.1000/seven_a",
                        "journal_name": word("Brain"),
                    },
                    {"collection_id": 8, "name": word("Eight")},
                ],
            ),
            downloads=[
                table(
                    "download_images/status-0",
                    [
                        {
                            "image_id": number,
                            "status": "ok",
                            "bytes": 100 + number,
                            "sha256": f"{number:064x}",
                            "file": f"neurovault/collection_7/image_{number}.nii.gz",
                        }
                        for number in (1, 2)
                    ],
                ),
                table(
                    "download_images/status-1",
                    [
                        {"image_id": 3, "status": "ok", "bytes": 103, "sha256": f"{3:064x}", "file": "neurovault/3"},
                        {"image_id": 4, "status": "failed", "reason": "missing_file", "file": "neurovault/4"},
                    ],
                ),
            ],
            term_status=[
                table("fetch_terms/status-0", [{"image_id": n, "sha256": f"{n:064x}"} for n in (1, 2)]),
                table("fetch_terms/status-1", [{"image_id": n, "reason": "no_values"} for n in (3, 4)]),
            ],
            images=table(
                "stack_images/images",
                [
                    {"row": row, "image_id": row + 1, "collection_id": 8 - row, "map_type": word("Z map")}
                    for row in range(2)
                ],
            ),
            rejected=table(
                "stack_images/rejected",
                [{"image_id": 3, "reason": "thresholded"}, {"image_id": 4, "reason": "missing_file"}],
            ),
            decomposition=str(folder / "run_ica/desc-ICA_decomposition.json"),
            results=[str(result), terms, stability],
            **(tables | inputs),
            settings=settings,
            data_dir="data",
            **outputs,
        )
        return folder

    return run


def test_lock_has_every_selected_image_by_id(lock):
    rows = read_table(lock() / "write_lock/images.lock.tsv")
    assert [(row["image_id"], row["used"], row["bytes"], row["sha256"]) for row in rows] == [
        ("1", True, 101, f"{1:064x}"),
        ("2", True, 102, f"{2:064x}"),
        ("3", False, 103, f"{3:064x}"),
        ("4", False, None, None),
    ]
    assert rows[0]["file"] == "https://neurovault.org/media/1.nii.gz"
    assert rows[0]["path"] == "neurovault/collection_7/image_1.nii.gz"
    assert [(row["terms_sha256"], row["terms_reason"]) for row in rows[1:3]] == [
        (f"{2:064x}", None),
        (None, "no_values"),
    ]


def test_status_tables_of_batches_that_are_no_more_are_removed(lock, tmp_path):
    left = [tmp_path / "run" / rule / "status-2.tsv" for rule in ("download_images", "fetch_terms")]
    for file in left:
        file.parent.mkdir(parents=True)
        file.touch()
    lock()
    assert [sorted(path.name for path in file.parent.glob("*.tsv")) for file in left] == [
        ["status-0.tsv", "status-1.tsv"]
    ] * 2


def test_an_image_without_download_status_is_an_error():
    with pytest.raises(KeyError):
        lock_rows([{"image_id": 1, "collection_id": 2}], [{"collection_id": 2}], [], [], set())


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("terms", "project_terms/desc-ICA_terms.tsv"),
        ("stability", "run_ica/desc-ICA_stability.tsv"),
        ("enrichment", "project_terms/desc-ICA_enrichment.tsv"),
        ("map_terms", "project_terms/desc-ICA_termmaps.tsv"),
        ("names", "project_terms/desc-ICA_names.tsv"),
        ("mixture", "plot_components/desc-ICA_mixture.tsv"),
        ("networks", "match_networks/desc-ICA_networks.tsv"),
    ],
)
def test_a_missing_table_is_an_error(lock, name, table):
    with pytest.raises(FileNotFoundError, match=table):
        lock(**{name: f"nowhere/{table}"})


def test_hashes_are_those_of_the_files(lock):
    folder = lock()
    run = json.loads((folder / "write_lock/run.json").read_text())
    assert run["results_sha256"][str(folder / "run_ica/components.nii.gz")] == hashlib.sha256(b"some bytes").hexdigest()
    assert len(run["results_sha256"]) == 3
    for path, found in run["results_sha256"].items():
        with open(path, "rb") as stream:  # noqa: PTH123
            assert hashlib.sha256(stream.read()).hexdigest() == found


def test_run_has_configuration_seeds_versions_and_counts(lock):
    folder = lock() / "write_lock"
    run = json.loads((folder / "run.json").read_text())
    assert run["configuration"] == read_file(ROOT / "config.yaml")
    assert run["seeds"] == {"fetch_metadata": 0, "run_ica": 0}
    assert re.fullmatch(r"\d+\.\d+\.\d+", run["software"]["packages"]["nilearn"])
    assert run["software"]["python"].startswith("3.")
    counts = run["counts"]
    assert (counts["images_selected"], counts["images_used"], counts["collections_used"]) == (4, 2, 2)
    assert counts["images_rejected"] == {"missing_file": 1, "thresholded": 1}
    assert counts["locked_images_without_doi"] == 2
    assert counts["mean_iq_restarts"] == pytest.approx(0.85)
    assert counts["mean_r_split_half"] == pytest.approx(0.55)
    text = (folder / "methods.md").read_text()
    assert "The effective number of collections was 1.6 of 2" in text
    assert "In 10 random splits of the collections into halves" in text
    assert "was 0.55 (lowest 0.50; 95th percentile under random rotation: 0.20)" in text


def test_same_results_give_the_same_bytes(lock):
    first, second = lock("first") / "write_lock", lock("second") / "write_lock"
    for name in ("images.lock.tsv", "methods.md", "references.bib"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert (first / "run.json").read_text().replace("/first/", "/second/") == (second / "run.json").read_text()


def test_methods_have_the_numbers_of_the_run(lock):
    text = (lock(source="offline") / "write_lock/methods.md").read_text()
    for words in (
        "were read from a local cache in the format of NeuroVault (Gorgolewski et al. 2015)",
        "4 images of 2 collections met the metadata criteria",
        "2 images were rejected (1 without a file, 1 thresholded)",
        "used 2 images of 2 collections (by map type: 2 Z maps; at most 1 per collection)",
        "run with the workflow NeuroVault cross-study ICA 0.1.0, Snakemake",
        "at 2 mm",
        "linear interpolation",
        "235,375 voxels",
        "divided by its standard deviation",
        "2 principal components (62.5 % of the variance)",
        "20 random starts",
        "(19 converged)",
        "mean of 0.85 (lowest 0.80)",
        "converged after 12 iterations",
        "17 bootstrap samples of the collections",
        "was 0.65 (lowest 0.60; 95th percentile under random rotation",
        "2 of 2 images had term weights from Neurosynth",
        "1 of 2 components has a significant name (1 from terms).",
        "2 images in the lock (from 1 collection without a DOI) may be removed",
    ):
        assert words in text, words
    assert "simulated" not in text
    demo = (lock("demo") / "write_lock/methods.md").read_text()
    assert "were simulated" in demo
    assert "may be removed" not in demo
    own = lock("own", source="table") / "write_lock"
    assert "may be removed" not in (own / "methods.md").read_text()
    assert "NeuroVault" not in (own / "references.bib").read_text().partition("% Data")[2]


def test_references_are_exactly_the_cited_works(lock):
    folder = lock() / "write_lock"
    text, entries = (folder / "methods.md").read_text(), parse_bibtex((folder / "references.bib").read_text())
    body = text.partition("## References")[0]
    cited = {key for key, work in read_works().items() if cite(work) in body}
    assert {"hyvarinen1999fastica", "moelder2021snakemake"} < cited
    assert set(entries) - cited == {"neurovault7"}
    for key in cited:
        assert read_works()[key].get("doi", read_works()[key].get("url")) in text
    assert cite(read_works()["yeo2011organization"]) not in text


def test_references_have_collections_with_doi_and_name_those_without(lock):
    text = (lock() / "write_lock/references.bib").read_text()
    kind, fields = parse_bibtex(text)["neurovault7"]
    assert kind == "article"
    assert fields == {
        "author": "A. One and B. Two and C. Three",
        "title": "{Seven}",
        "journal": "Brain",
        "doi": "10.1000/seven_a",
        "note": "NeuroVault collection 7",
    }
    assert text.rstrip().splitlines()[-1] == "% NeuroVault collection 8, 1 image: Eight"


def test_hostile_metadata_stays_inside_its_field(lock):
    honest = parse_bibtex((lock("honest") / "write_lock/references.bib").read_text())
    text = (lock("hostile", word=lambda text: f"{HOSTILE} {text}") / "write_lock/references.bib").read_text()
    found = parse_bibtex(text)
    assert set(found) == set(honest)
    assert {key: sorted(fields) for key, (_, fields) in found.items()} == {
        key: sorted(fields) for key, (_, fields) in honest.items()
    }
    assert "\u202e" not in text
    assert "\\input" not in text
    methods = (lock("hostile2", word=lambda text: f"{HOSTILE} {text}") / "write_lock/methods.md").read_text()
    assert "<script" not in methods
