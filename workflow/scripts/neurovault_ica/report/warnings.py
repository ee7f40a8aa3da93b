"""Write the warnings of the page, which a reader should know before using the results."""

from collections.abc import Mapping, Sequence
from typing import Any

from neurovault_ica.decomposition.algorithms import ALGORITHMS
from neurovault_ica.decomposition.consensus import many_unconverged
from neurovault_ica.decomposition.summary import explain_smallness
from neurovault_ica.naming.names import NOT_SIGNIFICANT, UNTESTED
from neurovault_ica.report.text import percent
from neurovault_ica.runtime.wording import counted, listed
from neurovault_ica.statistics.p_values import SIGNIFICANT_Q
from neurovault_ica.types import Row

# Names on the page of the flags in desc-ICA_stability.tsv.
FLAG_TEXTS = {
    "start_dependent": "unstable start",
    "not_reproduced": "not reproduced",
    "one_collection": "one study",
    "not_grey_matter": "not grey matter",
}
NAME_UNCERTAIN = "name uncertain"
EMPTY = "nothing above threshold"


def find_warnings(
    *,
    components: Sequence[Row],
    decomposition: Mapping[str, Any],
    n_images: int,
    n_rejected: int,
    n_with_terms: int,
    recovery: Sequence[Row],
    database: Sequence[Row] = (),
) -> list[str]:
    """List the warnings as sentences; empty if there are none.

    Parameters
    ----------
    components : sequence of dict
        From `tables.describe_components`.
    decomposition : mapping
        Content of desc-ICA_decomposition.json.
    n_images, n_rejected, n_with_terms : int
        Numbers of used images, of rejected images, and of used images with term weights.
    recovery : sequence of dict
        Rows of recovery.tsv; empty unless the run is the demo.
    database : sequence of dict
        Rows of the table of fetch_database; empty if nothing was downloaded.
    """
    smallness = explain_smallness(decomposition)
    found = [smallness] if smallness else []
    found += [*_about_convergence(decomposition), *_about_flags(components), *_about_what_is_unknown(components)]
    found += _about_peaks(components)
    found += _about_names(components, n_images=n_images, n_with_terms=n_with_terms)
    if missing := [row["reason"] for row in database if row["status"] != "ok"]:
        found.append(
            f"Neurosynth's database could not be fetched ({', '.join(sorted(set(missing)))}), so there are no term maps"
            " to name the components. To fetch it later, run `snakemake --cores 2 update` with the same --configfile."
        )
    elif not n_with_terms and not any(row.get("maps") for row in components):
        found.append(
            "There are no term weights and no term maps, so names come from metadata alone. Set"
            " build_term_maps.database to neurosynth, or to a folder."
        )
    if n_rejected > n_images:
        found.append(f"More images were rejected ({n_rejected}) than used ({n_images}). The reasons are under Images.")
    failed = [row for row in recovery if not row["passed"]]
    if failed:
        found.append(
            f"Demo check: {counted(len(failed), 'check')} of {len(recovery)} failed; see the section Demo check."
        )
    return found


def _about_convergence(decomposition: Mapping[str, Any]) -> list[str]:
    found = []
    if not decomposition["converged"]:
        alternative = ALGORITHMS[decomposition["algorithm"]].alternative
        found.append(
            f"{decomposition['algorithm_label']} did not converge within"
            f" {counted(decomposition['max_iter'], decomposition['iteration'])}: another seed may give different"
            " components."
            + (f" Set run_ica.algorithm: {alternative}, which converges more often." if alternative else "")
        )
    n_restarts, n_converged = decomposition["n_restarts"], decomposition["n_restarts_converged"]
    if many_unconverged(n_restarts, n_converged):
        found.append(f"{n_restarts - n_converged} of {counted(n_restarts, 'restart')} did not converge.")
    return found


