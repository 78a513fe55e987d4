"""A front as shown in a report: points of cost and loss, predicted and measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.cost.quantity import Quantity
from analysis.evaluation.measures import Interval
from analysis.mixed_precision.pareto_front import Front, Measured
from analysis.mixed_precision.pareto_record import FrontPoint, FrontRecord
from analysis.mixed_precision.proposal import Proposal
from analysis.runs.run_store import Run
from plain_files.read_json import JsonObject


@dataclass(frozen=True, slots=True)
class TradePoint:
    """One configuration: cost in the unit of the quantity, and loss.

    `loss` is a share of top-1 accuracy, or without labels of answers that agree with float; None
    where unknown. `sqnr_db` is the SQNR of the output.
    """

    name: str
    cost: float
    loss: float | None
    loss_ci95: Interval | None
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class TradeOff:
    """A predicted front, uniform references and measured points; `chosen` is the run or None.

    `noun` is the word for what one inference takes.
    """

    machine: str
    quantity: Quantity
    labelled: bool
    predicted: tuple[TradePoint, ...]
    references: tuple[TradePoint, ...]
    measured: tuple[TradePoint, ...]
    chosen: TradePoint | None = None
    noun: str = "image"


def trade_off_from_front(front: Front, chosen: Run, measured: Sequence[Measured] = ()) -> TradeOff:
    """Return a front with the chosen run.

    Raises:
        ValueError: the front belongs to another machine.
    """
    _check_machine(front.machine, chosen)
    labelled = all(p.prediction.labelled for p in front.proposals)
    return TradeOff(
        front.machine,
        front.quantity,
        labelled,
        tuple(_proposal_point(p, front.quantity) for p in front.proposals),
        tuple(_proposal_point(p, front.quantity) for p in front.references),
        tuple(
            replace(
                trade_point_of_run(one.run, front.quantity, labelled=labelled),
                cost=float(
                    front.quantity.value_in(one.proposal.cost)
                ),  # runs may be of other machines
            )
            for one in measured
            if one.run.id != chosen.id
        ),
        trade_point_of_run(chosen, front.quantity, labelled=labelled),
        chosen.cost.noun,
    )


def trade_off_from_record(record: FrontRecord, runs: Sequence[Run] = ()) -> TradeOff:
    """Return a stored front with the runs on its machine."""
    labelled = all(point.prediction.labelled for point in record.proposals)
    quantity = record.quantity
    return TradeOff(
        record.machine,
        quantity,
        labelled,
        tuple(_stored_point(point, quantity) for point in record.proposals),
        tuple(_stored_point(point, quantity) for point in record.references),
        tuple(
            trade_point_of_run(run, quantity, labelled=labelled)
            for run in runs
            if run.cost.machine == record.machine and run.data_digest == record.data_digest
        ),
        noun=next(
            (run.cost.noun for run in runs if run.model_digest == record.model_digest), "image"
        ),
    )


def _stored_point(point: FrontPoint, quantity: Quantity) -> TradePoint:
    said = point.prediction
    return TradePoint(point.name, point.costs[quantity], said.loss, said.loss_ci95, said.sqnr_db)


def trade_point_of_run(run: Run, quantity: Quantity, *, labelled: bool) -> TradePoint:
    """Return a measured run as a point."""
    found = run.evaluation
    loss: float | None
    spread: Interval | None
    if labelled:
        loss, spread = found.top1_drop, found.top1_drop_ci95
    else:
        loss = 1 - found.agreement
        spread = Interval(1 - found.agreement_ci95.high, 1 - found.agreement_ci95.low)
    return TradePoint(run.name, quantity.value_in(run.cost), loss, spread, found.sqnr_db)


def _proposal_point(found: Proposal, quantity: Quantity) -> TradePoint:
    said = found.prediction
    return TradePoint(
        found.name, quantity.value_in(found.cost), said.loss, said.loss_ci95, said.sqnr_db
    )


def read_optimize_answer(raw: object, chosen: Run) -> TradeOff:
    """Return the front in the JSON from the command `optimize --front`.

    Raises:
        ValueError: the JSON holds no front, or a front of another model or machine.
    """
    try:
        return _read_trade_off(dict(raw) if isinstance(raw, dict) else {}, chosen)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"A front must be the answer of optimize with --front; it is not ({error!r}). Make "
            "one with optimize --front 12 --json FILE."
        ) from None


def _read_trade_off(raw: JsonObject, chosen: Run) -> TradeOff:
    _check_machine(str(raw["machine"]), chosen)
    if raw["model_digest"] != chosen.model_digest:
        raise ValueError(
            f"A front must be of the run's model; got one of {raw['model']!r}, the run is of "
            f"{chosen.model!r}. Make it anew."
        )
    points, quantity = raw["front"], _read_quantity(raw)
    predicted = [
        _read_trade_point(item, quantity) for item in points if not _is_uniform_name(item["name"])
    ]
    references = [
        _read_trade_point(item, quantity) for item in points if _is_uniform_name(item["name"])
    ]
    labelled = all(item["predicted"]["loss_is_of"] == "top-1" for item in points)
    done = [item for item in (raw["choice"], raw["reference"]) if item["measured"]]
    measured = [_read_measured_point(item, quantity, labelled=labelled) for item in done]
    return TradeOff(
        str(raw["machine"]),
        quantity,
        labelled,
        tuple(sorted(predicted, key=lambda point: point.cost)),
        tuple(references),
        tuple(measured),
        trade_point_of_run(chosen, quantity, labelled=labelled),
        chosen.cost.noun,
    )


def _read_quantity(raw: JsonObject) -> Quantity:
    return Quantity(raw["least"] or raw["budgets"][0]["quantity"])


def _is_uniform_name(name: str) -> bool:
    return str(name).startswith("W")


def _read_trade_point(item: JsonObject, quantity: Quantity) -> TradePoint:
    said = item["predicted"]
    level = said["sqnr_db"]
    return TradePoint(
        str(item["name"]),
        float(item["cost"][quantity.value]),
        None if said["loss"] is None else float(said["loss"]),
        _read_interval(said["loss_ci95"]),
        math.inf if level is None else float(level),
    )


def _read_measured_point(item: JsonObject, quantity: Quantity, *, labelled: bool) -> TradePoint:
    found = item["measured"]
    loss = found["top1_drop"] if labelled else 1 - found["agreement"]
    return TradePoint(
        str(item["name"]),
        float(found["cost"][quantity.value]),
        None if loss is None else float(loss),
        _read_interval(found["top1_drop_ci95"]) if labelled else None,
        math.inf if found["sqnr_db"] is None else float(found["sqnr_db"]),
    )


def _read_interval(raw: Sequence[float | None] | None) -> Interval | None:
    if raw is None or raw[0] is None or raw[1] is None:
        return None
    return Interval(float(raw[0]), float(raw[1]))


def _check_machine(machine: str, chosen: Run) -> None:
    if machine != chosen.cost.machine:
        raise ValueError(
            f"A front must be of the run's machine; got {machine!r}, the run is on "
            f"{chosen.cost.machine!r}. Compute the front of that machine."
        )
