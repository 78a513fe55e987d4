"""What the C library does with memory that a layer gives back: keep it for the next one.

A forward takes and gives back a few megabytes for each layer. By default glibc returns these to the
system, and taking them anew costs a page fault for each 4 KiB: measured, 30 to 45 % of the time
of a simulated forward. How often it does so depends on what happened to be allocated before.
"""

import ctypes
from functools import cache

# of malloc.h, and what mallopt(3) says of them
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
KEPT_BYTES = 512 * 2**20
LARGEST_KEPT_BYTES = 32 * 2**20  # the most that glibc takes for MMAP_THRESHOLD


@cache
def keep_freed_memory() -> bool:
    """Let this process keep up to 512 MiB that were given back; return whether it can.

    Threads that start later share one heap, so that what one gives back serves the next. A C
    library other than glibc is left as it is.
    """
    try:
        change = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # Windows has no library of that name
        return False
    settings = ((TRIM_THRESHOLD, KEPT_BYTES), (MMAP_THRESHOLD, LARGEST_KEPT_BYTES), (ARENA_MAX, 1))
    return all(change(name, number) == 1 for name, number in settings)
