"""All sources of names. To add a source, write its module and add a line to `SOURCES`."""

from collections.abc import Callable
from typing import NamedTuple

from neurovault_ica.naming.evidence import Found, Inputs
from neurovault_ica.naming.labels import find_labels
from neurovault_ica.naming.terms import find_terms


class Source(NamedTuple):
    """A source of candidate names."""

    name: str  # in the column `source` of desc-ICA_names.tsv
    find: Callable[[Inputs], Found]
    table: str | None = None  # output of rule project_terms that the rows of its table are written to
    may_name: bool = False  # False: its candidates are only listed as runners-up


def find_maps(inputs: Inputs) -> Found:
    """Find similar term maps, if there are any. Importing their search takes longer than the other sources."""
    if inputs.term_maps is None and inputs.built_maps is None:
        return Found([])
    from neurovault_ica.naming.term_maps import find_term_maps

    return find_term_maps(inputs)


# In order of precedence.
SOURCES = (
    Source("term maps", find_maps, table="map_terms", may_name=True),
    Source("terms", find_terms, table="terms", may_name=True),
    Source("metadata", find_labels, table="enrichment", may_name=True),
)
