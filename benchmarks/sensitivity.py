"""Sensitivity at its depths: naive and exact sweep, screening; how they agree and how they scale.

Run with: python -m benchmarks.sensitivity [--model NAME ...] [--images N] [--rounds N] [--json OUT]

All layers, weights and activations by themselves, 8, 6, 4 and 3 bits, the same images throughout.
The naive sweep runs the whole network for every question, the exact one what follows the layer.
The whole network is run in two ways: as simulated everywhere else in the app, and by the kernels of
the exact sweep, which gives the same bits and leaves as difference the network before the layer
alone. Where that holds 44 % of the multiplications, nothing can be more than 1.8 times faster than
the second. They and screening take turns in one process and one thread; times are
seconds of the processor, which other load on the machine changes least. Calibration and the choice
of ranges, which all depths share, are told apart.

Screening is asked twice: on the same images, and on every fourth of them beside the exact sweep of
all, which is how it is meant to be used: a few images, whose time more layers hardly change. The
first of all compiles loops where that was not done on this machine before, so it is not counted.

Scaling is that of the exact sweep: with images, and with the number of layers, evenly spaced over
the network, a layer's weight and activation at 8 bits counting as two questions.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from analysis.calibration import Calibrated, calibrate_network
from analysis.evaluation.measures import sqnr_db
from analysis.network import Network, prepare_network
from analysis.process_settings import keep_freed_memory
from analysis.runs.apply_recipe import plain_quantized_stage
from analysis.sensitivity.analyze import analyze_exactly
from analysis.sensitivity.exact.executors import Serial
from analysis.sensitivity.exact.work_unit import single_threaded
from analysis.sensitivity.ranking import rank_agreement
from analysis.sensitivity.screening.screen import screen_layers
from analysis.sensitivity.sweep import Question, Sensitivity, Sweep
from analysis.sensitivity.tensor_noise import tensor_noise_sensitivity
from analysis.study import Study
from data_io.bundled import BUNDLED_DATA
from data_io.dataset import Dataset
from data_io.open_dataset import open_dataset
from model_io.load import load_model
from quant.config import uniform_config
from quant.inputs import arrange_batch
from quant.passes.equalize import Equalize
from quant.progress import Steps, drain_steps
from quant.simulation.plan import Side
from quant.spec import Granularity
from sample_models.registry import sample_named

DATA = Path(__file__).parents[2] / "shared" / "datasets" / "imagenet-sample"
FASHION = ("fashion-mobilenet", "fashion-mobilenet-imbalanced", "fashion-resnet", "fashion-vit")
MODELS = (*FASHION, "efficientnet-lite0")
BITS = (8, 6, 4, 3)
CALIBRATION_IMAGES = 64
FEWER = 4
EXACT_TARGET, SCREENING_TARGET, SPEARMAN_TARGET, SLOPE_TARGET = 2.0, 20.0, 0.85, 0.5


@dataclass(frozen=True, eq=False)
class Case:
    """A network with images to ask about and the statistics of others."""

    network: Network
    data: Dataset
    calibrated: Calibrated

    @cached_property
    def _study(self) -> Study:
        return Study(self.network, self.data, calibrated=self.calibrated)

    def study(self) -> Study:
        """Return the study of the case; all calls share what is worked out."""
        return self._study

    def exact(self, sweep: Sweep, *, reuse: bool = True) -> Steps[Sensitivity]:
        """Return an exact sweep that starts from nothing."""
        return analyze_exactly(self.study(), sweep, Serial(), reuse=reuse)

    def simulate(self, questions: Sequence[Question]) -> tuple[float, list[float]]:
        """Return seconds and SQNRs of the simulated network, one layer quantized after the other.

        The float network runs once, ranges are ready, batches are as large as evaluation has them.
        """
        network, known = self.network, self.calibrated
        graphs = {
            bits: plain_quantized_stage(network, uniform_config(bits, bits), known).quantized
            for bits in {question.bits for question in questions}
        }
        start = time.process_time()
        batches = [
            arrange_batch(batch.inputs) for batch in self.data.batches(network.forward_batch_size)
        ]
        with torch.inference_mode():
            reference = torch.cat([network.graph(inputs) for inputs in batches])
            found = []
            for question in questions:
                graph = graphs[question.bits]
                with graph.only_layer(question.layer, question.side):
                    output = torch.cat([graph(inputs) for inputs in batches])
                found.append(sqnr_db(reference, output))
        return time.process_time() - start, found

    def screen(self, sweep: Sweep, every: int = 1) -> Steps[Sensitivity]:
        """Return a screening of every image, or of every second, ..."""
        data = self.data.subset(range(0, len(self.data), every))
        return screen_layers(self._study.with_scored_images(data), sweep)

    def cut(self, images: int) -> "Case":
        """Return the case with its first images alone."""
        return Case(self.network, self.data.first(images), self.calibrated)


def open_case(name: str, images: int, place: Path) -> Case:
    """Return a model with `images` images; EfficientNet-Lite0's come from `place`."""
    loaded = load_model(name)
    network = prepare_network(loaded.name, loaded.module, loaded.input_shape, loaded.digest)
    if own := BUNDLED_DATA.get(sample_named(name).dataset):
        some, data = own.train().sample(CALIBRATION_IMAGES), own.test().sample(images)
    else:
        folder = open_dataset(place, sample_named(name).preprocess)
        some, data = folder.split(CALIBRATION_IMAGES)
        data = data.sample(images)
    return Case(network, data, drain_steps(calibrate_network(network, some)))


