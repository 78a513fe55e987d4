"""Mixed precision beside uniform bits and a greedy choice, on the same images.

`python -m benchmarks.mixed_precision [MODEL ...] [--json OUT]`. efficientnet-lite0 needs the folder
of labelled images. The sweep sees the calibration images alone; all others are scored.
"""

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from accelerator.machine import load_preset
from analysis.calibration import Calibrated, calibrate_network
from analysis.cost.quantity import Quantity
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.intervals import paired_interval
from analysis.evaluation.measures import Interval
from analysis.evaluation.per_image import Rows, describe_float_outputs, summarize_rows
from analysis.evaluation.per_image import compare_image_outputs as images
from analysis.mixed_precision.choices import Rules
from analysis.mixed_precision.pareto_front import Measured, measure_proposals, prediction_error
from analysis.mixed_precision.proposal import Budget, BudgetError, Proposal
from analysis.mixed_precision.search import BitSearch
from analysis.mixed_precision.useful_bits import explain_machine_gains, restrict_to_useful_bits
from analysis.network import Network, forward_first_output, prepare_network
from analysis.prediction.predictor import Prediction, predictor_from_sweep
from analysis.process_settings import choose_thread_count
from analysis.runs.json_values import plain_from_result
from analysis.runs.run_store import RunStore
from analysis.sensitivity.analyze import analyze_sensitivity
from analysis.sensitivity.sweep import DEFAULT_BITS, Sensitivity, Sweep
from analysis.study import Study
from benchmarks.greedy import best_bargain, demote, least_sensitive
from data_io.bundled import fashion_test_set, fashion_train_part
from data_io.dataset import Dataset
from data_io.open_dataset import open_dataset
from model_io.load import load_sample_model
from quant.config import uniform_config
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from sample_models.registry import IMAGENET

FOLDER = Path(__file__).parents[2] / "shared" / "datasets" / "imagenet-sample"
MODELS = ("fashion-mobilenet", "efficientnet-lite0")
MACHINE, FIXED_MACHINE = "bitfusion_like", "edge_systolic_8b"
ALLOWED_LOSS = 0.01  # of top-1, against uniform W8A8
TRIES = 5
NEAR = 0.1  # of top-1 lost


@dataclass(frozen=True)
class Bench:
    """A network with its data, ranges and sensitivities."""

    network: Network
    scored: Dataset
    calibrated: Calibrated
    sensitivity: Sensitivity


def prepare_bench(model: str, folder: Path, store: Path, images: int) -> Bench:
    """Load, calibrate and sweep; what the store knows of the sweep is not run again."""
    loaded = load_sample_model(model)
    network = prepare_network(loaded.name, loaded.module, loaded.input_shape, loaded.digest)
    if model == "efficientnet-lite0":
        seen, scored = open_dataset(folder, IMAGENET).split(images)
    else:
        seen, scored = fashion_train_part().sample(images), fashion_test_set()
    calibrated = drain_steps(calibrate_network(network, seen))
    sweep = Sweep(uniform_config(8, 8), DEFAULT_BITS)
    known = drain_steps(
        analyze_sensitivity(
            Study(network, seen, store=RunStore(store), calibrated=calibrated), sweep
        )
    )
    print(f"{model}: sweep of {len(known.scores)} questions, {known.seconds:.0f} s", flush=True)
    return Bench(network, scored, calibrated, known)


def compare(bench: Bench) -> dict[str, Any]:
    """Return the rows of the issue for one network."""
    search = BitSearch(bench.network, bench.sensitivity, load_preset(MACHINE), Rules(DEFAULT_BITS))
    references = {
        name: search.judge_config(name, search.uniform_config(w, a))
        for name, w, a in (
            ("W8A8", 8, 8),
            ("W6A8", 6, 8),
            ("W6A6", 6, 6),
            ("W4A8", 4, 8),
            ("W4A4", 4, 4),
        )
    }
    energy = references["W6A6"].cost.energy_pj
    equal = {
        "Mixed at W6A6's energy": search.least_noise_choice([Budget(Quantity.ENERGY, energy)]),
        "Greedy at W6A6's energy": demote(search, Quantity.ENERGY, energy, least_sensitive),
        "Greedy by bargain": demote(search, Quantity.ENERGY, energy, best_bargain),
    }
    rows = {**references, **{name: row for name, row in equal.items() if row is not None}}
    cheap = find_cheap(bench, search, references["W8A8"])
    rows["Cheapest within 1 point"] = cheap.proposal
    target = cheap.proposal.cost.energy_pj
    for name, rank in (("Greedy", least_sensitive), ("Greedy by bargain", best_bargain)):
        row = demote(search, Quantity.ENERGY, target, rank)
        if row is not None:
            rows[f"{name} at the cheapest's energy"] = row
    answers = run_all(bench, rows)
    told = score(answers, rows, references["W8A8"])
    return {"rows": told, **cheap.told, "held_out": held_out(search, rows, answers)}


