"""A width for each neuron against its controls: `python -m benchmarks.neuron_widths`.

Row 7 of the training benchmarks. NMP-QAT (method neuron-widths) trains with weights and widths
learning together. Then, at the same mean bits a weight, from the same start and for as many steps,
train: an even mix of the two nearest uniform widths, the learned widths dealt at random (over the
network, and within each layer), and widths by variance (sigma^2-greedy from the float weights).
All arms have the same quantizer, data, rate and loss, and are scored on rows or images that neither
trained nor watched.

letter-mlp starts from scratch, as in the paper, or from its float weights; fashion-mobilenet from
its float weights. Written as JSON (--out) and printed as a table.

Measured on 2026-11-29 on letter-mlp, top-1 of 4 000 test rows, mean of three seeds (standard error
of one score 0.3 points):

| start, epochs, --rate, --width-rate | bits | neuron-widths | even mix | random | by variance |
|---|---|---|---|---|---|
| scratch, 12, 0.1, 0.003 | 1.74 | 94.95 | 95.34 | 95.01 | 95.39 |
| float, 6, 0.03, 0.006 | 1.86 | 96.28 | 96.73 | 96.62 | 97.19 |

Widths by variance are 0.4 and 0.9 points better than learned ones; learned ones are no better than
the same widths dealt at random.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from analysis.calibration import calibrate_network
from analysis.network import Network, prepare_network
from data_io.bundled import BUNDLED_DATA
from data_io.dataset import Dataset
from model_io.load import load_sample_model
from quant.channel_widths import (
    ChannelWidths,
    config_with_channel_widths,
    count_channel_widths,
    even_channel_widths,
    mean_weight_bits,
    random_channel_widths,
    shuffle_within_layers,
    widths_by_variance,
)
from quant.config import QuantConfig, uniform_config
from quant.graph.float_graph import FloatGraph
from quant.inputs import Inputs, first_output_of
from quant.passes.calibrate import Calibration
from quant.passes.use_encodings import UseEncodings
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.training.methods.neuron_widths import trained_channel_widths
from quant.training.settings import NeuronWidthSettings, TrainingMethod, TrainingSettings
from quant.training.state.trained_state import TrainedState
from quant.training.train import train_network
from sample_models.letter_mlp import untrained_letter_mlp
from sample_models.registry import sample_named
from sample_models.train import augment_images

WATCHED = 1000
SCORED = 4000
ACTIVATION_BITS = {"letter-mlp": 32, "fashion-mobilenet": 8}
BATCH = {"letter-mlp": 256, "fashion-mobilenet": 32}


@dataclass(frozen=True, slots=True)
class Arm:
    """What one training gave: mean bits a weight, top-1 on what was kept apart, histogram."""

    name: str
    seed: int
    mean_bits: float
    top1: float
    seconds: float
    histogram: dict[str, dict[int, int]]


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Training items in memory, augmented as train.py does where they are images."""

    inputs: Tensor
    labels: Tensor
    images: bool

    def __len__(self) -> int:
        return len(self.labels)

    def take(
        self, places: Sequence[int], generator: torch.Generator | None
    ) -> tuple[Inputs, Tensor | None]:
        """Return the items at these places."""
        chosen, labels = self.inputs[list(places)], self.labels[list(places)]
        if self.images and generator is not None:
            pixels = (chosen * 255 * 0.3530 + 255 * 0.2860).round().clamp(0, 255).to(torch.uint8)
            chosen = (augment_images(pixels, generator).float() / 255 - 0.2860) / 0.3530
        return chosen, labels


@dataclass(frozen=True, eq=False, slots=True)
class Ground:
    """A network with its data, parted into what trains, watches and scores."""

    network: Network
    train: Rows
    watched: tuple[tuple[Tensor, Tensor | None], ...]
    scored: Dataset
    calibration: Calibration
    input_range: tuple[float, float] | None
    base: QuantConfig


def tensors_of(data: Dataset) -> tuple[Tensor, Tensor]:
    """Return (inputs, labels) of a dataset in memory."""
    batch = next(data.batches(len(data)))
    assert batch.labels is not None
    return first_output_of(batch.inputs), batch.labels


def open_ground(name: str, start: str, seed: int) -> Ground:
    """Return a sample with its data; `start` is float (its weights) or scratch."""
    loaded = load_sample_model(name)
    module = loaded.module
    if start == "scratch":
        torch.manual_seed(seed)
        module = untrained_letter_mlp().eval()
    network = prepare_network(
        name, module, loaded.expected_inputs, f"{loaded.digest} {start} {seed}", loaded.batch
    )
    own = BUNDLED_DATA[sample_named(name).dataset]
    watched, training = own.train().split(WATCHED, seed)
    calibrated = drain_steps(calibrate_network(network, training.sample(256, seed)))
    inputs, labels = tensors_of(training)
    watch_inputs, watch_labels = tensors_of(watched)
    parts = zip(watch_inputs.split(500), watch_labels.split(500), strict=True)
    return Ground(
        network,
        Rows(inputs, labels, own.pixels),
        tuple(parts),
        own.test().first(SCORED),
        calibrated.statistics,
        calibrated.input_range,
        uniform_config(8, ACTIVATION_BITS[name]),
    )


