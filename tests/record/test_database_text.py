"""The methods text names the database behind the term maps, and the license of the database."""

import pytest
from conftest import ROOT
from neurovault_ica.record.database_text import database_paragraph
from neurovault_ica.record.names_text import names_paragraph
from neurovault_ica.runtime.layers import read_file


@pytest.mark.parametrize(
    ("database", "words"),
    [
        (
            "neurosynth",
            "Neurosynth's database, version 7 (Yarkoni et al. 2011), which is made available under the Open",
        ),
        ("https://mirror.example/neurosynth", "Neurosynth's database, version 7 (Yarkoni et al. 2011)"),
        ("my/folder", "782 meta-analytic term maps from a database of coordinates of many studies. Talairach"),
        ("demo", "782 meta-analytic term maps from a simulated database of coordinates. Talairach"),
    ],
)
def test_the_source_of_the_maps_is_named(database, words):
    settings = read_file(ROOT / "config.yaml")
    settings["build_term_maps"]["database"] = database
    (text,) = database_paragraph(settings, 782)
    assert words in text
    assert "(Lancaster et al. 2007)" in text
    assert "(Wager et al. 2007)" in text
    assert "fewer than 50 studies" in text
    assert "weights of an image" not in text
    assert "topic" not in text
    settings["build_term_maps"]["vocabulary"] = "LDA50"
    (text,) = database_paragraph(settings, 43)
    assert "topics of the vocabulary LDA50, named by their first words. A study uses a topic if the topic's" in text
    assert "is at least 0.05. For each" in text
    settings["fetch_terms"]["source"] = "database"
    assert "The term weights of an image are its correlations" in database_paragraph(settings, 782)[0]
    assert database_paragraph(settings, 0) == []
    settings["build_term_maps"]["min_studies"] = 1
    assert "chi-squared. We left out terms that name neither" in database_paragraph(settings, 782)[0]


@pytest.mark.parametrize(
    ("archive", "source", "words"),
    [
        ("neurovault", "server", "had term weights from Neurosynth (Yarkoni et al. 2011). They are correlations"),
        ("offline", "server", "had term weights from Neurosynth (Yarkoni et al. 2011)."),
        ("neurovault", "database", "had term weights: their correlations with the meta-analytic maps of 40 terms."),
        ("demo", "server", "had simulated weights of 40 terms."),
        ("table", "server", "had weights of 40 terms, which were given with the images."),
    ],
)
def test_the_origin_of_term_weights_is_named(archive, source, words):
    settings = read_file(ROOT / "config.yaml")
    settings["archive"] |= {"source": archive, "data_dir": "maps", "table": "maps.tsv"}
    settings["fetch_terms"]["source"] = source
    facts = {"images_with_terms": 3, "images_used": 4, "terms": 40}
    facts |= dict.fromkeys(
        (
            "terms_tested",
            "labels_tested",
            "term_maps",
            "term_map_pairs_tested",
            "components_named",
            "components_named_by_person",
        ),
        0,
    )
    text = names_paragraph(facts, settings)
    assert f"3 of 4 images {words}" in text
    assert ("Neurosynth" in text) == ("Neurosynth" in words)


def test_a_folder_with_neurosynths_files_is_called_neurosynth(tmp_path):
    for part in ("coordinates.tsv.gz", "metadata.tsv.gz", "vocab-terms_features.npz", "vocab-terms_vocabulary.txt"):
        (tmp_path / f"data-neurosynth_version-6_{part}").touch()
    settings = read_file(ROOT / "config.yaml")
    settings["build_term_maps"]["database"] = str(tmp_path)
    assert "Neurosynth's database, version 6 (Yarkoni et al. 2011), which is made" in database_paragraph(settings, 9)[0]
