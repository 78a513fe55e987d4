"""How many threads torch should use here: measured once a process, since it depends on the load."""

import time
from functools import cache

import torch
from torch.nn import functional as F

from analysis.allocator import keep_freed_memory

REPETITIONS = 3
GAIN = 0.95  # another thread must save at least 5 %: fewer leave room for other work


@cache
def choose_threads() -> int:
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
        seconds = _seconds()
        if seconds < GAIN * best:
            best, chosen = seconds, count
    torch.set_num_threads(chosen)
    return chosen


@torch.inference_mode()
def _seconds() -> float:
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
