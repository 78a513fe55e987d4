"""Memory that is given back is kept: what a process takes anew costs no page faults."""

import platform
import subprocess
import sys

import pytest

PAGES = 3 * 30_000_000 // 4096
PROGRAM = """
import resource, sys
import torch
from analysis.allocator import keep_freed_memory

torch.set_num_threads(1)
if sys.argv[1] == "kept":
    assert keep_freed_memory()

def fill() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.zeros(30_000_000, dtype=torch.uint8).add_(1) for _ in range(3)]
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

fill(), fill()
print(fill())
"""


def faults(choice: str) -> int:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, choice], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_given_back_is_had_again_without_page_faults() -> None:
    assert faults("kept") < PAGES / 100
    assert faults("as it is") > PAGES / 100
