"""Memory and time that a job requests from a cluster."""

from collections.abc import Callable
from typing import Any


def growing(base: float, *, per_mb: float = 0) -> Callable[..., int]:
    """Return the function that Snakemake calls for a resource of a job.

    Parameters
    ----------
    base : float
        Need of a small job, with a margin, in MB of memory or in minutes. For memory, it includes 300 MB for Snakemake
        itself, which also runs in each job of a cluster.
    per_mb : float
        Additional need per MB of input files. The number of images is unknown until fetch_metadata has run, but the
        size of the inputs grows with it.

    Returns
    -------
    callable
        Returns the need multiplied by the number of the attempt. So a job that exceeded its memory or time gets twice
        as much, then three times as much.
    """

    def resource(wildcards: Any, input: Any, attempt: int) -> int:  # noqa: ARG001  Snakemake passes arguments by name
        return int(base + (per_mb * input.size_mb if per_mb else 0)) * attempt

    return resource
