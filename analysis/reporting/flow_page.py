"""The flow of a diagnosis as shown in a report: steps with measurement, causes, conclusion."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.diagnosis.flow.contents import Diagnosis, FlowStep
from analysis.diagnosis.flow.goal import read_goal
from analysis.runs.run_store import Run
from plain_files.read_json import JsonObject

MOST_STEPS, MOST_CAUSES = 200, 80


@dataclass(frozen=True, slots=True)
class FlowLine:
    """A step of the flow; `measured` is text with the interval, `energy_pj` of one image."""

    stage: str
    name: str
    outcome: str
    sentence: str
    measured: str
    seconds: float
    energy_pj: float | None
    adopted: bool | None


@dataclass(frozen=True, slots=True)
class CauseLine:
    """A layer with the cause of its loss and the remedy; `points` of top-1 lost alone or None."""

    layer: str
    side: str
    cause: str
    evidence: str
    remedy: str
    points: float | None


@dataclass(frozen=True, slots=True)
class FlowPage:
    """A diagnosis in a report: the goal in words, the steps in order, the causes, the end.

    `noun` is the word for what one inference takes.
    """

    goal: str
    met: bool
    sentence: str
    advice: str
    steps: tuple[FlowLine, ...]
    causes: tuple[CauseLine, ...]
    noun: str = "image"


def flow_page_of(found: Diagnosis, run: Run) -> FlowPage | None:
    """Return the page of a diagnosis; None for a diagnosis of another model or other images."""
    if (found.experiment.model_digest, found.experiment.data_digest) != (
        run.model_digest,
        run.data_digest,
    ):
        return None
    return FlowPage(
        found.goal.in_words,
        found.met,
        found.sentence,
        found.advice,
        tuple(map(_line_of_step, found.steps)),
        tuple(
            CauseLine(one.layer, str(one.side), one.cause, one.evidence, one.remedy, one.points)
            for one in found.causes[:MOST_CAUSES]
        ),
        run.cost.noun,
    )


def read_diagnosis_answer(raw: object, run: Run) -> FlowPage:
    """Return the page of the JSON from the command diagnose.

    Raises:
        ValueError: the JSON is no diagnosis, or a diagnosis of another model or other images.
    """
    try:
        return _read_flow_page(dict(raw) if isinstance(raw, dict) else {}, run)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"A diagnosis must be the answer of diagnose; it is not ({error!r}). Make one with "
            "diagnose --json FILE."
        ) from None


def is_diagnosis_answer(raw: object) -> bool:
    """Return whether a JSON value is the answer of diagnose."""
    return isinstance(raw, dict) and {"steps", "causes", "goal", "experiment"} <= set(raw)


def _line_of_step(step: FlowStep) -> FlowLine:
    measured = "" if step.loss is None else step.loss.loss_text
    if step.loss is None and step.top1 is not None:
        measured = f"{100 * step.top1:.1f} % right"
    return FlowLine(
        str(step.stage),
        step.name,
        str(step.outcome),
        step.sentence,
        measured,
        step.seconds,
        step.energy_pj,
        step.adopted,
    )


def _read_flow_page(raw: JsonObject, run: Run) -> FlowPage:
    experiment = raw["experiment"]
    for key, word, own in (
        ("model_digest", "model", run.model_digest),
        ("data_digest", "images", run.data_digest),
    ):
        if experiment[key] != own:
            raise ValueError(
                f"A diagnosis must be of the run's {word}; got one of another ({word} digest "
                f"{str(experiment[key])[:12]}, the run's is {own[:12]}). Make it anew."
            )
    return FlowPage(
        read_goal(str(raw["goal"])).in_words,
        bool(raw["met"]),
        str(raw["sentence"]),
        str(raw["advice"]),
        tuple(map(_read_flow_line, raw["steps"][:MOST_STEPS])),
        tuple(
            CauseLine(
                str(one["layer"]),
                str(one["side"]),
                str(one["cause"]),
                str(one["evidence"]),
                str(one["remedy"]),
                _number_or_none(one["points"]),
            )
            for one in raw["causes"][:MOST_CAUSES]
        ),
        run.cost.noun,
    )


def _read_flow_line(step: JsonObject) -> FlowLine:
    adopted = step["adopted"]
    return FlowLine(
        str(step["stage"]),
        str(step["name"]),
        str(step["outcome"]),
        str(step["sentence"]),
        _measured_text(step["measured"], step["unit"], step["interval"]),
        float(step["seconds"]),
        _number_or_none(step["energy_pj"]),
        None if adopted is None else bool(adopted),
    )


def _measured_text(value: object, unit: object, interval: Sequence[float] | None) -> str:
    number = _number_or_none(value)
    if number is None:
        return ""
    bounds = "" if interval is None else f" (95 %: {interval[0]:z.2f} to {interval[1]:z.2f})"
    return f"{number:z.2f} {unit}{bounds}"


def _number_or_none(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
