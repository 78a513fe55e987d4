"""A slice of the fuzzer: QUANTSCOPE_FUZZ_SECONDS says how long; without it, a few inputs."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_loader_refuses_damaged_files_with_its_own_error() -> None:
    """In a process of its own, as it is run by hand: what other tests left behind is not its."""
    seconds = os.environ.get("QUANTSCOPE_FUZZ_SECONDS")
    bound = ["--inputs", "100"] if seconds is None else ["--inputs", "1000000"]
    bound += [] if seconds is None else ["--seconds", seconds]
    command = [sys.executable, "-m", "benchmarks.fuzz", *bound]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *_, counts, loaders = (
        line for line in run.stdout.splitlines() if line[0].isdecimal() or line[0] == "{"
    )
    found = re.fullmatch(r"(\d+) inputs: (\d+) accepted, (\d+) refused, (\d+) failures", counts)
    assert found is not None
    inputs, accepted, refused, failures = map(int, found.groups())
    assert failures == 0, run.stdout
    assert refused > inputs // 2
    assert accepted > 0
    assert len(ast.literal_eval(loaders)) == 20