@dataclass(frozen=True)
class Cheap:
    """The cheapest proposal that measured within the loss, and what was tried."""

    proposal: Proposal
    told: dict[str, Any]


def find_cheap(bench: Bench, search: BitSearch, top: Proposal) -> Cheap:
    """Propose what is predicted to keep the loss, then halve the way to what measures so.

    The images that decide are those that are scored, so the answer is a little lucky.
    """
    (base,) = drain_steps(
        measure_proposals(
            search, Study(search.network, bench.scored, calibrated=bench.calibrated), [top]
        )
    )
    drop = base.run.evaluation.top1_drop or 0.0
    tried: list[Measured] = []
    proposal = search.cheapest_choice(Quantity.ENERGY, most_loss=drop + ALLOWED_LOSS)
    good, bad, chosen = 1.0, 0.0, top
    for _ in range(TRIES):
        (found,) = drain_steps(
            measure_proposals(
                search, Study(search.network, bench.scored, calibrated=bench.calibrated), [proposal]
            )
        )
        tried.append(found)
        lost = (found.run.evaluation.top1_drop or 0.0) - drop
        share = proposal.cost.energy_pj / top.cost.energy_pj
        print(f"  tried energy {share:.3f}: drop {lost:+.4f} from W8A8", flush=True)
        if lost <= ALLOWED_LOSS:
            good, chosen = share, proposal
        else:
            bad = share
        budget = Budget(Quantity.ENERGY, (good + bad) / 2, relative=True)
        try:
            proposal = search.least_noise_choice([budget])
        except BudgetError:
            break
    return Cheap(chosen, {"prediction_error": plain_from_result(prediction_error([base, *tried]))})


def score(found: "Answers", rows: dict[str, Proposal], top: Proposal) -> list[dict[str, Any]]:
    """Compare each configuration with W6A6 and W8A8 in pairs, on the same images."""
    labels, classes = found.labels, found.classes
    answers = []
    for name, row in rows.items():
        right = classes[name] == labels
        told = {
            "name": name,
            "energy": row.cost.energy_pj / top.cost.energy_pj,
            "predicted_sqnr_db": row.prediction.sqnr_db,
            "sqnr_db": found.evaluations[name].sqnr_db,
            "noise": row.noise_energy_sum,
            "top1": float(right.float().mean()),
            "seconds": row.seconds,
        }
        for other in ("W6A6", "W8A8"):
            before = classes[other] == labels
            lost, won = int((before & ~right).sum()), int((~before & right).sum())
            interval = paired_interval(lost, won, len(labels))
            told[f"drop_from_{other}"] = (lost - won) / len(labels)
            told[f"drop_from_{other}_ci95"] = [interval.low, interval.high]
        answers.append(told)
        print(line(told), flush=True)
    return answers


@dataclass(frozen=True)
class Answers:
    """What networks answered on the same images: labels, classes and figures by name."""

    labels: Tensor
    classes: dict[str, Tensor]
    evaluations: dict[str, Evaluation]


def run_all(bench: Bench, rows: dict[str, Proposal]) -> Answers:
    """Run every configuration on the images that are scored."""
    graph, fixed = bench.network.graph, bench.network.graph.batch
    statistics = bench.calibrated.statistics
    runs = {name: quantize_graph(graph, row.config, statistics) for name, row in rows.items()}
    labels: list[Tensor] = []
    own: list[Rows] = []
    classes: dict[str, list[Tensor]] = {name: [] for name in runs}
    found: dict[str, list[Rows]] = {name: [] for name in runs}
    for batch in bench.scored.batches(bench.network.forward_batch_size):
        assert batch.labels is not None
        labels.append(batch.labels)
        reference = forward_first_output(graph, fixed, batch.inputs)
        own.append(describe_float_outputs(reference, batch.labels))
        for name, run in runs.items():
            output = forward_first_output(run, fixed, batch.inputs)
            classes[name].append(output.argmax(1))
            found[name].append(images(reference, output, batch.labels))
    reference_rows = np.concatenate(own)
    evaluations = {
        name: _evaluation(reference_rows, np.concatenate(rows)) for name, rows in found.items()
    }
    joined = {name: torch.cat(answers) for name, answers in classes.items()}
    return Answers(torch.cat(labels), joined, evaluations)


