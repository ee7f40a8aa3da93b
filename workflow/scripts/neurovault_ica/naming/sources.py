"""All sources of names. To add a source, write its module and add a line to `SOURCES`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from neurovault_ica.naming.evidence import Found, Inputs, Pending
from neurovault_ica.naming.labels import find_labels
from neurovault_ica.naming.terms import find_terms


class Source(NamedTuple):
    """A source of candidate names."""

    name: str  # in the column `source` of desc-ICA_names.tsv
    find: Callable[[Inputs], Found | Pending]
    table: str | None = None  # output of the rule project_terms for the rows of its table
    may_name: bool = False  # False: its candidates are only listed as runners-up


def find_maps(inputs: Inputs) -> Found | Pending:
    """Find similar term maps, if there are any term maps."""
    if inputs.term_maps is None and inputs.built_maps is None:
        return Found([])
    # Imported here because it takes longer than the other sources.
    from neurovault_ica.naming.term_maps import find_term_maps

    return find_term_maps(inputs)


# In order of precedence.
SOURCES = (
    Source("term maps", find_maps, table="map_terms", may_name=True),
    Source("terms", find_terms, table="terms", may_name=True),
    Source("metadata", find_labels, table="enrichment", may_name=True),
)


def find_all(sources: Sequence[Source], inputs: Inputs) -> dict[str, Found]:
    """Run all sources. Run their tests with surrogates of the components together, with the same surrogates."""
    results = {source.name: source.find(inputs) for source in sources}
    found = {name: one for name, one in results.items() if isinstance(one, Found)}
    pending = {name: one for name, one in results.items() if isinstance(one, Pending)}
    if pending:
        # Imported here because scipy takes longer than all sources without tests.
        from neurovault_ica.naming.chance import run_tests
        from neurovault_ica.statistics.lattice import lattice_of

        lattice = lattice_of(inputs.maps.inside, inputs.maps.affine)
        p = run_tests(
            inputs.maps.values[:, lattice.points],
            lattice,
            [one.test for one in pending.values()],
            n_permutations=inputs.n_permutations,
            random_state=inputs.random_state,
            threads=inputs.threads,
        )
        found |= {name: one.finish(values) for (name, one), values in zip(pending.items(), p, strict=True)}
    return {source.name: found[source.name] for source in sources}
