"""A front as stored: choices and predictions, without networks and tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from accelerator.report import CostReport
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.pareto_front import Front
from analysis.mixed_precision.proposal import Proposal
from analysis.mixed_precision.recipe_noise import (
    RecipeNoise,
    RecipeNoiseRecord,
    TrialRecord,
    record_noise,
)
from analysis.mixed_precision.recipe_search import RecipeSearch
from analysis.prediction.noise_table import NoiseSum
from analysis.prediction.predictor import Prediction
from analysis.runs.experiment_file import pass_to_plain, recipe_from_plain
from analysis.sensitivity.sweep import Sensitivity
from plain_files.read_json import JsonObject
from quant.assignment import cells_of_config
from quant.config import config_from_dict


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A proposal: the configuration in the form of `QuantConfig.to_dict`, and the cost by quantity.

    `recipe` holds the repairs in the form of `pass_to_plain`.
    """

    name: str
    config: JsonObject
    costs: dict[str, float]
    summed: NoiseSum
    prediction: Prediction
    proven: bool = False
    seconds: float = 0.0
    recipe: tuple[JsonObject, ...] = ()


@dataclass(frozen=True, slots=True)
class FrontRecord:
    """A front on one machine; `eight` is the cost of uniform 8 bits, by quantity."""

    model_digest: str
    data_digest: str
    machine: str
    quantity: Quantity
    proposals: tuple[FrontPoint, ...]
    references: tuple[FrontPoint, ...]
    eight: dict[str, float]


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """The fronts of one question in plain values, with the sensitivities.

    `sensitivity`, `others` and `trials` belong to the first recipe, `recipe`; `repaired` holds the
    sensitivities and trials under the recipes after the first.
    """

    question: JsonObject
    fronts: tuple[FrontRecord, ...]
    sensitivity: Sensitivity
    others: tuple[Sensitivity, ...] = ()
    recipe: tuple[JsonObject, ...] = ()
    repaired: tuple[RecipeNoiseRecord, ...] = ()
    trials: tuple[TrialRecord, ...] = ()


def record_question(
    question: JsonObject, fronts: Iterable[FrontRecord], noises: Sequence[RecipeNoise]
) -> FoundRecord:
    """Return the storable record of the fronts of a question, with the noise."""
    first, *rest = map(record_noise, noises)
    return FoundRecord(
        question,
        tuple(fronts),
        first.sensitivity,
        first.others,
        first.recipe,
        tuple(rest),
        first.trials,
    )


def noise_records(record: FoundRecord) -> tuple[RecipeNoiseRecord, ...]:
    """Return the noise records under the recipes of a question, in order."""
    first = RecipeNoiseRecord(record.recipe, record.sensitivity, record.others, record.trials)
    return (first, *record.repaired)


def record_front(
    front: Front, model_digest: str, data_digest: str, eight: CostReport
) -> FrontRecord:
    """Return the storable record of a front."""
    return FrontRecord(
        model_digest,
        data_digest,
        front.machine,
        front.quantity,
        tuple(map(_record_front_point, front.proposals)),
        tuple(map(_record_front_point, front.references)),
        _cost_by_quantity(eight),
    )


def restore_front(record: FrontRecord, search: RecipeSearch) -> Front:
    """Return the front of a record, priced and predicted anew by a search of the record's machine.

    Raises:
        ConfigError: a configuration does not fit the network.
    """
    return Front(
        record.machine,
        record.quantity,
        tuple(_judge_front_points(record.proposals, search)),
        tuple(_judge_front_points(record.references, search)),
    )


def _judge_front_points(points: Iterable[FrontPoint], search: RecipeSearch) -> Iterable[Proposal]:
    for point in points:
        recipe = recipe_from_plain(list(point.recipe))
        own, config = search.search_with(recipe), config_from_dict(point.config)
        if own is not None and point.summed.trial is not None:
            own.table.trials[cells_of_config(config, own.network.graph)] = point.summed.trial
        proposal = search.judge_config(point.name, config, recipe)
        yield replace(proposal, proven=point.proven, seconds=point.seconds)


def _record_front_point(proposal: Proposal) -> FrontPoint:
    return FrontPoint(
        proposal.name,
        proposal.config.to_dict(),
        _cost_by_quantity(proposal.cost),
        proposal.summed,
        proposal.prediction,
        proposal.proven,
        proposal.seconds,
        tuple(map(pass_to_plain, proposal.recipe)),
    )


def _cost_by_quantity(report: CostReport) -> dict[str, float]:
    return {str(quantity): float(quantity.value_in(report)) for quantity in Quantity}
