"""Memory and time that a job requests from a cluster."""

from collections.abc import Callable
from typing import Any


def growing(base: float, *, per_mb: float = 0) -> Callable[..., int]:
    """Make the function that Snakemake calls for a resource of a job.

    Parameters
    ----------
    base : float
        What a small job needs, with a margin, in MB of memory or in minutes. On a cluster, this includes 300 MB for
        Snakemake itself.
    per_mb : float
        What each MB of input files adds. The number of images is unknown until fetch_metadata has run, but the size of
        the inputs grows with it.

    Returns
    -------
    callable
        Its value is multiplied by the number of the attempt. So a job that exceeded its memory or time gets twice as
        much, then three times.
    """

    def resource(wildcards: Any, input: Any, attempt: int) -> int:  # noqa: ARG001  Snakemake passes arguments by name
        return int(base + (per_mb * input.size_mb if per_mb else 0)) * attempt

    return resource
