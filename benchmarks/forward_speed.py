"""Forward times of EfficientNet-Lite0: as built, folded, simulated; ratios of one run.

Run with: python -m benchmarks.forward_speed [--repetitions 7] [--threads N]

The three forwards take turns, so that other load on the machine hits all of them; what counts are
the ratios. As built: NCHW, batches of 32, batch norms separate. Folded: batch norms folded,
channels-last, batches that suit the cache. Simulated: the same with W8A8 per-channel. Inputs are
random: time does not depend on them.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from analysis.calibration import calibrate_network
from analysis.network import Network, forward_first_output, prepare_network
from analysis.process_settings import choose_thread_count, keep_freed_memory
from benchmarks.random_images import RandomImages
from model_io.load import load_model
from quant.config import uniform_config
from quant.inputs import Inputs
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph

IMAGES = 32
FOLDED_TARGET, SIMULATED_TARGET = 0.5, 2.0


def runners(network: Network, module: Callable[[Tensor], Tensor]) -> dict[str, Callable[[], None]]:
    """Return the three forwards of the same images by name."""
    images = torch.rand(IMAGES, *network.graph.input_shape) * 4 - 2
    calibrated = drain_steps(calibrate_network(network, RandomImages(8, network.graph.input_shape)))
    simulated = quantize_graph(network.graph, uniform_config(8, 8), calibrated.statistics)

    def in_batches(run: Callable[[Inputs], Tensor]) -> Callable[[], None]:
        def work() -> None:
            for piece in images.split(network.forward_batch_size):
                forward_first_output(run, None, piece)

        return work

    def as_built() -> None:
        with torch.inference_mode():
            module(images)

    return {
        "as built": as_built,
        "folded": in_batches(network.graph),
        "simulated W8A8": in_batches(simulated),
    }


def measure(work: dict[str, Callable[[], None]], repetitions: int) -> dict[str, list[float]]:
    """Return ms per image of every repetition; the forwards take turns."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for repetition in range(repetitions + 1):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if repetition:  # the first one warms up
                found[name].append(1000 * (time.perf_counter() - start) / IMAGES)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    keep_freed_memory()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    threads = arguments.threads or choose_thread_count()
    loaded = load_model("efficientnet-lite0")
    network = prepare_network(loaded.name, loaded.module, loaded.input_shape, loaded.digest)
    found = measure(runners(network, loaded.module), arguments.repetitions)
    middle = {name: statistics.median(values) for name, values in found.items()}
    print(
        f"{threads} threads, batches of {network.forward_batch_size} (as built: {IMAGES}), "
        "ms per image"
    )
    for name, values in found.items():
        print(f"{name:16} median {middle[name]:6.1f}   best {min(values):6.1f}")
    pairs = (
        ("folded", "as built", FOLDED_TARGET),
        ("simulated W8A8", "folded", SIMULATED_TARGET),
    )
    for name, other, target in pairs:
        turns = zip(found[name], found[other], strict=True)
        ratio = statistics.median(a / b for a, b in turns)
        verdict = "met" if ratio <= target else "MISSED"
        print(f"{name} / {other}: {ratio:.2f} (median of turns); at most {target}: {verdict}")


if __name__ == "__main__":
    main()
