"""A front as stored: choices and predictions, without networks and tables."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from accelerator.report import CostReport
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.pareto_front import Front
from analysis.mixed_precision.proposal import Proposal
from analysis.mixed_precision.search import BitSearch
from analysis.prediction.noise_table import NoiseSum
from analysis.prediction.predictor import Prediction
from analysis.sensitivity.sweep import Sensitivity
from quant.config import config_from_dict


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A proposal: the configuration as from `QuantConfig.to_dict`, and the cost by quantity."""

    name: str
    config: dict[str, Any]
    costs: dict[str, float]
    summed: NoiseSum
    prediction: Prediction
    proven: bool = False
    seconds: float = 0.0


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
    """The fronts of one question, which consists of plain values, with the sensitivities behind."""

    question: dict[str, Any]
    fronts: tuple[FrontRecord, ...]
    sensitivity: Sensitivity
    others: tuple[Sensitivity, ...] = ()


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


def restore_front(record: FrontRecord, search: BitSearch) -> Front:
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


def _judge_front_points(points: Iterable[FrontPoint], search: BitSearch) -> Iterable[Proposal]:
    for point in points:
        proposal = search.judge_config(point.name, config_from_dict(point.config))
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
    )


def _cost_by_quantity(report: CostReport) -> dict[str, float]:
    return {str(quantity): float(quantity.value_in(report)) for quantity in Quantity}
