"""Accuracy of EfficientNet-Lite0 at W8A8 on the 500 labelled images of the shared folder.

Run with: python -m benchmarks.accuracy_imagenet [--data FOLDER] [--json OUT]

64 images drawn at random choose the ranges. Top-1 is told twice: on the 436 other images, and on
all 500 (the calibration images among them: labels were not used, but it is the milder question).
The targets hold for ranges by MSE, the default; min-max is there to compare.
Float and quantized network see the same images; drops are in points, with their paired interval.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.calibration import Calibrated, calibrate_network
from analysis.evaluation.evaluate import Evaluation, evaluate_network
from analysis.network import Network, prepare_network
from analysis.process_settings import choose_thread_count
from analysis.split import Split, pixel_input_range
from data_io.dataset import Dataset, check_class_labels
from data_io.open_dataset import open_dataset
from model_io.load import load_model
from quant.config import QuantConfig, uniform_config
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from quant.spec import Estimator, Granularity, QuantSpec
from sample_models.registry import sample_named

DATA = Path(__file__).parents[2] / "shared" / "datasets" / "imagenet-sample"
MODEL = "efficientnet-lite0"
CALIBRATION_IMAGES = 64
TARGET_POINTS = {Granularity.PER_CHANNEL: 0.8, Granularity.PER_TENSOR: 5.0}


@dataclass(frozen=True)
class Case:
    """A W8A8 configuration by its two choices."""

    granularity: Granularity
    estimator: Estimator

    @property
    def is_default(self) -> bool:
        """Whether ranges are chosen as they are unless someone asks otherwise."""
        return self.estimator is QuantSpec().estimator

    @property
    def config(self) -> QuantConfig:
        """The configuration."""
        start = uniform_config(8, 8, self.granularity)
        weight = replace(start.default.weight, estimator=self.estimator)
        activation = replace(start.default.activation, estimator=self.estimator)
        return QuantConfig(replace(start.default, weight=weight, activation=activation))


def cases() -> Iterator[Case]:
    """Yield per-channel and per-tensor weights, each with ranges by MSE and by min-max."""
    for granularity in TARGET_POINTS:
        for estimator in (Estimator.MSE, Estimator.MIN_MAX):
            yield Case(granularity, estimator)


def score(network: Network, ranges: Calibrated, case: Case, parts: Split) -> dict[str, Any]:
    """Return the figures of one case on the images kept apart and on all."""
    quantized = quantize_graph(network.graph, case.config, ranges.statistics, ranges.input_range)
    rest = drain_steps(evaluate_network(network, quantized, parts.score))
    assert parts.calibration is not None
    seen = drain_steps(evaluate_network(network, quantized, parts.calibration))
    interval = rest.top1_drop_ci95
    assert interval is not None
    return {
        "granularity": case.granularity,
        "estimator": case.estimator,
        "samples": rest.samples,
        "float_top1": rest.float_top1,
        "quantized_top1": rest.quantized_top1,
        "drop_points": _points(rest),
        "drop_points_ci95": [100 * interval.low, 100 * interval.high],
        "agreement": rest.agreement,
        "sqnr_db": rest.sqnr_db,
        "all_samples": rest.samples + seen.samples,
        "all_drop_points": _points(rest, seen),
        "target_points": TARGET_POINTS[case.granularity],
    }


def _points(*parts: Evaluation) -> float:
    """Return the top-1 lost over all parts together, in points."""
    lost = sum((part.top1_drop or 0) * part.samples for part in parts)
    return 100 * lost / sum(part.samples for part in parts)


def run(data: Dataset, seed: int) -> list[dict[str, Any]]:
    """Calibrate once, score all cases and print a line for each."""
    loaded = load_model(MODEL)
    network = prepare_network(loaded.name, loaded.module, loaded.input_shape, loaded.digest)
    check_class_labels(data, network.output_count)
    chosen, rest = data.split(CALIBRATION_IMAGES, seed)
    limits = pixel_input_range(sample_named(MODEL).preprocess)
    ranges = drain_steps(calibrate_network(network, chosen, limits))
    rows = []
    print("weights      ranges   float  W8A8   drop [95 %]            agree   SQNR dB  drop of all")
    for case in cases():
        row = score(network, ranges, case, Split(rest, chosen))
        rows.append(row)
        low, high = row["drop_points_ci95"]
        met = "met" if row["drop_points"] <= row["target_points"] else "MISSED"
        verdict = f"at most {row['target_points']}: {met}" if case.is_default else "no target"
        print(
            f"{case.granularity:12} {case.estimator:8} {row['float_top1']:.3f}  "
            f"{row['quantized_top1']:.3f}  {row['drop_points']:+.2f} [{low:+.2f}, {high:+.2f}]  "
            f"{row['agreement']:.3f}  {row['sqnr_db']:6.1f}   {row['all_drop_points']:+.2f}   "
            f"{verdict}",
            flush=True,
        )
    return rows


def main() -> None:
    """Read the command line, run, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"Skipped: {arguments.data} is not there. Name the folder with --data.")
        return
    choose_thread_count()
    rows = run(open_dataset(arguments.data, sample_named(MODEL).preprocess), arguments.seed)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
