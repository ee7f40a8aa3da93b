"""Get the Neurosynth term weights of the images of one batch. What cannot be had stays missing."""

import json
import logging
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurovault import terms_file
from outputs import read_table, write_table
from stage_log import log_to


def read_weights(path: Path) -> tuple[dict[str, float], str | None]:
    """Read one answer of Neurosynth's decode endpoint.

    Returns
    -------
    weights : dict
        Term to Pearson correlation; empty where nothing is known.
    reason : str or None
        Why nothing is known: ``missing_file``, ``malformed`` or ``no_values``.
    """
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
        values = answer["data"]["values"]
        weights = {str(term): float(weight) for term, weight in values.items() if math.isfinite(weight)}
    except FileNotFoundError:
        return {}, "missing_file"
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}, "malformed"
    return weights, None if weights else "no_values"


def main(*, images: str, terms: str, status: str, data_dir: str, batch: int) -> None:
    """Collect the batch's weights in long form, and say for each image whether it has any."""
    wanted = [image for image in read_table(images) if image["batch"] == batch]
    statuses = []

    def rows() -> Iterator[dict[str, Any]]:
        for image in wanted:
            weights, reason = read_weights(Path(data_dir) / terms_file(image["collection_id"], image["image_id"]))
            statuses.append({"image_id": image["image_id"], "terms": len(weights), "reason": reason})
            for term, weight in sorted(weights.items()):
                yield {"image_id": image["image_id"], "term": term, "weight": weight}

    write_table(terms, rows())
    write_table(status, statuses)
    reasons = Counter(row["reason"] for row in statuses if row["reason"])
    missing = "; ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none missing"
    logging.info("%d of %d images have term weights (%s)", len(wanted) - reasons.total(), len(wanted), missing)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
