"""Keep the memory of freed arrays for new ones."""

import ctypes
import sys

# Parameters of glibc's mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Larger arrays still go back to the system at once. glibc accepts at most this, in bytes.
LARGEST_KEPT = 1 << 25
# Bytes of free memory that a process keeps.
MOST_KEPT = 1 << 27


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed arrays, instead of returning it to the system at once.

    The system clears each page of memory before it hands it out again. For arrays of some MB that live for a
    millisecond, this takes as long as the computation. Other C libraries than glibc are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, MOST_KEPT)
