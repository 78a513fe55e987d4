"""How fast the figures beside the editor follow an edit: at most half a second.

Run with: python -m benchmarks.configure_latency [MODEL ...]

For each model and preset: the first figure, edits of one layer, and an edit of all layers (the
machines that compress weights measure the entropy of each weight that changed); then what range
estimators take on the statistics of activations, and on all weights.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

from accelerator.machine import load_preset, preset_names
from analysis.calibration import calibrate_network
from analysis.cost.estimate import estimate_config_cost
from analysis.cost.workload import Entropies
from analysis.network import Network, prepare_network
from analysis.process_settings import choose_thread_count
from benchmarks.random_images import RandomImages
from model_io.load import load_model
from quant.config import QuantConfig, uniform_config
from quant.progress import drain_steps
from quant.ranges.estimators import encode_statistics, encode_weight
from quant.spec import Estimator, Granularity, QuantSpec, SpecChange

TARGET_MS = 500.0
EDITS = 5
FOR_WEIGHTS = (Estimator.MIN_MAX, Estimator.PERCENTILE, Estimator.MSE)


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def time_edits(network: Network) -> tuple[float, float]:
    """Print a line for each preset; return the slowest edit of one layer and of all, in ms."""
    slowest = slowest_bulk = 0.0
    layers = [layer.name for layer in network.graph.layers if layer.weight]
    for name in preset_names():
        machine = load_preset(name)
        known: Entropies = {}
        look = partial(estimate_config_cost, network, machine=machine, known=known)
        first = milliseconds(partial(look, config=QuantConfig()))
        edits = [
            QuantConfig().with_layer_change(layer, weight=SpecChange(bits=4)) for layer in layers
        ]
        later = [milliseconds(partial(look, config=config)) for config in edits[:EDITS]]
        bulk = milliseconds(partial(look, config=uniform_config(5, 8)))
        slowest, slowest_bulk = max(slowest, *later), max(slowest_bulk, first, bulk)
        middle, most = statistics.median(later), max(later)
        print(
            f"  {name:22} first {first:7.1f}   one layer {middle:6.1f}, at most {most:6.1f}   "
            f"all layers {bulk:7.1f}"
        )
    return slowest, slowest_bulk


def time_estimators(network: Network) -> None:
    """Print what choosing ranges takes."""
    ranges = drain_steps(calibrate_network(network, RandomImages(4, network.graph.input_shape)))
    streams = list(ranges.statistics.values())
    weighted = [layer for layer in network.graph.layers if layer.weight]
    for estimator in FOR_WEIGHTS:
        wish = QuantSpec(8, symmetric=False, estimator=estimator)
        times = [milliseconds(partial(encode_statistics, stream, wish)) for stream in streams]
        spec = QuantSpec(8, granularity=Granularity.PER_CHANNEL, estimator=estimator)
        weights = 0.0
        for layer in weighted:
            weight = network.graph.stored_tensor(str(layer.weight))
            weights += milliseconds(partial(encode_weight, weight, spec, layer.channel_axis))
        print(
            f"  {estimator:11} one activation {statistics.median(times):6.2f}, "
            f"{len(times)} of them {sum(times):7.1f}, {len(weighted)} weights {weights:7.1f}"
        )


def main() -> None:
    """Measure and print, in ms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["efficientnet-lite0", "fashion-vit"])
    choose_thread_count()
    for name in parser.parse_args().models:
        loaded = load_model(name)
        network = prepare_network(loaded.name, loaded.module, loaded.input_shape, loaded.digest)
        print(f"{name}: {len(network.graph.layers)} layers, ms")
        for what, slowest in zip(("one layer", "all layers"), time_edits(network), strict=True):
            verdict = "met" if slowest <= TARGET_MS else "MISSED"
            print(f"  slowest edit of {what} {slowest:.0f}; at most {TARGET_MS:.0f}: {verdict}")
        time_estimators(network)


if __name__ == "__main__":
    main()
