"""A front as it is kept: what was chosen and predicted, without the networks and tables behind."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from accelerator.report import CostReport
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.pareto_front import Front
from analysis.mixed_precision.proposal import Proposal
from analysis.mixed_precision.search import BitSearch
from analysis.prediction.noise_table import Summed
from analysis.prediction.predictor import Prediction
from analysis.sensitivity.sweep import Sensitivity
from quant.config import config_from_dict


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A proposal: its configuration as `QuantConfig.to_dict` gives it, and its cost by quantity."""

    name: str
    config: dict[str, Any]
    costs: dict[str, float]
    summed: Summed
    prediction: Prediction
    proven: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FrontRecord:
    """A front on one machine; `eight` is what uniform 8 bits cost, by quantity."""

    model_digest: str
    data_digest: str
    machine: str
    quantity: Quantity
    proposals: tuple[FrontPoint, ...]
    references: tuple[FrontPoint, ...]
    eight: dict[str, float]


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """The fronts of one question, which is plain values, and the sensitivities behind them."""

    question: dict[str, Any]
    fronts: tuple[FrontRecord, ...]
    sensitivity: Sensitivity
    others: tuple[Sensitivity, ...] = ()


def record_front(
    front: Front, model_digest: str, data_digest: str, eight: CostReport
) -> FrontRecord:
    """Return what is kept of a front."""
    return FrontRecord(
        model_digest,
        data_digest,
        front.machine,
        front.quantity,
        tuple(map(_point, front.proposals)),
        tuple(map(_point, front.references)),
        _costs(eight),
    )


def restore_front(record: FrontRecord, search: BitSearch) -> Front:
    """Return the front of a record, priced and predicted anew by a search of its machine.

    Raises:
        ConfigError: a configuration does not fit the network.
    """
    return Front(
        record.machine,
        record.quantity,
        tuple(_judged(record.proposals, search)),
        tuple(_judged(record.references, search)),
    )


def _judged(points: Iterable[FrontPoint], search: BitSearch) -> Iterable[Proposal]:
    for point in points:
        found = search.judge(point.name, config_from_dict(point.config))
        yield replace(found, proven=point.proven, seconds=point.seconds)


def _point(found: Proposal) -> FrontPoint:
    return FrontPoint(
        found.name,
        found.config.to_dict(),
        _costs(found.cost),
        found.summed,
        found.prediction,
        found.proven,
        found.seconds,
    )


def _costs(report: CostReport) -> dict[str, float]:
    return {str(quantity): float(quantity.of(report)) for quantity in Quantity}
