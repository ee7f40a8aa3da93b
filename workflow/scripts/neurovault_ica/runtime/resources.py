"""Memory and time that a job requests from a cluster."""

from collections.abc import Callable
from typing import Any


def growing(base: float, *, per_mb: float = 0) -> Callable[..., int]:
    """Make the function that Snakemake calls for a resource of a job.

    Parameters
    ----------
    base : float
        Need of a small job with a margin, in MB of memory or in minutes. Inside a cluster job, Snakemake itself takes
        300 MB of the memory.
    per_mb : float
        Addition for each MB of input files. The number of images is unknown until fetch_metadata has run, but the size
        of the inputs grows with it.

    Returns
    -------
    callable
        Its value is multiplied by the attempt. So a job that was killed for memory or time gets twice as much, then
        three times.
    """

    def resource(wildcards: Any, input: Any, attempt: int) -> int:  # noqa: ARG001  Snakemake passes arguments by name
        return int(base + (per_mb * input.size_mb if per_mb else 0)) * attempt

    return resource
