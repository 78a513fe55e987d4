"""What the repairs bring: the rows of issue 3, before and after, each on images no pass has seen.

`python -m benchmarks.repairs [ROW ...] [--folder DIR] [--states DIR] [--json OUT]`. Without rows,
all of them. With a folder for states, a killed reconstruction of blocks goes on where it was.
ImageNet rows need the folder of labelled images; without it they say so. Calibration takes 64
images, learned rounding 200, both without labels; all other images are scored.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.calibration import calibrate_network
from analysis.evaluation.evaluate import evaluate_network
from analysis.network import Network, prepare_network
from analysis.process_settings import choose_thread_count
from analysis.runs.apply_recipe import apply_recipe_pass, plain_quantized_stage, title_of_pass
from data_io.bundled import fashion_test_set, fashion_train_part
from data_io.dataset import Dataset
from data_io.open_dataset import open_dataset
from model_io.load import load_sample_model
from quant.config import QuantConfig, uniform_config
from quant.passes.absorb_bias import AbsorbBias
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.methods import Reach
from quant.passes.recipe import Recipe
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.progress import drain_steps
from quant.spec import Estimator, Granularity
from sample_models.registry import IMAGENET

FOLDER = Path(__file__).parents[2] / "shared" / "datasets" / "imagenet-sample"
PER_TENSOR, PER_CHANNEL = Granularity.PER_TENSOR, Granularity.PER_CHANNEL


@dataclass(frozen=True)
class Row:
    """One case: a sample, its bits and granularity, what repairs it, images that passes see."""

    model: str
    weight_bits: int
    granularity: Granularity
    recipe: Recipe
    images: int = 64
    target: str = ""
    estimator: Estimator = Estimator.MSE

    @property
    def config(self) -> QuantConfig:
        """The configuration: activations of 8 bits."""
        plain = uniform_config(self.weight_bits, 8, self.granularity)
        weight = replace(plain.default.weight, estimator=self.estimator)
        return replace(plain, default=replace(plain.default, weight=weight))


def rows(iterations: int) -> dict[str, Row]:
    """Return the cases by name."""
    rounding = AdaRound(iterations=iterations)
    return {
        "imbalanced-w8-cle": Row(
            "fashion-mobilenet-imbalanced",
            8,
            PER_TENSOR,
            (Equalize(),),
            target="below 50 % before, within 1.0 point after",
        ),
        "imbalanced-w8-bias-alone": Row(
            "fashion-mobilenet-imbalanced",
            8,
            PER_TENSOR,
            (CorrectBias(),),
            target="shown honestly: not enough",
        ),
        "lite0-w8": Row(
            "efficientnet-lite0",
            8,
            PER_TENSOR,
            (Equalize(), CorrectBias()),
            target="-4 to -6 before, within 1.0 after",
            estimator=Estimator.MIN_MAX,
        ),
        "lite0-w6": Row(
            "efficientnet-lite0",
            6,
            PER_TENSOR,
            (Equalize(), AbsorbBias(), CorrectBias()),
            target="near chance before, within 5 after",
            estimator=Estimator.MIN_MAX,
        ),
        "lite0-w6-rms": Row(
            "efficientnet-lite0",
            6,
            PER_TENSOR,
            (Equalize(reach=Reach.RMS), CorrectBias()),
            target="near chance before, within 5 after",
        ),
        "lite0-w4": Row(
            "efficientnet-lite0",
            4,
            PER_CHANNEL,
            (Equalize(), rounding),
            images=200,
            target="below 15 % before, within 5 after",
        ),
        "lite0-w4-blocks": Row(
            "efficientnet-lite0",
            4,
            PER_CHANNEL,
            (Reconstruct(),),
            images=200,
            target="within 2.0, at most 30 minutes on 2 cores",
        ),
        "resnet-w4": Row(
            "fashion-resnet", 4, PER_CHANNEL, (rounding,), images=200, target="within 1.0"
        ),
        "vit-w4": Row("fashion-vit", 4, PER_CHANNEL, (rounding,), images=200, target="within 1.0"),
    }


def measure(row: Row, folder: Path, states: Path | None = None) -> dict[str, Any]:
    """Run one case and return its scores after every pass, in shares of 1."""
    loaded = load_sample_model(row.model)
    network = prepare_network(loaded.name, loaded.module, loaded.input_shape, loaded.digest)
    seen, scored = _data(row, folder)
    calibration = seen.first(64) if row.images > 64 else seen
    calibrated = drain_steps(calibrate_network(network, calibration))
    stage = plain_quantized_stage(network, row.config, calibrated)
    steps = [_score("plain", network, stage.quantized, scored, 0.0)]
    print(_line(row, steps[-1]), flush=True)
    for step in row.recipe:
        start = time.monotonic()
        learned = seen if isinstance(step, AdaRound | Reconstruct) else calibration
        stage, _ = drain_steps(apply_recipe_pass(stage, step, row.config, learned, states))
        seconds = time.monotonic() - start
        steps.append(_score(title_of_pass(step), network, stage.quantized, scored, seconds))
        print(_line(row, steps[-1]), flush=True)
    return {"model": row.model, "target": row.target, "images": row.images, "steps": steps}


def _data(row: Row, folder: Path) -> tuple[Dataset, Dataset]:
    if row.model != "efficientnet-lite0":
        return fashion_train_part().sample(row.images), fashion_test_set()
    return open_dataset(folder, IMAGENET).split(row.images)


def _score(
    title: str, network: Network, quantized: Any, data: Dataset, seconds: float
) -> dict[str, Any]:
    found = drain_steps(evaluate_network(network, quantized, data))
    interval = found.top1_drop_ci95
    return {
        "step": title,
        "float_top1": found.float_top1,
        "top1": found.quantized_top1,
        "drop": found.top1_drop,
        "drop_ci95": [interval.low, interval.high] if interval else None,
        "sqnr_db": found.sqnr_db,
        "samples": found.samples,
        "seconds": round(seconds, 1),
    }


def _line(row: Row, step: dict[str, Any]) -> str:
    low, high = step["drop_ci95"]
    return (
        f"{row.model:30} W{row.weight_bits}A8 {row.granularity:12} {step['step']:28} "
        f"top-1 {100 * step['top1']:6.2f} %  drop {100 * step['drop']:6.2f} "
        f"({100 * low:.2f} to {100 * high:.2f})  {step['seconds']:.0f} s"
    )


def main() -> None:
    """Read the command line, run the rows and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--states", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    known = rows(arguments.iterations)
    print(f"{choose_thread_count()} threads, AdaRound {arguments.iterations} iterations a layer")
    answers = {}
    for name in arguments.rows or known:
        if known[name].model == "efficientnet-lite0" and not arguments.folder.is_dir():
            print(f"{name}: skipped, it needs a folder of images such as {FOLDER.name}")
            continue
        answers[name] = measure(known[name], arguments.folder, arguments.states)
    if arguments.json:
        arguments.json.write_text(json.dumps(answers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
