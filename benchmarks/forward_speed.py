"""Forward times of a sample network in ms for each image; ratios of one run.

Run with: python -m benchmarks.forward_speed [--model NAME] [--repetitions 7] [--threads N] [--cpu]

The forwards take turns, so that other load on the machine hits all of them; what counts are the
ratios. `--cpu` counts processor seconds of the process in place of seconds, for a busy machine.
As built: NCHW, one batch, batch norms separate. Folded: batch norms folded, channels-last,
batches that suit the cache. Simulated: the same with W8A8 per-channel. Compiled: the programs that
scores and sweeps run. ONNX Runtime: its float network. Inputs are random: time does not depend on
them.
"""

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator

import onnxruntime
import torch
from torch import Tensor

from analysis.calibration import calibrate_network
from analysis.evaluation.forwards import run_in_order
from analysis.network import Network, forward_first_output, prepare_network
from analysis.process_settings import choose_thread_count, keep_freed_memory
from benchmarks.random_images import RandomImages
from model_io.load import load_model
from model_io.onnx_export.float_onnx import export_marked_onnx
from quant.config import uniform_config
from quant.engine.simulation import CompiledNetwork, compile_simulation
from quant.inputs import Inputs, Outputs, arrange_batch
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph

BATCHES = 4  # for each thread: one batch alone would leave the other threads without work
PAIRS = (
    ("folded", "as built", 0.5),
    ("simulated W8A8", "folded", 2.0),
    ("compiled", "ONNX Runtime", 1.2),
    ("compiled W8A8", "ONNX Runtime", 1.5),
)
"""Forward, yardstick, and the largest ratio."""


def runners(
    network: Network, module: Callable[[Tensor], Tensor], threads: int
) -> dict[str, Callable[[], None]]:
    """Return the forwards of the same images by name."""
    images = torch.rand(image_count(network, threads), *network.graph.input_shape) * 4 - 2
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

    def compiled(run: Callable[[Inputs], Outputs]) -> Callable[[], None]:
        def forward(piece: Tensor) -> Outputs:
            return run(arrange_batch(piece))

        def work() -> None:
            deque(run_in_order(forward, images.split(network.forward_batch_size)), 0)

        return work

    session = onnx_session(network, threads)
    name, arrays = session.get_inputs()[0].name, images.numpy()

    def in_onnx_runtime() -> None:
        for start in range(0, len(images), network.forward_batch_size):
            session.run(None, {name: arrays[start : start + network.forward_batch_size]})

    return {
        "as built": as_built,
        "folded": in_batches(network.graph),
        "simulated W8A8": in_batches(simulated),
        "compiled": compiled(CompiledNetwork(network.compiled_program, {}).run),
        "compiled W8A8": compiled(compile_simulation(simulated).run),
        "ONNX Runtime": in_onnx_runtime,
    }


def image_count(network: Network, threads: int) -> int:
    """Return the number of images of a turn: a few batches for each thread."""
    return BATCHES * threads * network.forward_batch_size


def onnx_session(network: Network, threads: int) -> onnxruntime.InferenceSession:
    """Return a session of ONNX Runtime with the float network."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    written = export_marked_onnx(quantize_graph(network.graph, uniform_config(32, 32)))
    return onnxruntime.InferenceSession(
        written.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def measure(
    work: dict[str, Callable[[], None]], repetitions: int, clock: Callable[[], float], images: int
) -> dict[str, list[float]]:
    """Return ms per image of every repetition by `clock`; the forwards take turns."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for repetition in range(repetitions + 1):
        for name, run in work.items():
            start = clock()
            run()
            if repetition:  # the first one warms up
                found[name].append(1000 * (clock() - start) / images)
    return found


def compare_forwards(found: dict[str, list[float]]) -> Iterator[tuple[str, str, float, float]]:
    """Yield forward, yardstick, the largest ratio and the median ratio of the turns."""
    for name, other, target in PAIRS:
        turns = zip(found[name], found[other], strict=True)
        yield name, other, target, statistics.median(a / b for a, b in turns)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args()
    keep_freed_memory()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    threads = arguments.threads or choose_thread_count()
    loaded = load_model(arguments.model)
    network = prepare_network(loaded.name, loaded.module, loaded.input_shape, loaded.digest)
    work = runners(network, loaded.module, threads)
    clock = time.process_time if arguments.cpu else time.perf_counter
    images = image_count(network, threads)
    found = measure(work, arguments.repetitions, clock, images)
    middle = {name: statistics.median(values) for name, values in found.items()}
    print(
        f"{threads} threads, batches of {network.forward_batch_size} (as built: {images}), "
        "ms per image"
    )
    for name, values in found.items():
        print(f"{name:16} median {middle[name]:6.1f}   best {min(values):6.1f}")
    for name, other, target, ratio in compare_forwards(found):
        verdict = "met" if ratio <= target else "MISSED"
        print(f"{name} / {other}: {ratio:.2f} (median of turns); at most {target}: {verdict}")


if __name__ == "__main__":
    main()