def _evaluation(reference: Rows, rows: Rows) -> Evaluation:
    told = summarize_rows(reference, rows)
    return Evaluation(
        samples=told.images,
        labelled=True,
        agreement=told.agreement or 0.0,
        agreement_ci95=told.agreement_ci95 or Interval(0.0, 1.0),
        sqnr_db=told.sqnr_db,
        float_top1=float((reference["right"] == 1).mean()),
        top1_drop=told.accuracy_drop,
        kl=told.kl,
    )


def held_out(
    search: BitSearch, rows: dict[str, Proposal], answers: Answers
) -> dict[str, dict[str, float]]:
    """Return how far predictions are off: from the sweep alone, and taught by all other rows."""
    alone = predictor_from_sweep(search.sensitivity)
    errors: dict[str, list[tuple[Prediction, Evaluation]]] = {"before": [], "after": []}
    for name, row in rows.items():
        taught = alone
        for other, one in rows.items():
            if one.summed != row.summed:
                taught = taught.learn_measurement(one.summed, answers.evaluations[other])
        for when, predictor in (("before", alone), ("after", taught)):
            errors[when].append((predictor.predict_network(row.summed), answers.evaluations[name]))
    told = {when: _errors(pairs) for when, pairs in errors.items()}
    for when, found in told.items():
        print(
            f"  predictions {when} correction: "
            + ", ".join(f"{name} {value:.3g}" for name, value in found.items()),
            flush=True,
        )
    return told


def _errors(pairs: list[tuple[Prediction, Evaluation]]) -> dict[str, float]:
    """Return errors in dB and points, and the shares of intervals of 95 % that held.

    `mean_points_near` is over networks that lost at most 10 points, among which one chooses.
    """
    levels = np.array([said.sqnr_db - got.sqnr_db for said, got in pairs])
    losses = [(said.loss or 0.0, said.loss_ci95, got.top1_drop or 0.0) for said, got in pairs]
    near = [100 * abs(said - got) for said, _, got in losses if got <= NEAR]
    return {
        "rms_db": float(np.sqrt((levels**2).mean())),
        "mean_points": float(np.mean([100 * abs(said - got) for said, _, got in losses])),
        "mean_points_near": float(np.mean(near)) if near else math.nan,
        "most_points": float(np.max([100 * abs(said - got) for said, _, got in losses])),
        "held_db": float(
            np.mean([s.sqnr_ci95.low <= g.sqnr_db <= s.sqnr_ci95.high for s, g in pairs])
        ),
        "held_points": float(
            np.mean(
                [
                    ends is not None and ends.low <= max(got, 0.0) <= ends.high
                    for _, ends, got in losses
                ]
            )
        ),
    }


def line(told: dict[str, Any]) -> str:
    """Return one row of the table."""
    low, high = told["drop_from_W6A6_ci95"]
    return (
        f"  {told['name']:38} energy {told['energy']:.3f}  SQNR {told['sqnr_db']:5.1f} "
        f"(predicted {told['predicted_sqnr_db']:5.1f}) dB  top-1 {100 * told['top1']:.2f} %  below "
        f"W6A6 {100 * told['drop_from_W6A6']:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})  below "
        f"W8A8 {100 * told['drop_from_W8A8']:+.2f}"
    )


def fixed_machine(bench: Bench) -> dict[str, Any]:
    """Return what fewer bits gain on a machine that multiplies at 8 bits."""
    machine = load_preset(FIXED_MACHINE)
    rules = restrict_to_useful_bits(machine, Rules(DEFAULT_BITS))
    search = BitSearch(bench.network, bench.sensitivity, machine, Rules(DEFAULT_BITS))
    least = search.least_possible_quantity(Quantity.ENERGY) / search.reference.cost.energy_pj
    print(
        f"  {explain_machine_gains(machine)} Least energy: {least:.3f} of W8A8; of use: "
        f"{rules.bits}"
    )
    return {"said": explain_machine_gains(machine), "least_energy_of_w8a8": least}


def main() -> None:
    """Read the command line, run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--store", type=Path, default=Path("/tmp/quantscope-benchmarks"))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    answers: dict[str, Any] = {"threads": choose_thread_count()}
    for model in arguments.models:
        bench = prepare_bench(model, arguments.folder, arguments.store, arguments.images)
        answers[model] = {**compare(bench), "fixed": fixed_machine(bench)}
    if arguments.json:
        arguments.json.write_text(json.dumps(answers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
