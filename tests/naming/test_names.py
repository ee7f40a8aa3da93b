"""A component is named by its first significant candidates. Without any, it is unnamed and lists the closest ones."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import project_terms
import pytest
from conftest import ROOT
from made_maps import EGG, EGG_AFFINE, EGG_SHAPE, smooth_noise
from neurovault_ica.naming.evidence import Found
from neurovault_ica.naming.names import Candidate, ComponentName, decide, name_components, read_names
from neurovault_ica.naming.sources import SOURCES, Source
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from partial_tables import write_partial


def candidates(component, **q_of):
    return [Candidate(component, name, 1 / rank, q) for rank, (name, q) in enumerate(q_of.items(), 1)]


def words(decision):
    return [candidate.name for candidate in decision.chosen]


def test_significant_candidates_form_the_name_in_their_order():
    found = candidates("ICA_00", motor=0.2, hand=0.01, task=0.05, finger=0.04, arm=0.001, foot=0.001)
    decision = decide({"terms": found})
    assert (words(decision), decision.source, decision.mark) == (["hand", "finger", "arm"], "terms", "")


@pytest.mark.parametrize(
    ("other", "is_form"),
    [("emotive", True), ("emotions", True), ("emotx", False), ("emo", False), ("emot", True), ("moti", False)],
)
def test_forms_of_a_word_share_five_letters_or_a_stem_of_four(other, is_form):
    decision = decide({"terms": candidates("ICA_00", **{"emotion": 0.01, other: 0.02})})
    assert words(decision) == (["emotion"] if is_form else ["emotion", other])


@pytest.mark.parametrize(("q", "mark"), [(0.2, "n.s."), (None, "untested")])
def test_names_that_may_be_chance_have_a_mark(q, mark):
    decision = decide({"terms": candidates("ICA_00", task=q, memory=q, word=q, load=q)})
    assert (words(decision), decision.source, decision.mark) == (["task", "memory", "word"], "terms", mark)


def test_candidates_that_may_not_name_are_passed_over():
    found = [Candidate("ICA_00", "lucky", 0.3, 0.001, may_name=False), Candidate("ICA_00", "task", 0.2, 0.2)]
    assert decide({"term maps": found}).mark == "n.s."
    assert words(decide({"term maps": found, "terms": candidates("ICA_00", pain=0.01)})) == ["pain"]
    # The closest candidate of an unnamed component is the strongest one.
    assert words(decide({"term maps": found})) == ["lucky", "task"]


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        (["pain", "painful", "chronic pain", "heat"], ["pain", "heat"]),
        (["category", "categories", "categorization", "face", "faces"], ["category", "face"]),
        (["auditory speech temporal", "language reading word"], ["auditory speech temporal"]),
        (["working memory", "load", "memory", "n back"], ["working memory", "load"]),
        (["motor", "motion", "move"], ["motor", "motion", "move"]),
        (["a very long label of four words and more", "motor"], ["a very long label of four words and more"]),
    ],
)
def test_a_name_has_up_to_three_different_words(found, chosen):
    assert words(decide({"terms": candidates("ICA_00", **dict.fromkeys(found, 0.01))})) == chosen


def test_the_first_source_with_a_significant_candidate_wins():
    terms, metadata = candidates("ICA_00", task=0.2), candidates("ICA_00", faces=0.3, emotion=0.02)
    decision = decide({"term maps": [], "terms": terms, "metadata": metadata})
    assert (words(decision), decision.source, decision.mark) == (["emotion"], "metadata", "")
    decision = decide({"term maps": [], "terms": terms, "metadata": metadata[:1]})
    assert (words(decision), decision.source, decision.mark) == (["task"], "terms", "n.s.")
    assert decide({"term maps": [], "terms": []}) == ([], None, "")


def test_names_come_back_from_the_table_with_runners_up(tmp_path):
    found = {
        "terms": [
            *candidates("ICA_00", motor=0.001, hand=0.2, finger=0.01, arm=0.3, foot=0.04, leg=0.04, toe=0.04),
            *candidates("ICA_01", **{"a;": None, "x" * 5000: None, "\u202eb": None, "d": None}),
        ],
        "metadata": candidates("ICA_00", tapping=0.3, motor=0.02),
    }
    path = tmp_path / "project_terms/desc-ICA_names.tsv"
    negative = candidates("ICA_00", rest=0.003, mode=0.04, task=0.2)
    negative = [candidate._replace(value=-candidate.value) for candidate in negative]
    rows = name_components(["ICA_00", "ICA_01", "ICA_02"], found, ["terms"], negative)
    write_table(path, rows, list(rows[0]))
    assert read_names(str(path)) == {
        "ICA_00": ComponentName(
            "motor; finger; foot",
            ["motor", "finger", "foot"],
            "",
            "terms",
            [
                "leg (terms, q 0.040)", "toe (terms, q 0.040)",
                "motor (metadata, q 0.020)", "tapping (metadata, q 0.300)",
            ],
            "rest; mode (r -1.00, q 0.003)",
        ),
        "ICA_01": ComponentName(
            "unnamed (closest: a,; " + "x" * 199 + "…; b)",
            ["a,", "x" * 199 + "…", "b"],
            "untested",
            "terms",
            ["d (terms, untested)"],
            "",
        ),
        "ICA_02": ComponentName("unnamed", [], "", "", [], ""),
    }  # fmt: skip
    first = read_table(path)[0]
    assert (first["name"], first["source"], first["value"], first["q"]) == ("motor; finger; foot", "terms", 1, 0.001)


@pytest.fixture
def stage(tmp_path):
    """Return the arguments of project_terms for 10 collections with one image each, and two components.

    The first five images load on ICA_00, carry the term pain and the word itch. The others carry memory.
    """
    rng = np.random.default_rng(0)
    maps = np.array([smooth_noise(rng, 20), smooth_noise(rng, 20)])
    loadings = np.array([[1.0 + 0.1 * row, 0.1] if row < 5 else [0.1, 1.0 + 0.1 * row] for row in range(10)])
    noise = np.array([smooth_noise(rng, 20) for _ in loadings])
    np.save(tmp_path / "matrix.npy", (loadings @ maps + 6 * noise).astype(np.float32))
    volumes = np.zeros((*EGG_SHAPE, 2), np.float32)
    volumes[EGG] = maps.T
    nib.save(nib.Nifti1Image(volumes, EGG_AFFINE), tmp_path / "components.nii.gz")
    nib.save(nib.Nifti1Image(EGG.astype(np.uint8), EGG_AFFINE), tmp_path / "mask.nii.gz")

    def table(place, rows, columns=()):
        path = tmp_path / f"{place}.tsv"
        write_table(path, [dict.fromkeys(columns or column_names(path)) | row for row in rows], columns)
        return str(path)

    ids = range(100, 110)
    images = [{"image_id": i, "collection_id": i, "name": "itch" if i < 105 else "recall"} for i in ids]
    weights = [
        {"image_id": i, "term": term, "weight": 0.8 + 0.01 * i if has else 0.02 * (i % 3)}
        for i in ids
        for term, has in (("pain", i < 105), ("memory", i >= 105))
    ]
    mixing = [{"image_id": i, "ICA_00": a, "ICA_01": b} for i, (a, b) in zip(ids, loadings, strict=True)]
    outputs = {
        name: str(tmp_path / f"project_terms/{file}")
        for name, file in {
            "terms": "desc-ICA_terms.tsv", "enrichment": "desc-ICA_enrichment.tsv",
            "map_terms": "desc-ICA_termmaps.tsv", "names": "desc-ICA_names.tsv", "vocabulary": "vocabulary.tsv",
            "matrix": "term_weights.npz",
        }.items()
    }  # fmt: skip
    return outputs | {
        "term_weights": [table("fetch_terms/terms-0", weights)],
        "images": table("stack_images/images", images),
        "selection": table("fetch_metadata/images", images),
        "collections": table("fetch_metadata/collections", [{"collection_id": i} for i in ids]),
        "voxels": str(tmp_path / "matrix.npy"),
        "mask": str(tmp_path / "mask.nii.gz"),
        "components": str(tmp_path / "components.nii.gz"),
        "mixing": table("run_ica/desc-ICA_mixing", mixing, ["image_id", "ICA_00", "ICA_01"]),
        "unmixing": "unused",
        "projection": "mixing",
        "center_terms": True,
        "term_maps": None,
        "built_maps": [],
        "networks": [],
        "n_permutations": 100,
        "random_state": 0,
        "threads": 1,
    }


def test_term_tables_of_batches_that_are_no_more_are_removed(stage):
    [table] = map(Path, stage["term_weights"])
    left = table.with_name("terms-3.tsv")
    left.touch()
    project_terms.main(**stage)
    assert table.is_file()
    assert not left.exists()


def test_the_stage_names_components_by_labels_if_no_term_is_significant(stage):
    with open(stage["term_weights"][0], "w", encoding="utf-8") as table:  # noqa: PTH123
        table.write("image_id\tterm\tweight\n")
        for i in range(100, 110):
            # The difference of terms between the two groups of images is much smaller than that within them.
            for term, has in (("pain", i < 105), ("memory", i >= 105)):
                table.write(f"{i}\t{term}\t{0.5 + 0.02 * has + 0.1 * (i % 5 % 3)}\n")
    project_terms.main(**stage)
    names = read_names(stage["names"])
    assert [(label, found.words[0]) for label, found in names.items()] == [("ICA_00", "itch"), ("ICA_01", "recall")]
    assert [row["source"] for row in read_table(stage["names"])] == ["metadata", "metadata"]
    assert any(text.startswith("pain (terms, ") for text in names["ICA_00"].runners_up)
    project_terms.main(**stage | {"n_permutations": 0})
    names = read_names(stage["names"])
    assert [found.name for found in names.values()] == ["unnamed (closest: pain)", "unnamed (closest: memory)"]
    saved = np.load(stage["matrix"])
    assert saved["weights"].shape == (10, 2)
    assert saved["terms"].tolist() == ["memory", "pain"]


def test_term_maps_name_first_and_refuse_terms_that_contradict_them(stage, tmp_path, caplog):
    """ICA_00 has the map of heat, and its images carry the term pain. The map of pain is that of ICA_01."""
    maps = np.asarray(nib.load(stage["components"]).dataobj)[EGG].T
    rng = np.random.default_rng(1)
    noise = [smooth_noise(rng, 20) for _ in range(6)]
    built = tmp_path / "build_term_maps"
    built.mkdir()
    mixed = [0.9 * maps[0] / maps[0].std() + 0.2 * noise[0], 0.9 * maps[1] / maps[1].std() + 0.2 * noise[1], *noise[2:]]
    np.save(built / "term_maps.npy", np.array(mixed, dtype=np.float32))
    nib.save(nib.Nifti1Image(EGG.astype(np.uint8), EGG_AFFINE), built / "mask.nii.gz")
    terms = ["heat", "pain", "a", "b", "c", "d"]
    write_table(built / "terms.tsv", [{"term": term, "n_studies": 60} for term in terms])
    stage |= {
        "built_maps": str(built / "terms.tsv"),
        "networks": str(tmp_path / "match_networks/desc-ICA_networks.tsv"),
    }
    best = {"component": "ICA_01", "best_network": "pain network", "best_r": 0.5, "best_q": 0.01}
    write_partial(stage["networks"], [best])
    caplog.set_level("INFO")
    project_terms.main(**stage)
    rows = read_table(stage["names"])
    assert [(row["name"], row["source"]) for row in rows] == [("heat", "term maps"), ("pain", "term maps")]
    assert [(row["network"], row["network_r"]) for row in rows] == [(None, None), ("pain network", 0.5)]
    assert "pain (terms, q" in rows[0]["runners_up"]
    assert "ICA_00: heat (term maps, 1.00, q" in caplog.text
    assert "components with a significant name: 2 of 2" in caplog.text
    # Without the map of heat, ICA_00 is not called pain, although this is its only significant term.
    mixed[0] = noise[0]
    np.save(built / "term_maps.npy", np.array(mixed, dtype=np.float32))
    project_terms.main(**stage)
    names = read_names(stage["names"])
    assert [(found.name, found.source) for found in names.values()] == [("itch", "metadata"), ("pain", "term maps")]


def test_a_source_without_a_table_can_give_a_name(stage, monkeypatch):
    """A new source needs only its function and one line in the list."""

    def find_side(inputs):
        return Found([Candidate(label, f"side of {label}", 1.0, 0.001) for label in inputs.components])

    monkeypatch.setattr(project_terms, "SOURCES", (Source("side", find_side, may_name=True), *SOURCES))
    project_terms.main(**stage)
    rows = read_table(stage["names"])
    assert [(row["name"], row["source"]) for row in rows] == [("side of ICA_00", "side"), ("side of ICA_01", "side")]
    assert "pain (terms, " in rows[0]["runners_up"]


def test_every_table_of_a_source_is_described_and_an_output_of_the_rule():
    described = json.loads((ROOT / "workflow/schemas/tables.json").read_text())
    rule = (ROOT / "workflow/rules/names.smk").read_text()
    for source in (one for one in SOURCES if one.table):
        line = next(line for line in rule.splitlines() if line.strip().startswith(f"{source.table}="))
        file = line.partition("results/")[2].partition(".tsv")[0]
        assert file in described
    assert len({source.name for source in SOURCES}) == len(SOURCES)
