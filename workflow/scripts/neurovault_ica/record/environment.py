"""Record the software and the processor of a run."""

import importlib.metadata
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

PACKAGES = (
    "snakemake", "nilearn", "scikit-learn", "nibabel", "numpy", "scipy", "pandas", "matplotlib", "pillow", "jinja2",
    "python-picard", "threadpoolctl",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Describe the software and the processor that computed the results."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "libraries": sorted(
            f"{library['internal_api']} {library['version']} ({library.get('architecture', 'any')})"
            for library in threadpool_info()
        ),
        "threads": {library["internal_api"]: library["num_threads"] for library in threadpool_info()},
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": {"model": processor_model(), "features": processor_features()},
    }


def processor_model() -> str:
    """Return the model of the processor, because the last digits of results may differ between models."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or "unknown"


def processor_features() -> list[str]:
    """List the CPU instruction sets that numpy found, such as AVX2. They determine which code numpy runs."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return [*extensions.get("baseline", []), *extensions.get("found", [])]
