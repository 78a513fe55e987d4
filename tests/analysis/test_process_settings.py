"""Memory that is given back stays with the process, where the C library lets one ask for that."""

import ctypes
import subprocess
import sys

import pytest

from analysis.process_settings import keep_freed_memory

BLOCKS, BLOCK_BYTES = 8, 20_000_000
PROGRAM = """
import ctypes, sys
import torch
from analysis.process_settings import keep_freed_memory

class Held(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "free", "keepcost",
    )]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Held
if sys.argv[1] == "kept":
    assert keep_freed_memory()
blocks = [torch.ones(int(sys.argv[3]), dtype=torch.uint8) for _ in range(int(sys.argv[2]))]
del blocks
print(library.mallinfo2().free)
"""


def free_bytes(choice: str) -> int:
    """Return what a new process holds and does not use, after it gave back some blocks."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, choice, str(BLOCKS), str(BLOCK_BYTES)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(run.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="another C library")
def test_what_is_given_back_is_kept_only_if_asked_for() -> None:
    everything = BLOCKS * BLOCK_BYTES
    assert free_bytes("kept") >= everything
    assert free_bytes("as it is") < everything / 2


@pytest.mark.parametrize("library", [object(), TypeError("no library"), OSError("no library")])
def test_another_library_is_left_as_it_is(library: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_: None) -> object:
        if isinstance(library, Exception):
            raise library
        return library

    monkeypatch.setattr(ctypes, "CDLL", find)
    assert not keep_freed_memory.__wrapped__()
