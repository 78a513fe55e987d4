"""Small networks with made-up sensitivities, and every choice of their bits one by one."""

import itertools
from collections.abc import Iterator
from functools import cache

import numpy as np

from accelerator.report import CostReport
from analysis.mixed_precision.search import BitSearch
from analysis.network import Network, prepare_network
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep
from quant.assignment import parts_of_graph
from quant.config import uniform_config
from tests.networks import CASES

WIDTHS = (8, 6, 4, 3, 2)


@cache
def network_of(name: str) -> Network:
    case = CASES[name]
    return prepare_network(name, case.model(), case.shape, name)


def made_up(network: Network, bits: tuple[int, ...] = WIDTHS, seed: int = 0) -> Sensitivity:
    """Return 6 dB a bit, parts up to 20 dB apart, scattered; losses that follow from the noise."""
    random = np.random.default_rng(seed)
    scores = []
    for layer, side in parts_of_graph(network.graph):
        quiet = random.uniform(-5, 15)
        for width in bits:
            level = float(quiet + 6 * width + random.normal())
            loss = float(10 ** (-level / 10))
            question = Question(layer, width, side)
            scores.append(
                CellScore(question, Depth.EXACT, 100, level, accuracy_drop=min(1.0, loss))
            )
    return Sensitivity(Sweep(uniform_config(8, 8), bits), Depth.EXACT, 100, 0.9, tuple(scores))


def every_choice(search: BitSearch) -> Iterator[tuple[tuple[int, ...], float, CostReport]]:
    """Yield every choice with its noise and what the cost model says of it."""
    for choice in itertools.product(*(range(len(knob.bits)) for knob in search.knobs)):
        yield choice, search.noise.value_at(choice), search.costs.cost_report(choice)
