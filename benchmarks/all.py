"""What the issue on speed asks for, in one table: row, target, measured, met or missed.

Run with: python -m benchmarks.all [--quick]

Every row but those in seconds is a ratio of one run. Forwards take turns, so that other load on the
machine hits both; time is the processor's with one thread, and the clock's with two. `--quick`
leaves out the slow network and takes fewer turns; it needs about 2 minutes. The first lines tell
what the machine gives at best: products of large matrices, and a copy of memory.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from accelerator.machine import load_preset
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.choices import Rules
from analysis.mixed_precision.proposal import Budget
from analysis.mixed_precision.search import BitSearch
from analysis.network import Network, prepare_network
from analysis.process_settings import keep_freed_memory
from analysis.sensitivity.sweep import DEFAULT_BITS
from benchmarks import bit_program, forward_speed, study_reuse
from benchmarks.peak_memory import FEW_IMAGES, MANY_IMAGES, PEAK_GROWTH, compare_peaks
from model_io.load import load_model
from quant.config import uniform_config
from quant.ranges.range_search import (
    histogram_error,
    search_best_range,
    search_histogram_ranges,
)
from quant.spec import QuantSpec

QUICK_MODELS = ("fashion-mobilenet", "fashion-resnet", "fashion-vit")
MODELS = (*QUICK_MODELS, "efficientnet-lite0")
MACHINES = ("horowitz45_generic", "bitfusion_like", "gap9_ne16_like")
LAYERS, FIRST_SECONDS = 200, 1.5
MOST_REUSE = 1.5
SEARCH_GAIN = 5.0
STREAMS, BINS = 40, 2048
MATRIX = 1024


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row: what was asked, the target in words, the measured value, and whether it is met."""

    title: str
    target: str
    measured: str
    met: bool


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of `work` in s."""
    start = time.process_time()
    work()
    return time.process_time() - start


def machine_bounds() -> Iterator[str]:
    """Yield GFLOP/s of a product of matrices and GB/s of a copy, one thread each."""
    torch.set_num_threads(1)
    a = torch.rand(MATRIX, MATRIX)
    seconds = min(processor_seconds(lambda: a @ a) for _ in range(5))
    yield f"Matrix product of {MATRIX}: {2 * MATRIX**3 / seconds / 1e9:.0f} GFLOP/s, one thread"
    x = torch.rand(32 * 2**20)
    y = torch.empty_like(x)
    seconds = min(processor_seconds(lambda: y.copy_(x)) for _ in range(5))
    yield f"Copy of {x.nbytes / 2**20:.0f} MiB: {2 * x.nbytes / seconds / 1e9:.0f} GB/s, one thread"


def row_at_most(title: str, value: float, most: float, form: str = "{:.2f}") -> TableRow:
    """Return a row that is met by a value of at most `most`; `form` writes both."""
    return TableRow(title, f"<= {form.format(most)}", form.format(value), value <= most)


def open_network(model: str) -> tuple[Network, nn.Module]:
    """Return a network, and the module that it was captured from."""
    loaded = load_model(model)
    network = prepare_network(loaded.name, loaded.module, loaded.input_shape, loaded.digest)
    return network, loaded.module


def forward_rows(model: str, threads: int, turns: int) -> Iterator[TableRow]:
    """Yield the ratios of `benchmarks.forward_speed` for a network."""
    torch.set_num_threads(threads)
    network, module = open_network(model)
    work = forward_speed.runners(network, module, threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    images = forward_speed.image_count(network, threads)
    found = forward_speed.measure(work, turns, clock, images)
    for name, other, most, ratio in forward_speed.compare_forwards(found):
        if other == "ONNX Runtime":
            yield row_at_most(f"{model}, {name} / {other}, threads: {threads}", ratio, most)


def search_row() -> TableRow:
    """Compare the search for ranges in machine code with the same search in torch."""
    values = torch.randn(STREAMS, 20_000)
    low, high = values.amin(1), values.amax(1)
    counts = torch.stack(
        [torch.histc(row, BINS, float(row.min()), float(row.max())) for row in values]
    )
    edges = torch.stack(
        [torch.linspace(float(a), float(b), BINS + 1) for a, b in zip(low, high, strict=True)]
    )
    tables, spec = (counts.double(), edges.double()), QuantSpec(8, symmetric=False)
    search_histogram_ranges(*tables, low, high, spec)  # compiles
    quick = processor_seconds(lambda: search_histogram_ranges(*tables, low, high, spec))
    plain = processor_seconds(
        lambda: search_best_range(low, high, spec, lambda one: histogram_error(*tables, one))
    )
    gain = plain / quick
    return TableRow(
        "range search, torch / machine code",
        f">= {SEARCH_GAIN}",
        f"{gain:.1f}",
        gain >= SEARCH_GAIN,
    )


def first_question_row(machine: str) -> TableRow:
    """Time the first question of the optimizer: 200 layers, five widths on both sides."""
    network = bit_program.chain(LAYERS, 0)
    known = bit_program.made_up(network, 0)

    def ask() -> None:
        search = BitSearch(network, known, load_preset(machine), Rules(DEFAULT_BITS))
        search.least_noise_choice([Budget(Quantity.ENERGY, bit_program.FIRST, relative=True)])

    seconds = processor_seconds(ask)
    title = f"first question, {LAYERS} layers on {machine}"
    return row_at_most(title, seconds, FIRST_SECONDS, "{:.2f} s")


def memory_row() -> TableRow:
    """Compare the peaks of calibration and scoring with few and with many images."""
    few, many = compare_peaks(open_network("fashion-mobilenet")[0])
    title = f"peak memory, {MANY_IMAGES} / {FEW_IMAGES} images"
    return row_at_most(title, many / few, PEAK_GROWTH)


def reuse_row() -> TableRow:
    """Compare a visit among three networks with a visit among two."""
    config = uniform_config(study_reuse.BITS, study_reuse.BITS)
    studies = [study_reuse.open_study(sample) for sample in study_reuse.SAMPLES]
    for study in studies:
        study_reuse.visit_seconds(study, config)
    two = study_reuse.later_visit_seconds(studies[:2], config)
    ratio = study_reuse.later_visit_seconds(studies, config) / two
    return row_at_most("visit of a study, three / two networks", ratio, MOST_REUSE)


def table_rows(*, quick: bool) -> Iterator[TableRow]:
    """Yield the rows in order."""
    turns = 5 if quick else 15
    for model in QUICK_MODELS if quick else MODELS:
        for threads in (1, 2):
            yield from forward_rows(model, threads, turns)
    torch.set_num_threads(1)
    yield search_row()
    for machine in MACHINES:
        yield first_question_row(machine)
    yield reuse_row()
    yield memory_row()


def main() -> None:
    """Print the bounds of the machine and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    keep_freed_memory()
    for line in machine_bounds():
        print(line, flush=True)
    print("\n| row | target | measured | |\n|---|---|---|---|")
    for row in table_rows(quick=quick):
        verdict = "met" if row.met else "MISSED"
        print(f"| {row.title} | {row.target} | {row.measured} | {verdict} |", flush=True)


if __name__ == "__main__":
    main()
