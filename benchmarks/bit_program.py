"""How long an exact choice of bits takes: 200 layers, five widths of weight and of activation.

`python -m benchmarks.bit_program [--layers N] [--json OUT]`. Networks are chains of convolutions of
random sizes with made-up sensitivities. Times are those of the first question, tables of costs
included, and of the next one; the target is 2 s. Processor time tells apart what a busy machine
adds.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from accelerator.machine import load_preset
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.choices import Rules
from analysis.mixed_precision.proposal import Budget, Proposal
from analysis.mixed_precision.search import BitSearch
from analysis.network import Network, prepare_network
from analysis.sensitivity.sweep import DEFAULT_BITS, CellScore, Depth, Question, Sensitivity, Sweep
from quant.assignment import parts_of_graph
from quant.config import uniform_config

MACHINES = ("bitfusion_like", "horowitz45_generic")
FIRST = 0.8  # of W8A8's energy
WAYS = (0.5, 0.25, 0.1)  # from the least energy to that of W8A8


def chain_parts(layers: int, seed: int, most: int) -> tuple[list[nn.Module], int]:
    """Return pointwise and depthwise convolutions in turn, of 16 to `most` channels, and the last.

    Each has a ReLU behind it; the input has 3 channels.
    """
    random = np.random.default_rng(seed)
    parts: list[nn.Module] = []
    channels = 3
    for number in range(layers):
        if number % 2:
            parts.append(nn.Conv2d(channels, channels, 3, padding=1, groups=channels))
        else:
            wider = int(random.integers(16, most))
            parts.append(nn.Conv2d(channels, wider, 1))
            channels = wider
        parts.append(nn.ReLU())
    return parts, channels


def chain(layers: int, seed: int) -> Network:
    """Return a chain of convolutions, every other one depthwise, with 16 to 128 channels."""
    parts, _ = chain_parts(layers, seed, most=128)
    return prepare_network(
        f"chain-{layers}", nn.Sequential(*parts).eval(), (3, 16, 16), f"seed {seed}"
    )


def made_up(network: Network, seed: int) -> Sensitivity:
    """Return sensitivities of 6 dB a bit, each part 15 dB apart at most, scattered by 1 dB."""
    random = np.random.default_rng(seed)
    scores = []
    for layer, side in parts_of_graph(network.graph):
        quiet = random.uniform(-3, 12)
        for bits in DEFAULT_BITS:
            level = float(quiet + 6.02 * bits + random.normal())
            scores.append(CellScore(Question(layer, bits, side), Depth.EXACT, 64, level))
    return Sensitivity(Sweep(uniform_config(8, 8)), Depth.EXACT, 64, None, tuple(scores))


def timed(question: Callable[[], Proposal]) -> tuple[float, float, Proposal]:
    """Return wall and processor time in s, and the answer."""
    wall, processor = time.perf_counter(), time.process_time()
    answer = question()
    return time.perf_counter() - wall, time.process_time() - processor, answer


def run(layers: int, seed: int, machine: str) -> list[dict[str, Any]]:
    """Time questions about one network and machine."""
    network = chain(layers, seed)
    known = made_up(network, seed)

    searches: list[BitSearch] = []

    def first() -> Proposal:
        searches.append(BitSearch(network, known, load_preset(machine), Rules(DEFAULT_BITS)))
        return searches[0].least_noise_choice([Budget(Quantity.ENERGY, FIRST, relative=True)])

    answers = [("first", FIRST, *timed(first))]
    search = searches[0]
    least = search.least_possible_quantity(Quantity.ENERGY) / search.reference.cost.energy_pj
    for way in WAYS:
        share = least + way * (1 - least)
        budget = Budget(Quantity.ENERGY, share, relative=True)
        answers.append(("next", share, *timed(partial(search.least_noise_choice, [budget]))))
    rows = []
    for place, share, wall, processor, answer in answers:
        row = {
            "layers": layers,
            "machine": machine,
            "question": place,
            "budget": share,
            "seconds": wall,
            "processor_seconds": processor,
            "proven": answer.proven,
        }
        rows.append(row)
        print(
            f"{layers} layers on {machine:20} {place:5} question, energy {share:.2f}: "
            f"{wall:.2f} s, of the processor {processor:.2f} s, proven {answer.proven}",
            flush=True,
        )
    return rows


def main() -> None:
    """Read the command line, run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for machine in MACHINES:
        rows += run(arguments.layers, 0, machine)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
