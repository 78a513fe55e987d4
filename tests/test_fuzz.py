"""A slice of the fuzzer: QUANTSCOPE_FUZZ_SECONDS says how long; without it, a few inputs."""

import os

from benchmarks.fuzz import fuzz


def test_every_loader_refuses_damaged_files_with_its_own_error() -> None:
    seconds = os.environ.get("QUANTSCOPE_FUZZ_SECONDS")
    inputs = 100 if seconds is None else 1_000_000
    tally = fuzz(0, inputs, float(seconds or "inf"), lambda _: None)
    assert tally.failures == []
    assert tally.refused > tally.inputs // 2
    assert tally.accepted > 0
    assert len(tally.by_loader) == 10
