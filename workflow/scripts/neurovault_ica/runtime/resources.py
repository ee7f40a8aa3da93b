"""What a job asks a cluster for."""

from collections.abc import Callable
from typing import Any


def growing(base: float, *, per_mb: float = 0) -> Callable[..., int]:
    """Make the function from which Snakemake takes a resource of a job.

    Parameters
    ----------
    base : float
        What a small job needs, with head room: MB of memory, of which Snakemake itself takes 300 inside a cluster's
        job, or minutes.
    per_mb : float
        What each MB of input files adds: the number of images stands in the size of the files that hold them, and
        nowhere else before fetch_metadata has run.

    Returns
    -------
    callable
        Its value grows with the attempt: a job that was killed for it gets twice as much, then three times.
    """

    def resource(wildcards: Any, input: Any, attempt: int) -> int:  # noqa: ARG001  (Snakemake's names)
        return int(base + (per_mb * input.size_mb if per_mb else 0)) * attempt

    return resource
