"""What a reader should know before believing the page, in plain words."""

from collections.abc import Mapping, Sequence
from typing import Any

from page_text import percent
from significance import SIGNIFICANT_Q

Row = dict[str, Any]

# Below this mean Iq, and above this share of restarts that do not converge, tedana warns too.
LOW_STABILITY = 0.6
# Restarts run on a tenth of the voxels, which alone costs a few hundredths.
LOW_RESTART_CORRELATION = 0.8
MANY_UNCONVERGED = 0.1
# In simulation, planted networks have 0.8 to 0.95 and components of noise 0.2 (docs/methods.md).
LOW_CORRELATION = 0.5
ONE_COLLECTION = 0.5
FEW_IMAGES_PER_COMPONENT = 3


def find_warnings(
    *,
    components: Sequence[Row],
    decomposition: Mapping[str, Any],
    n_images: int,
    n_rejected: int,
    n_with_terms: int,
    recovery: Sequence[Row],
) -> list[str]:
    """Say in plain words what a reader should know before believing the page."""
    found = [*_about_convergence(decomposition), *_about_stability(components)]
    n_components = len(components)
    if n_images < FEW_IMAGES_PER_COMPONENT * n_components:
        found.append(f"Only {n_images} images for {n_components} components: expect components of single images.")
    found += _about_names(components, n_images=n_images, n_with_terms=n_with_terms)
    if n_rejected > n_images:
        found.append(f"More images were refused ({n_rejected}) than used ({n_images}); see the reasons below.")
    failed = [row for row in recovery if not row["passed"]]
    if failed:
        found.append(f"Demo check: {len(failed)} of {len(recovery)} checks failed; see the table below.")
    return found


def _about_convergence(decomposition: Mapping[str, Any]) -> list[str]:
    found = []
    if not decomposition["converged"]:
        found.append(
            f"FastICA did not converge in {decomposition['max_iter']} iterations: the components may be different with"
            " another seed. Probably there are more components than the images have structure for; ask for fewer"
            " (run_ica.n_components) or allow more iterations (run_ica.max_iter)."
        )
    n_restarts, n_converged = decomposition["n_restarts"], decomposition["n_restarts_converged"]
    if n_restarts > 1 and n_restarts - n_converged > MANY_UNCONVERGED * n_restarts:
        found.append(f"{n_restarts - n_converged} of {n_restarts} restarts of FastICA did not converge.")
    return found


def _about_stability(components: Sequence[Row]) -> list[str]:
    found = []
    unstable = [row["component"] for row in components if is_unstable(row)]
    if unstable:
        found.append(
            f"{_listing(unstable)}: stability over restarts Iq below {LOW_STABILITY}, or mean |r| with the restarts"
            f" below {LOW_RESTART_CORRELATION}. Such a component depends on where the algorithm starts."
        )
    fleeting = [row["component"] for row in components if is_fleeting(row)]
    if fleeting:
        found.append(
            f"{_listing(fleeting)}: mean |r| below {LOW_CORRELATION} when the collections are drawn anew. With other"
            " studies, such a component may not be there."
        )
    return found + [
        f"{row['component']} is carried by one collection: number {row['collection_id']} holds"
        f" {percent(row['collection_share'])} of its squared loadings. It may be a feature of that study."
        for row in components
        if is_of_one_collection(row)
    ]


def _about_names(components: Sequence[Row], *, n_images: int, n_with_terms: int) -> list[str]:
    found = []
    if not n_with_terms:
        found.append("No image has term weights: the components have no names.")
    elif 2 * n_with_terms < n_images:
        found.append(f"Only {n_with_terms} of {n_images} images have term weights: the names rest on these alone.")
    nameless = [row["component"] for row in components if row["n_significant_terms"] == 0]
    if nameless:
        found.append(
            f"{_listing(nameless)}: no term has a q below {SIGNIFICANT_Q}."
            f" {'The name' if len(nameless) == 1 else 'Their names'} may be noise."
        )
    return found + [f"{_listing(labels)} have the same first three terms." for labels in _same_names(components)]


def flags_of(component: Row) -> list[str]:
    """Name what speaks against a component in a word or two each, for its card."""
    return [
        *(["depends on the start"] if is_unstable(component) else []),
        *(["not in other studies"] if is_fleeting(component) else []),
        *(["one collection"] if is_of_one_collection(component) else []),
        *(["name may be noise"] if component["n_significant_terms"] == 0 else []),
    ]


def is_unstable(component: Row) -> bool:
    """Tell whether a component depends on where the algorithm starts."""
    if component["iq_restarts"] is None:
        return False
    return component["iq_restarts"] < LOW_STABILITY or component["r_restarts"] < LOW_RESTART_CORRELATION


def is_fleeting(component: Row) -> bool:
    """Tell whether a component changes with the studies."""
    return component["r_bootstraps"] is not None and component["r_bootstraps"] < LOW_CORRELATION


def is_of_one_collection(component: Row) -> bool:
    """Tell whether one collection of several carries a component."""
    return component["collections"] > 1 and component["collection_share"] > ONE_COLLECTION


def _same_names(components: Sequence[Row]) -> list[list[str]]:
    labels: dict[tuple[str, ...], list[str]] = {}
    for row in components:
        if row["names"]:
            labels.setdefault(tuple(sorted(str(name) for name in row["names"])), []).append(row["component"])
    return [group for group in labels.values() if len(group) > 1]


def _listing(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
