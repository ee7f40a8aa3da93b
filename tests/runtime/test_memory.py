"""A process that keeps freed memory gets it again without new pages from the system."""

import platform
import subprocess
import sys

import pytest
from workflow_runs import ROOT

CODE = """
import resource, sys
sys.path.insert(0, "workflow/scripts")
from neurovault_ica.runtime.memory import keep_freed_memory

def fill():
    arrays = [b"x" * 3_600_000 for _ in range(5)]

if sys.argv[1] == "kept":
    keep_freed_memory()
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the C library glibc")
def test_freed_memory_is_kept_for_the_next_arrays():
    pages = {}
    for case in ("kept", "returned"):
        command = [sys.executable, "-c", CODE, case]
        pages[case] = int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert pages["kept"] < 100 < 2000 < pages["returned"]
