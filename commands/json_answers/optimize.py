"""An answer of the optimizer as plain values for JSON."""

from collections.abc import Sequence

from analysis.cost.quantity import Quantity
from analysis.mixed_precision.optimize import Answer
from analysis.mixed_precision.pareto_front import Measured, prediction_error
from analysis.mixed_precision.proposal import Proposal
from analysis.network import Network
from analysis.prediction.predictor import Prediction
from analysis.runs.apply_recipe import title_of_pass
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import experiment_to_plain
from analysis.runs.json_values import plain_from_result
from analysis.runs.run_experiment import package_versions
from commands.json_answers.float_weights import list_float_weights
from commands.json_answers.plain_numbers import finite_or_none, interval_bounds
from commands.json_answers.run import metric_values
from quant.assignment import bits_by_part, cells_of_config
from quant.simulation.plan import Side


def summarize_optimum(answer: Answer, network: Network) -> dict[str, object]:
    """Return an answer for JSON; shares of 1, intervals of 95 % as [low, high]."""
    task, known = answer.task, answer.sensitivity
    runs = {one.proposal.name: one for one in answer.measured}
    return {
        "model": network.name,
        "model_digest": network.digest,
        "machine": task.machine.name,
        "budgets": [plain_from_result(budget) for budget in task.budgets],
        "least": task.least,
        "most_loss": task.most_loss,
        "recipe": [title_of_pass(step) for step in task.recipe],
        "sensitivity": {
            "depth": known.depth,
            "images": known.images,
            "bits": list(known.sweep.bits),
            "seconds": round(known.seconds, 3),
            "granularities": _known_granularities(answer, network),
        },
        "taught_by_runs": answer.taught,
        "choice": {
            **_proposal_values(answer.proposal, answer.reference, runs, network),
            "experiment": experiment_to_plain(_choice_experiment(answer, network)),
        },
        "reference": _proposal_values(answer.reference, answer.reference, runs, network),
        "front": _front_points(answer, network),
        "prediction_error": plain_from_result(prediction_error(answer.measured)) if runs else None,
        "float_weights": list_float_weights(network),
        "notes": list(answer.notes),
        "versions": package_versions(),
        "seed": task.seed,
    }


def _choice_experiment(answer: Answer, network: Network) -> Experiment:
    """Return the choice as an experiment, for the option `--experiment`."""
    task = answer.task
    chosen = Experiment(answer.proposal.config, task.machine, task.recipe, seed=task.seed)
    return chosen.with_name(answer.proposal.name).on_model_and_data(network.digest, "")


def _known_granularities(answer: Answer, network: Network) -> list[str]:
    """Return the granularities with known noise of weights."""
    swept = (answer.sensitivity, *answer.others)
    cells = (cell for known in swept for cell in cells_of_config(known.sweep.config, network.graph))
    return sorted({str(grain) for _, _, grain in cells if grain is not None})


def _front_points(answer: Answer, network: Network) -> list[dict[str, object]] | None:
    if answer.front is None:
        return None
    points: Sequence[Proposal] = (*answer.front.proposals, *answer.front.references)
    return [_proposal_values(point, answer.reference, {}, network) for point in points]


def _proposal_values(
    found: Proposal, reference: Proposal, runs: dict[str, Measured], network: Network
) -> dict[str, object]:
    bits = bits_by_part(found.config, network.graph)
    grains = {part: grain for part, _, grain in cells_of_config(found.config, network.graph)}
    layers = dict.fromkeys(layer for layer, _ in bits)
    return {
        "name": found.name,
        "config": found.config.to_dict(),
        "layers": [
            {
                "layer": layer,
                "weight_bits": bits.get((layer, Side.WEIGHTS)),
                "activation_bits": bits[layer, Side.ACTIVATIONS],
                "weight_granularity": grains.get((layer, Side.WEIGHTS)),
            }
            for layer in layers
        ],
        "predicted": _prediction_values(found.prediction),
        "cost": {str(quantity): quantity.value_in(found.cost) for quantity in Quantity},
        "of_reference": {
            str(quantity): quantity.value_in(found.cost)
            / (quantity.value_in(reference.cost) or 1.0)
            for quantity in Quantity
        },
        "proven": found.proven,
        "seconds": round(found.seconds, 3),
        "measured": _run_values(runs[found.name]) if found.name in runs else None,
    }


def _prediction_values(found: Prediction) -> dict[str, object]:
    return {
        "sqnr_db": finite_or_none(found.sqnr_db),
        "sqnr_ci95": interval_bounds(found.sqnr_ci95),
        "loss": found.loss,
        "loss_ci95": interval_bounds(found.loss_ci95),
        "loss_is_of": "top-1" if found.labelled else "agreement",
        "loss_is_against": "float",
    }


def _run_values(measured: Measured) -> dict[str, object]:
    score = measured.run.evaluation
    return {
        "data": measured.run.data,
        "samples": score.samples,
        "sqnr_db": finite_or_none(score.sqnr_db),
        "top1": score.quantized_top1,
        "float_top1": score.float_top1,
        "top1_drop": score.top1_drop,
        "top1_drop_ci95": interval_bounds(score.top1_drop_ci95),
        "agreement": score.agreement,
        "metric": metric_values(score),
        "cost": {str(quantity): quantity.value_in(measured.run.cost) for quantity in Quantity},
    }
