"""Refuse names that the meta-analytic map of the same term contradicts.

Terms and labels of images describe what the studies with high loadings have in common. This need not describe the
component, because several components may have high loadings in the same studies. The map of the term shows whether the
component itself resembles it.
"""

from collections.abc import Mapping, Sequence

from neurovault_ica.naming.names import Candidate
from neurovault_ica.types import Row

# A term map agrees with a component if its p is at most this, uncorrected.
AGREEING_P = 0.05


def refuse_contradicted(
    candidates: Mapping[str, Sequence[Candidate]], map_rows: Sequence[Row]
) -> dict[str, list[Candidate]]:
    """Exclude candidates from naming if there are term maps for their words, but none agrees with the component.

    Parameters
    ----------
    candidates : mapping of str to sequence of Candidate
        Candidates of all components by source.
    map_rows : sequence of dict
        Rows of desc-ICA_termmaps.tsv.

    Returns
    -------
    dict of str to list of Candidate
        The same candidates. Contradicted ones have ``may_name=False``.
    """
    agrees: dict[tuple[str, str], bool] = {}
    for row in map_rows:
        does_agree = row["r"] > 0 if row["p"] is None else row["p"] <= AGREEING_P
        # A term of several words, or a topic, also counts for each of its words.
        for word in {row["term"].casefold(), *row["term"].casefold().split()}:
            key = row["component"], word
            agrees[key] = agrees.get(key, False) or does_agree

    def is_contradicted(candidate: Candidate) -> bool:
        name = candidate.name.casefold()
        whole = agrees.get((candidate.component, name))
        if whole is not None:
            return not whole
        found = [agrees[key] for word in name.split() if (key := (candidate.component, word)) in agrees]
        return bool(found) and not any(found)

    return {
        source: [one._replace(may_name=False) if one.may_name and is_contradicted(one) else one for one in of_source]
        for source, of_source in candidates.items()
    }
