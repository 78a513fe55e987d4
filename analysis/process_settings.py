"""How this process computes: its threads, and what it does with memory that a layer gives back.

torch's threads are measured once a process, since the best number depends on the load.

A forward takes and gives back a few megabytes for each layer. By default glibc returns these to the
system, and taking them anew costs a page fault for each 4 KiB: measured, 30 to 45 % of the time
of a simulated forward. How often it does so depends on what happened to be allocated before.
"""

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch.nn import functional as F

REPETITIONS = 3
OWN_THREADS = torch.get_num_threads()
"""Threads that torch takes by itself: a number of the machine and of OMP_NUM_THREADS alone."""
GAIN = 0.95  # another thread must save at least 5 %: fewer leave room for other work


@cache
def choose_thread_count() -> int:
    """Time a small convolutional forward with 1, 2, 4, ... threads; set and return the fastest.

    Memory is kept from then on: how fast it is had decides as well. Never more than torch would
    take by itself, so OMP_NUM_THREADS still bounds it. Takes about 50 ms, once a process.
    """
    keep_freed_memory()
    most = torch.get_num_threads()
    counts = [1 << power for power in range(most.bit_length()) if 1 << power < most] + [most]
    best, chosen = float("inf"), 1
    for count in counts:
        torch.set_num_threads(count)
        seconds = _fastest_forward_seconds()
        if seconds < GAIN * best:
            best, chosen = seconds, count
    torch.set_num_threads(chosen)
    return chosen


@contextmanager
def fixed_thread_count() -> Iterator[None]:
    """Compute with a number of threads that no measurement decides, so that bits repeat.

    Sums of float32 depend on how many threads share them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(OWN_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def _fastest_forward_seconds() -> float:
    """Return the shortest of a few forwards of what mobile networks are made of."""
    x = torch.ones(8, 48, 28, 28).contiguous(memory_format=torch.channels_last)
    pointwise = torch.full((96, 48, 1, 1), 0.01)
    depthwise = torch.full((96, 1, 3, 3), 0.1)
    found = []
    for _ in range(REPETITIONS + 1):  # the first one warms up
        start = time.perf_counter()
        y = F.conv2d(x, pointwise).clamp_(0, 6)
        F.conv2d(y, depthwise, padding=1, groups=96).clamp_(0, 6)
        found.append(time.perf_counter() - start)
    return min(found[1:])


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
