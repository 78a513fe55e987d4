"""The most harmful layers, proven, beside the exact sweep that asks every layer on every image.

Run with: python -m benchmarks.most_harmful [MODEL] [--images N] [--wanted N] [--runs DIR]

Both answer one question, which layers harm most alone at 4-bit weights, in one process and one
thread; times are seconds of the processor. The sweep's answers stay in `--runs`. Then the search
is repeated with 20 orders of the images from the stored answers, and compared with the sweep.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch

from analysis.process_settings import keep_freed_memory
from analysis.runs.run_store import RunStore
from analysis.sensitivity.analyze import analyze_exactly
from analysis.sensitivity.exact.executors import Serial
from analysis.sensitivity.exact.most_harmful import find_most_harmful
from analysis.sensitivity.sweep import Sensitivity, Sweep
from analysis.study import Study
from benchmarks.sensitivity import DATA, open_case
from quant.config import uniform_config
from quant.progress import Steps, drain_steps
from quant.simulation.plan import Side

Answer = TypeVar("Answer")
SEEDS = 20
SWEEP = Sweep(uniform_config(8, 8), bits=(4,), sides=(Side.WEIGHTS,))


def worst_layers(found: Sensitivity, wanted: int) -> set[str]:
    """Return the layers with the lowest SQNR of the output."""
    worst_first = sorted(found.scores, key=lambda score: score.sqnr_db)
    return {score.question.layer for score in worst_first[:wanted]}


def timed_steps(steps: Steps[Answer]) -> tuple[Answer, float]:
    """Return the result of steps, and the seconds of the processor."""
    start = time.process_time()
    return drain_steps(steps), time.process_time() - start


def print_comparison(study: Study, wanted: int, runs: Path, seeds: Sequence[int]) -> None:
    """Print times, forwards, and how often the search finds the sweep's layers."""
    kept = Study(study.network, study.scored_images, store=RunStore(runs))
    whole, slow = timed_steps(analyze_exactly(kept, SWEEP, Serial()))
    truth = worst_layers(whole, wanted)
    fresh = Study(study.network, study.scored_images)
    (found,), quick = timed_steps(find_most_harmful(fresh, SWEEP, wanted, Serial()))
    print(f"exact sweep: {slow:.1f} s, {whole.forwards:.2f} forwards of {whole.images} images")
    print(f"{wanted} most harmful: {quick:.1f} s, {found.forwards:.2f} forwards")
    if whole.forwards:
        print(f"share of the sweep: {quick / slow:.3f} of time, ", end="")
        print(f"{found.forwards / whole.forwards:.3f} of forwards")
    right, images = 0, []
    for seed in seeds:
        (one,) = drain_steps(find_most_harmful(kept, SWEEP, wanted, Serial(), seed=seed))
        right += set(one.layers) == truth
        images.append(one.images)
    print(f"right in {right} of {len(images)} orders; last place at {sorted(images)} images")


def main() -> None:
    """Compare on one network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="efficientnet-lite0")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--wanted", type=int, default=10)
    parser.add_argument("--runs", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    case = open_case(options.model, options.images, DATA)
    study = Study(case.network, case.data)
    with tempfile.TemporaryDirectory() as folder:
        print_comparison(study, options.wanted, options.runs or Path(folder), range(SEEDS))


if __name__ == "__main__":
    main()
