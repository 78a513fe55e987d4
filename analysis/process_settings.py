"""Settings of the process: the number of threads, and the memory that a layer frees.

The number of torch's threads is measured once for a process, since the best number depends on the
load.

A forward allocates and frees a few megabytes for each layer. By default glibc returns the memory to
the system; a new allocation costs a page fault for each 4 KiB: measured, 30 to 45 % of the time of
a simulated forward. The frequency depends on earlier allocations.
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

    Afterwards the process keeps freed memory, since allocation time influences the result. The
    count never exceeds torch's default, so OMP_NUM_THREADS remains an upper bound. The measurement
    takes about 50 ms, once for a process.
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


def use_one_thread() -> None:
    """Set torch to one thread for the calling thread.

    Torch looks up the process's thread count once, before the first use, hence the first call.
    """
    torch.get_num_threads()
    torch.set_num_threads(1)


@contextmanager
def fixed_thread_count() -> Iterator[None]:
    """Compute with a fixed number of threads, independent of measurements, for repeatable bits.

    Float32 sums depend on the number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(OWN_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def _fastest_forward_seconds() -> float:
    """Return the shortest time of a few forwards with the layers of mobile networks, in seconds."""
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


# constants of malloc.h, described in mallopt(3)
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
KEPT_BYTES = 512 * 2**20
LARGEST_KEPT_BYTES = 32 * 2**20  # the most that glibc takes for MMAP_THRESHOLD


@cache
def keep_freed_memory() -> bool:
    """Let the process keep up to 512 MiB of freed memory; return whether the C library allows it.

    Threads started later share one heap, so that memory freed by one thread serves the next. A C
    library other than glibc stays unchanged.
    """
    try:
        change = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # Windows has no library of that name
        return False
    settings = ((TRIM_THRESHOLD, KEPT_BYTES), (MMAP_THRESHOLD, LARGEST_KEPT_BYTES), (ARENA_MAX, 1))
    return all(change(name, number) == 1 for name, number in settings)
