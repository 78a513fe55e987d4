"""The outcome of a check as JSON, as JUnit XML and as Markdown."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from analysis.gate.decide import Decision, GateOutcome, join_outcomes
from analysis.network import Network
from analysis.runs.compare_runs import (
    LayerDifference,
    describe_run_change,
    differences_by_layer,
    with_distinct_names,
)
from analysis.runs.run_store import Run
from commands.gate.score_both import ScoredPair
from commands.json_answers.plain_numbers import finite_or_none, interval_bounds
from commands.json_answers.run import summarize_run

MOST_LAYERS = 10
"""Layers in the comparison of two runs, those whose SQNR changed most (our choice)."""
_CONTROL = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_MARKS = re.compile(r"([\\`*_{}\[\]<>#~$|&!@])")


def summarize_check(
    decisions: Sequence[Decision], scored: ScoredPair, network: Network
) -> dict[str, object]:
    """Return the outcome for JSON; values in shares of 1, dB, pJ, s and bytes, or multiples."""
    return {
        "outcome": join_outcomes(decisions).value,
        "against": None if scored.against is None else scored.against.name,
        "conditions": [
            {
                "condition": one.condition.text,
                "measure": one.condition.measure.value,
                "relative": one.condition.is_relative,
                "outcome": one.outcome.value,
                "sentence": one.decision_sentence,
                "value": finite_or_none(one.value),
                "limit": one.condition.limit,
                "interval": interval_bounds(one.interval),
                "confidence": None if one.interval is None else one.confidence,
                "source": one.source,
                "images": one.images or None,
                "more_images": one.more_images,
                "detectable_in_80_percent": one.detectable,
            }
            for one in decisions
        ],
        "run": summarize_run(scored.run, network, scored.notes),
    }


def write_outcome(
    decisions: Sequence[Decision], scored: ScoredPair, junit: Path | None, markdown: Path | None
) -> None:
    """Write the outcome to the named files."""
    if junit is not None:
        junit.write_text(outcome_as_junit(decisions, scored.run), encoding="utf-8")
    if markdown is not None:
        text = outcome_as_markdown(decisions, scored.run, scored.against)
        markdown.write_text(text, encoding="utf-8")


def outcome_as_junit(decisions: Sequence[Decision], run: Run) -> str:
    """Return JUnit XML: a test a condition; broken is a failure, undecided an error."""
    outcomes = [decision.outcome for decision in decisions]
    suite = ET.Element(
        "testsuite",
        name=_xml_text(f"QuantScope check of {run.name}"),
        tests=str(len(decisions)),
        failures=str(outcomes.count(GateOutcome.BROKEN)),
        errors=str(outcomes.count(GateOutcome.UNDECIDED)),
        time=f"{run.seconds:.3f}",
    )
    for decision in decisions:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=_xml_text(f"{run.model}.{run.name}"),
            name=_xml_text(decision.condition.text),
        )
        if decision.outcome is GateOutcome.HOLDS:
            ET.SubElement(case, "system-out").text = _xml_text(decision.decision_sentence)
        else:
            kind = "failure" if decision.outcome is GateOutcome.BROKEN else "error"
            ET.SubElement(
                case,
                kind,
                message=_xml_text(decision.decision_sentence),
                type=decision.outcome.value,
            )
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _xml_text(text: str) -> str:
    """Return text without the characters forbidden in XML."""
    return _CONTROL.sub("?", text)


def outcome_as_markdown(decisions: Sequence[Decision], run: Run, against: Run | None) -> str:
    """Return the outcome as Markdown, with the difference between two runs where there are two."""
    if against is not None:
        against, run = with_distinct_names(against, run)
    what = f"{_markdown_text(run.name)} of {_markdown_text(run.model)}"
    lines = [
        f"## QuantScope: {join_outcomes(decisions)}",
        "",
        f"{what} on {run.evaluation.samples} {run.cost.noun}s of {_markdown_text(run.data)}.",
        "",
        f"| fails if | outcome | measured | interval | more {run.cost.noun}s |",
        "|---|---|---|---|---|",
        *(_markdown_row(decision) for decision in decisions),
    ]
    if against is not None:
        lines += ["", f"### Against {_markdown_text(against.name)}", ""]
        lines += [f"- {_markdown_text(sentence)}" for sentence in describe_run_change(against, run)]
        lines += _layer_table(against, run)
    return "\n".join(lines) + "\n"


def _markdown_row(decision: Decision) -> str:
    say = decision.condition.in_unit
    ends = "none"
    if decision.interval is not None:
        share = f"{100 * decision.confidence:.4g} %"
        ends = f"{share}: {say(decision.interval.low)} to {say(decision.interval.high)}"
    more = "" if decision.more_images is None else f"about {decision.more_images}"
    cells = (decision.condition.text, decision.outcome, say(decision.value), ends, more)
    return f"| {' | '.join(_markdown_text(cell) for cell in cells)} |"


def _layer_table(before: Run, after: Run) -> Iterator[str]:
    """Yield the layers with the largest change of SQNR, in order of execution."""
    rows = [row for row in differences_by_layer(before, after) if _change_db(row) != 0]
    most = sorted(rows, key=_change_db, reverse=True)[:MOST_LAYERS]
    if not most:
        return
    yield from ("", "| layer | SQNR before, dB | SQNR after, dB |", "|---|---|---|")
    for row in rows:
        if row in most:
            layer = _markdown_text(row.layer)
            yield f"| {layer} | {row.sqnr_before_db:.1f} | {row.sqnr_after_db:.1f} |"


def _change_db(row: LayerDifference) -> float:
    """Return the size of a layer's change in dB; 0 without two finite SQNRs."""
    if row.sqnr_before_db is None or row.sqnr_after_db is None:
        return 0.0
    change = abs(row.sqnr_after_db - row.sqnr_before_db)
    return change if math.isfinite(change) else 0.0


def _markdown_text(text: str) -> str:
    """Return text that Markdown shows literally, without links, images, mentions or cells."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