def simulate(ground: Ground, config: QuantConfig, state: TrainedState | None = None) -> QuantGraph:
    """Return the simulated network, before or after a training."""
    graph = ground.network.graph
    if state is None:
        return quantize_graph(graph, config, ground.calibration, ground.input_range)
    trained = state.trained_graph(graph)
    quantized = quantize_graph(trained, config, ground.calibration, ground.input_range)
    kept = UseEncodings(state.encodings).apply_at_once(quantized).kept
    assert not kept, kept
    return quantized


@torch.no_grad()
def score(ground: Ground, quantized: QuantGraph) -> float:
    """Return top-1 on the part that is scored."""
    hits = 0
    for batch in ground.scored.batches(500):
        assert batch.labels is not None
        right = quantized(batch.inputs).argmax(1).eq(batch.labels)
        hits += int(right.sum())
    return hits / len(ground.scored)


def run_arm(
    ground: Ground,
    name: str,
    settings: TrainingSettings,
    widths: ChannelWidths | None = None,
    start_bits: int = 1,
) -> tuple[Arm, dict[str, tuple[int, ...]]]:
    """Train one arm and score it; `widths` stay where they are given."""
    began = time.monotonic()
    graph = ground.network.graph
    config = config_with_channel_widths(
        ground.base, widths or even_channel_widths(graph, start_bits)
    )
    state = drain_steps(
        train_network(simulate(ground, config), graph, ground.train, ground.watched, settings)
    )
    found = trained_channel_widths(state.encodings, graph)
    quantized = simulate(ground, config_with_channel_widths(ground.base, found), state)
    arm = Arm(
        name, settings.seed, mean_weight_bits(graph, found), score(ground, quantized),
        time.monotonic() - began, count_channel_widths(found),
    )  # fmt: skip
    return arm, found


def arms_of(name: str, start: str, seed: int, settings: TrainingSettings) -> Iterator[Arm]:
    """Yield NMP-QAT and its controls at its mean bits, one after the other."""
    ground = open_ground(name, start, seed)
    graph = ground.network.graph
    nmp, learned = run_arm(ground, "neuron-widths", settings)
    yield nmp
    plain = replace(settings, widths=replace(settings.widths, rate=0.0))
    floats = _float_variances(name, ground)
    controls = {
        "even mix": even_channel_widths(graph, nmp.mean_bits),
        "random": random_channel_widths(graph, learned, seed),
        "by variance": widths_by_variance(floats, nmp.mean_bits),
    }
    if not seed:  # what tells the reasons is run once
        controls |= {
            "random within layers": shuffle_within_layers(learned, seed),
            "the same, retrained": learned,
            "uniform 2": even_channel_widths(graph, 2),
        }
    for title, widths in controls.items():
        yield run_arm(ground, title, plain, widths)[0]


def _float_variances(name: str, ground: Ground) -> FloatGraph:
    """Return the graph whose weights' variances count: a trained float network's."""
    if "scratch" not in ground.network.digest:
        return ground.network.graph
    loaded = load_sample_model(name)
    return prepare_network(
        name, loaded.module, loaded.expected_inputs, loaded.digest, loaded.batch
    ).graph


def show(arms: Sequence[Arm]) -> None:
    """Print mean and deviation over seeds of every arm."""
    print("| arm | mean bits | top-1 | seeds |\n|---|---|---|---|")
    for title in dict.fromkeys(arm.name for arm in arms):
        own = [arm for arm in arms if arm.name == title]
        spread = stdev([a.top1 for a in own]) if len(own) > 1 else 0.0
        each = ", ".join(f"{a.top1:.2%} at {a.mean_bits:.2f}" for a in own)
        bits, top1 = mean(a.mean_bits for a in own), mean(a.top1 for a in own)
        print(f"| {title} | {bits:.3f} | {top1:.2%} ± {spread:.2%} | {each} |", flush=True)


def main() -> None:
    """Run the arms of one network for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="letter-mlp", choices=tuple(BATCH))
    parser.add_argument("--start", default="scratch", choices=("scratch", "float"))
    parser.add_argument("--epochs", type=float, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=3e-2)
    parser.add_argument("--width-rate", type=float, default=3e-3)
    parser.add_argument("--freeze", type=float, default=0.85)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    arms: list[Arm] = []
    for seed in range(given.seeds):
        items = 15_000 if given.model == "letter-mlp" else 11_000
        settings = TrainingSettings(
            method=TrainingMethod.NEURON_WIDTHS,
            steps=round(given.epochs * items / BATCH[given.model]),
            batch=BATCH[given.model],
            rate=given.rate,
            widths=NeuronWidthSettings(rate=given.width_rate, freeze=given.freeze),
            seed=seed,
        )
        for arm in arms_of(given.model, given.start, seed, settings):
            arms.append(arm)
            print(f"{arm.name} seed {seed}: {arm.top1:.2%} at {arm.mean_bits:.3f} bits, "
                  f"{arm.seconds:.0f} s", flush=True)  # fmt: skip
            if given.out:
                given.out.write_text(json.dumps([asdict(one) for one in arms], indent=1))
    show(arms)


if __name__ == "__main__":
    main()
