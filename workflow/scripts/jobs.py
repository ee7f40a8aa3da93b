"""What jobs ask a cluster for, and what they leave when they fail.

Snakemake imports this while it reads the Snakefile, so only what Snakemake itself depends on is imported here.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
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


def last_words(folder: str | Path, *, since: float) -> Iterator[str]:
    """Quote the error in each log that was written after `since` (seconds since 1970), with the log's path."""
    for log in sorted(Path(folder).glob("*.log")):
        if log.stat().st_mtime < since:
            continue
        text = log.read_text(encoding="utf-8", errors="replace").rstrip()
        said = re.search(r"^\S+ \S+ ERROR (.*)", text, re.MULTILINE | re.DOTALL)
        if said:
            yield f"{log}: {said[1]}"
        elif "\nTraceback (most recent call last):" in f"\n{text}":
            yield f"{log}: {text.splitlines()[-1]}"
