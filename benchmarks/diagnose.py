"""How often the cause of a planted fault is named right, and how much of the loss comes back.

`python -m benchmarks.diagnose [WORD ...] [--images N] [--json OUT]`. With words, faults whose name
holds one of them. A fault counts where the divergence from float at least doubles; the others are
told as harmless. The loss is in points where the fault costs 2 points or more, else in nats.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from accelerator.machine import load_preset
from analysis.diagnosis.causes.root_cause import RootCause
from analysis.diagnosis.flow.goal import Goal
from analysis.diagnosis.flow.run_diagnosis import DiagnosisTask, run_diagnosis
from analysis.network import Network, prepare_network
from analysis.process_settings import choose_thread_count
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import Run
from analysis.study import Study
from benchmarks.planted_faults import LETTER, Fault, all_faults
from data_io.bundled import fashion_test_set, fashion_train_part, letter_test, letter_train
from quant.config import QuantConfig
from quant.progress import drain_steps
from sample_models.registry import sample_named

SHARE = 0.8
CLEAR_POINTS = 2.0


def study_of_fault(fault: Fault, network: Network, images: int, calibration: int) -> Study:
    """Return the study of a network on some images of the fault's data."""
    letters = fault.model == LETTER
    scored = (letter_test() if letters else fashion_test_set()).sample(images)
    seen = (letter_train() if letters else fashion_train_part()).sample(calibration)
    return Study(network, scored, seen)


def network_of_fault(fault: Fault, *, planted: bool = True) -> Network:
    """Return the network with the fault, or the network as it was."""
    entry = sample_named(fault.model)
    model = fault.build() if planted else entry.build_network().eval()
    return prepare_network(fault.model, model, entry.input_shape, f"{fault.name} {planted}")


def measure_fault(fault: Fault, images: int) -> dict[str, Any]:
    """Return what the diagnosis names and how much of the loss the remedy brings back."""
    start = time.monotonic()
    machine = load_preset("edge_systolic_8b")

    def measure(study: Study, config: QuantConfig) -> Run:
        return drain_steps(measure_experiment(study, Experiment(config, machine)))

    sound = study_of_fault(fault, network_of_fault(fault, planted=False), images, 64)
    network = network_of_fault(fault)
    study = study_of_fault(fault, network, images, fault.calibration)
    base, planted = measure(sound, fault.sound), measure(study, fault.config)
    before, worse = _points(base), _points(planted)
    divergence = base.evaluation.kl or 0.0, planted.evaluation.kl or 0.0
    goal = Goal(max(0.0, before + (1 - SHARE) * max(0.0, worse - before)))
    task = DiagnosisTask(study, Experiment(fault.config, machine), goal, rounding_iterations=200)
    found = drain_steps(run_diagnosis(task))
    run = found.run
    if fault.causes == (RootCause.FEW_IMAGES,):  # the remedy is not the flow's to give
        run = measure(study_of_fault(fault, network, images, 64), fault.config)
    named = found.causes[0] if found.causes else None
    if worse - before >= CLEAR_POINTS or run is None:
        gained = (worse - _points(run or planted)) / max(worse - before, 1e-9)
    else:
        kl = run.evaluation.kl or 0.0
        gained = (divergence[1] - kl) / max(divergence[1] - divergence[0], 1e-9)
    right = named is not None and named.cause in fault.causes
    return {
        "fault": fault.name,
        "harmful": divergence[1] > 2 * divergence[0] or worse - before >= CLEAR_POINTS,
        "points": [before, worse, _points(run or planted)],
        "kl": [*divergence, None if run is None else run.evaluation.kl],
        "named": None if named is None else [named.layer, named.side.value, named.cause],
        "right": right and (not fault.layers or (named and named.layer in fault.layers)),
        "recovered": gained,
        "recipe": None if found.run is None else [found.experiment.content_name],
        "seconds": round(time.monotonic() - start, 1),
    }


def _points(run: Run) -> float:
    return 100 * (run.evaluation.top1_drop or 0.0)


def main() -> None:
    """Measure the faults and print a line for each, then the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    choose_thread_count()
    rows = []
    for fault in all_faults():
        if arguments.words and not any(word in fault.name for word in arguments.words):
            continue
        row = measure_fault(fault, arguments.images)
        rows.append(row)
        print(json.dumps(row), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=2))
    harmful = [row for row in rows if row["harmful"]]
    right = sum(bool(row["right"]) for row in harmful)
    back = sum(row["recovered"] >= SHARE for row in harmful)
    print(f"{len(rows)} faults, {len(harmful)} harmful: {right} named right, {back} recovered")


if __name__ == "__main__":
    main()
