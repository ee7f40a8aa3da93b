"""Refuse names that the map of the same term contradicts.

Terms and labels of images say what the studies with high loadings have in common. That need not be what the component
shows: several components may load on the same studies. If there is a meta-analytic map of the term, it can tell.
"""

from collections.abc import Mapping, Sequence

from neurovault_ica.naming.names import Candidate
from neurovault_ica.types import Row

# A term map agrees with a component if its p is at most this, uncorrected.
AGREEING_P = 0.05


def refuse_contradicted(
    candidates: Mapping[str, Sequence[Candidate]], map_rows: Sequence[Row]
) -> dict[str, list[Candidate]]:
    """Let candidates give no name if term maps have their words, and none of these maps agrees with the component.

    Parameters
    ----------
    candidates : mapping of str to sequence of Candidate
        Candidates of all components by source. Term maps agree with themselves.
    map_rows : sequence of dict
        Rows of desc-ICA_termmaps.tsv.

    Returns
    -------
    dict of str to list of Candidate
        The same candidates; those that are contradicted have ``may_name=False``.
    """
    agrees: dict[tuple[str, str], bool] = {}
    for row in map_rows:
        does = row["r"] > 0 if row["p"] is None else row["p"] <= AGREEING_P
        # A term of several words, or a topic, counts for each of them.
        for word in {row["term"].casefold(), *row["term"].casefold().split()}:
            key = row["component"], word
            agrees[key] = agrees.get(key, False) or does

    def is_contradicted(candidate: Candidate) -> bool:
        name = (candidate.name or "").casefold()
        whole = agrees.get((candidate.component, name))
        if whole is not None:
            return not whole
        found = [agrees[key] for word in name.split() if (key := (candidate.component, word)) in agrees]
        return bool(found) and not any(found)

    return {
        source: [one._replace(may_name=False) if one.may_name and is_contradicted(one) else one for one in of_source]
        for source, of_source in candidates.items()
    }