def timed(work: Callable[[], Steps[Sensitivity]]) -> tuple[float, Sensitivity]:
    """Return seconds of the processor and the answer."""
    start = time.process_time()
    found = drain_steps(work())
    return time.process_time() - start, found


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Return times, ratios, equality and agreement of the depths on one model."""
    sweep = Sweep(uniform_config(8, 8), bits=BITS)
    ranges = _make_ranges(case, sweep)
    turns: dict[str, Callable[[], Steps[Sensitivity]]] = {
        "naive": lambda: case.exact(sweep, reuse=False),
        "exact": lambda: case.exact(sweep),
        "screening": lambda: case.screen(sweep),
        "screening of a few": lambda: case.screen(sweep, FEWER),
    }
    seconds: dict[str, list[float]] = {depth: [] for depth in turns}
    answers: dict[str, Sensitivity] = {}
    drain_steps(case.screen(sweep))
    for _ in range(rounds):
        for depth, work in turns.items():
            spent, answers[depth] = timed(work)
            seconds[depth].append(spent)
    own = answers["exact"]
    simulated, sqnrs = case.simulate([score.question for score in own.scores])
    apart = [abs(score.sqnr_db - db) for score, db in zip(own.scores, sqnrs, strict=True)]
    seconds["simulated"] = [simulated]
    return {
        "model": case.network.name,
        "images": len(case.data),
        "questions": len(own.scores),
        "ranges_s": ranges,
        "seconds": {depth: median(found) for depth, found in seconds.items()},
        "forwards": {depth: found.forwards for depth, found in answers.items()},
        "exact_times_faster": _ratio(seconds["naive"], seconds["exact"]),
        "exact_equals_naive": answers["naive"].scores == own.scores,
        "exact_beside_simulated": simulated / median(seconds["exact"]),
        "simulated_off_db": median(apart),
        **{
            depth: {
                "images": answers[depth].images,
                "times_faster": _ratio(seconds["exact"], seconds[depth]),
                "sides": {side: _quality(answers[depth], own, side) for side in sweep.sides},
            }
            for depth in ("screening", "screening of a few")
        },
    }


def _quality(screened: Sensitivity, own: Sensitivity, side: Side) -> dict[str, float | None]:
    """Return Spearman's rho over all bits and for each, and the median distance in dB."""
    rhos = {str(bits): rank_agreement(screened, own, side, bits) for bits in BITS}
    return {
        "all": rank_agreement(screened, own, side),
        **rhos,
        "off_db": _error_db(screened, own, side),
    }


def _make_ranges(case: Case, sweep: Sweep) -> float:
    """Choose all ranges, which the depths share from then on; return seconds."""
    start = time.process_time()
    tensor_noise_sensitivity(case.study(), sweep)
    return time.process_time() - start


def _ratio(slow: list[float], fast: list[float]) -> float:
    return median(a / b for a, b in zip(slow, fast, strict=True))


def _error_db(screened: Sensitivity, own: Sensitivity, side: Side) -> float:
    """Return the median distance of predicted and exact SQNR."""
    known = {score.question: score.sqnr_db for score in own.scores}
    return median(
        abs(score.sqnr_db - known[score.question])
        for score in screened.scores
        if score.question.side is side and math.isfinite(score.sqnr_db)
    )