def _about_flags(components: Sequence[Row]) -> list[str]:
    found = []
    flagged = {flag: [row["component"] for row in components if flag in flags_in(row)] for flag in FLAG_TEXTS}
    if flagged["start_dependent"]:
        found.append(f"Different random starts give different components: {listed(flagged['start_dependent'])}.")
    if flagged["not_reproduced"]:
        found.append(
            "Not reproduced across studies (bootstrap or split-half), or no better than chance:"
            f" {listed(flagged['not_reproduced'])}. These may not appear in other samples of studies."
        )
    if flagged["not_grey_matter"]:
        found.append(
            f"Possibly artefacts (flag not_grey_matter): {listed(flagged['not_grey_matter'])}. Too much of the squared"
            " map is in fluid, vessels or white matter, or at the rim of the brain. Motion, pulse or registration may"
            " be the cause, even if the component has a name."
        )
    return found + [
        f"{row['component']} depends on one collection: collection {row['largest_collection_id']} has"
        f" {percent(row['largest_collection_share'])} of its squared loadings. It may be specific to that study."
        for row in components
        if "one_collection" in flags_in(row)
    ]


def _about_what_is_unknown(components: Sequence[Row]) -> list[str]:
    """Report what was not measured or tested, because components cannot be flagged for it."""
    found = []
    if all(row["r_bootstraps"] is None and row["r_split_half"] is None for row in components):
        found.append(
            "Stability across studies is unknown: there was no bootstrap or split-half analysis (run_ica.n_bootstraps"
            " and run_ica.n_splits are 0, or there are too few collections)."
        )
    untested = [row["component"] for row in components if row["mark"] == UNTESTED]
    if untested and any(row["words"] and row["mark"] != UNTESTED for row in components):
        # Term maps were tested, but the closest candidate of these components is a term or a label.
        found.append(
            f"Unnamed, because there are too few collections to test terms and labels: {listed(untested)}. The closest"
            " terms in parentheses may be noise."
        )
    elif untested:
        found.append(
            "Names were not tested (project_terms.n_permutations is 0, or there are too few collections), so components"
            " are unnamed. The closest terms in parentheses may be noise."
        )
    return found


def _about_peaks(components: Sequence[Row]) -> list[str]:
    empty = [row["component"] for row in components if not row["n_peaks"]]
    if not empty:
        return []
    return [
        f"No value reaches the threshold (plot_components.threshold): {listed(empty)}. There are no peaks, and the"
        " figures show no activation."
    ]


def _about_names(components: Sequence[Row], *, n_images: int, n_with_terms: int) -> list[str]:
    found = []
    if not any(row["words"] for row in components):
        found.append("There are neither term weights nor term maps nor labels, so the components have no names.")
    elif 0 < 2 * n_with_terms < n_images:
        found.append(
            f"Only {n_with_terms} of {counted(n_images, 'image')} {'has' if n_with_terms == 1 else 'have'} term"
            " weights. The terms are based on these alone."
        )
    nameless = [row["component"] for row in components if is_unnamed(row)]
    if nameless:
        found.append(
            f"Unnamed, because no candidate passed both tests for a name (q < {SIGNIFICANT_Q}, and a better fit than"
            f" 95 % of random maps): {listed(nameless)}. The closest terms in parentheses may be noise."
        )
    groups = [listed(labels) for labels in _same_names(components)]
    if groups:
        found.append(f"The same terms fit {'; '.join(groups)}. Their names therefore also state where they lie.")
    return found


def flags_of(component: Row) -> list[str]:
    """List a component's warnings for its card, each in two or three words."""
    found = [FLAG_TEXTS.get(flag, flag) for flag in flags_in(component)]
    return found + [EMPTY] * (not component["n_peaks"]) + [NAME_UNCERTAIN] * is_unnamed(component)


def is_unnamed(component: Row) -> bool:
    """Tell whether candidates for the name were tested and none gave a name."""
    return bool(component["mark"] == NOT_SIGNIFICANT and not component["evidence_name"])


def flags_in(component: Mapping[str, Any]) -> list[str]:
    """List the flags that a component has in desc-ICA_stability.tsv."""
    return [flag for flag in (component["flags"] or "").split(",") if flag]


def _same_names(components: Sequence[Row]) -> list[list[str]]:
    labels: dict[tuple[str, ...], list[str]] = {}
    for row in components:
        if row["words"] and not row["mark"] and not row["evidence_name"]:
            labels.setdefault(tuple(word.casefold() for word in row["words"]), []).append(row["component"])
    return [group for group in labels.values() if len(group) > 1]
