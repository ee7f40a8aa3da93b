"""Write the paragraph of the methods section on how term maps were computed."""

from collections.abc import Mapping
from typing import Any

from neurovault_ica.archive.database_files import DEMO, SMALLEST_WEIGHT, VOCABULARIES, neurosynth_version
from neurovault_ica.naming.association import RADIUS_MM
from neurovault_ica.record.bibliography import cited
from neurovault_ica.runtime.wording import counted


def database_paragraph(settings: Mapping[str, Any], n_terms: int) -> list[str]:
    """Describe how term maps were computed from a database of coordinates; empty if there are none.

    Parameters
    ----------
    settings : mapping
        The configuration.
    n_terms : int
        Number of maps.
    """
    if not n_terms:
        return []
    section = settings["build_term_maps"]
    database = section["database"]
    if database == DEMO:
        source = "a simulated database of coordinates"
    elif version := neurosynth_version(database, section["vocabulary"]):
        source = (
            f"the coordinates in Neurosynth's database, version {version} {cited('yarkoni2011neurosynth')}, which is"
            " made available under the Open Database License"
        )
    else:
        source = "a database of coordinates of many studies"
    vocabulary, kind = section["vocabulary"], VOCABULARIES.get(section["vocabulary"])
    topics = (
        f" The terms are the topics of the vocabulary {vocabulary}, named by their first words. A study uses a topic"
        f" if the topic's share of its abstract is at least {SMALLEST_WEIGHT[kind]:g}."
        if kind == "weight"
        else ""
    )
    decoded = (
        " The term weights of an image are its correlations with these maps."
        if settings["fetch_terms"]["source"] == "database"
        else ""
    )
    rare = (
        f" Terms of fewer than {section['min_studies']:,} studies were left out. So were terms"
        if section["min_studies"] > 1
        else " We left out terms"
    )
    return [
        f"**Meta-analytic maps.** We computed {counted(n_terms, 'meta-analytic term map')} from {source}. Talairach"
        f" coordinates were transformed to MNI space {cited('lancaster2007icbm2tal')}. A study activates the voxels"
        f" within {RADIUS_MM:g} mm of its peaks {cited('wager2007mkda')}.{topics} For each term and voxel, a"
        " chi-squared test with one degree of freedom compared the studies that use the term with all others. The map"
        f" is the signed square root of chi-squared.{rare} that name neither a mental function nor a place in the"
        f" brain.{decoded}"
    ]