def scaling(case: Case) -> dict[str, Any]:
    """Return seconds by images and by layers, and what each costs in forwards of an image."""
    sweep = Sweep(uniform_config(8, 8), bits=(8,))
    _make_ranges(case, sweep)
    forward = forward_seconds(case)
    count, names = len(case.data), [layer.name for layer in case.network.graph.layers]
    by_images, by_layers = {}, {}
    for quarter in (1, 2, 3, 4):
        images = count * quarter // 4
        by_images[images] = _best(case.cut(images), sweep)
        wanted = len(names) * quarter // 4
        chosen = tuple(names[n * len(names) // wanted] for n in range(wanted))
        by_layers[wanted] = _best(case, replace(sweep, layers=chosen))
    line = np.polyfit(list(by_images), list(by_images.values()), 1)
    apart = [abs(float(np.polyval(line, n)) / spent - 1) for n, spent in by_images.items()]
    slope = float(np.polyfit(list(by_layers), list(by_layers.values()), 1)[0])
    questions = len(case.study().site_encodings(sweep.config).site_names(None, Side.BOTH))
    return {
        "forward_ms": 1000 * forward,
        "seconds_by_images": by_images,
        "furthest_from_a_line": max(apart),
        "seconds_by_layers": by_layers,
        "forwards_per_question": slope / forward / count * len(names) / questions,
    }


def _best(case: Case, sweep: Sweep) -> float:
    return min(timed(lambda: case.exact(sweep))[0] for _ in range(2))


def forward_seconds(case: Case) -> float:
    """Return the seconds of a float forward of one image by the sweep's own program."""
    program = case.network.compiled_program
    size = case.network.forward_batch_size
    batches = [arrange_batch(batch.inputs) for batch in case.data.batches(size)]
    found = []
    with single_threaded():
        for _ in range(4):
            start = time.process_time()
            for inputs in batches:
                program(inputs)
            found.append((time.process_time() - start) / len(case.data))
    return min(found)


def worst_layers(case: Case, count: int = 6) -> dict[str, list[str]]:
    """Return the kinds and names of the layers that rank worst at W8 per-tensor, and after CLE."""
    graph = Equalize()(case.network.graph).graph
    equalized = replace(case.network, graph=graph, digest="equalized")
    sweep = Sweep(uniform_config(8, 8, Granularity.PER_TENSOR), bits=(8,), sides=(Side.WEIGHTS,))
    found = {}
    for name, network in (("before", case.network), ("after CLE", equalized)):
        own = drain_steps(Case(network, case.data, case.calibrated).exact(sweep))
        ranked = sorted(own.scores, key=lambda score: score.sqnr_db)[:count]
        found[name] = [
            f"{score.question.layer} ({network.graph[score.question.layer].kind}) "
            f"{score.sqnr_db:.1f} dB"
            for score in ranked
        ]
    return found


def tell(row: dict[str, Any]) -> None:
    """Print the figures of one model."""
    print(f"\n{row['model']}: {row['questions']} questions, {row['images']} images")
    print(f"  ranges, made once    {row['ranges_s']:7.2f} s")
    for depth, spent in row["seconds"].items():
        forwards = row["forwards"].get(depth, row["questions"] + 1)
        print(f"  {depth:19}  {spent:7.2f} s  {forwards:6.1f} forwards of its images")
    equal = "identical" if row["exact_equals_naive"] else "DIFFERENT"
    faster = _verdict(row["exact_times_faster"], EXACT_TARGET)
    print(f"  exact beside naive by the same kernels: {equal}, {faster}")
    faster = _verdict(row["exact_beside_simulated"], EXACT_TARGET)
    print(
        f"  exact beside naive by the simulated network: {row['simulated_off_db']:.4f} dB apart in "
        f"the median, {faster}"
    )
    for depth in ("screening", "screening of a few"):
        found = row[depth]
        faster = _verdict(found["times_faster"], SCREENING_TARGET)
        print(f"  {depth} ({found['images']} images) beside exact: {faster}")
        for side, quality in found["sides"].items():
            print(f"    {side}: {_spoken(quality)}")
    scale = row["scaling"]
    met = "met" if scale["forwards_per_question"] <= SLOPE_TARGET else "MISSED"
    apart = 100 * scale["furthest_from_a_line"]
    print(f"  images: {_pairs(scale['seconds_by_images'])}; at most {apart:.0f} % off a line")
    print(f"  layers: {_pairs(scale['seconds_by_layers'])}")
    print(
        f"  a question costs {scale['forwards_per_question']:.2f} forwards of "
        f"{scale['forward_ms']:.2f} ms, at most {SLOPE_TARGET}: {met}"
    )
    for name, layers in row.get("worst", {}).items():
        print(f"  worst at W8 per-tensor {name}: {'; '.join(layers)}")


def _spoken(quality: dict[str, float | None]) -> str:
    overall = quality["all"] or 0.0
    met = "met" if overall >= SPEARMAN_TARGET else "MISSED"
    each = ", ".join(f"{bits} bits {quality[str(bits)] or 0:.2f}" for bits in BITS)
    return (
        f"Spearman {overall:.2f}, at least {SPEARMAN_TARGET}: {met} ({each}); "
        f"{quality['off_db']:.1f} dB off in the median"
    )


def _verdict(faster: float, target: float) -> str:
    return (
        f"{faster:.1f} times faster, at least {target:g}: {'met' if faster >= target else 'MISSED'}"
    )


def _pairs(found: dict[int, float]) -> str:
    return ", ".join(f"{count}: {seconds:.2f} s" for count, seconds in found.items())


def main() -> None:
    """Read the command line, run model by model, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="*", default=list(MODELS), choices=MODELS)
    parser.add_argument("--images", type=int, help="default: 128, for efficientnet-lite0 32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    rows = []
    for name in arguments.model:
        if name not in FASHION and not arguments.data.is_dir():
            print(f"Skipped {name}: {arguments.data} is not there. Name the folder with --data.")
            continue
        case = open_case(name, arguments.images or (128 if name in FASHION else 32), arguments.data)
        row = {**measure(case, arguments.rounds), "scaling": scaling(case)}
        if name == "fashion-mobilenet-imbalanced":
            row["worst"] = worst_layers(case)
        tell(row)
        rows.append(row)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
