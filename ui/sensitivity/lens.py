"""What is in sight on the page Sensitivity: metric, side, width and layer."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from analysis.sensitivity.ranking import (
    HarmMetric,
    available_metrics,
    rank_scores,
    value_in_metric,
)
from analysis.sensitivity.sweep import CellScore, Question, Sensitivity
from figures.sensitivity.wording import metric_name
from quant.simulation.plan import Side
from ui.sensitivity.form import ROLES
from ui.state.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Lens:
    """The cell in sight: metric, side, width and layer; `layers` are the layers to pick from."""

    metric: HarmMetric
    side: Side
    bits: int
    layers: tuple[str, ...]
    picked: str

    @property
    def question(self) -> tuple[str, int, Side]:
        """The layer, bits and side in sight."""
        return self.picked, self.bits, self.side


def choose_lens(
    workspace: Workspace, found: Sensitivity, asked: Sequence[Question], *, whole: bool = False
) -> Lens:
    """Show the switches of metric, side and width; return the choice with the layer in sight.

    The metric starts with accuracy if a cell has an accuracy; with `whole`, if all cells do.
    """
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    metrics, sides, widths = (
        available_metrics(found) or [HarmMetric.SQNR],
        found.sweep.sides,
        found.sweep.bits,
    )
    first: HarmMetric = HarmMetric.AGREEMENT if metrics[0] is HarmMetric.SQNR else metrics[0]
    if whole and any(value_in_metric(score, first) is None for score in found.scores):
        first = HarmMetric.SQNR
    metric = row.segmented_control(
        "Metric",
        metrics,
        default=first if first in metrics else metrics[0],
        required=True,
        key=f"sensitivity.metric.{len(metrics)}{'.whole' if whole else ''}",
        persist_state="session",
        format_func=lambda metric: metric_name(metric, found.depth),
    )
    side = row.segmented_control(
        "Side",
        sides,
        default=sides[0],
        required=True,
        format_func=ROLES.__getitem__,
        key=side_key(sides),
        persist_state="session",
    )
    present = present_width(workspace, widths, side or sides[0])
    bits = row.segmented_control(
        "Width",
        widths,
        default=present,
        required=True,
        format_func=lambda bits: f"{bits} bit",
        key=width_key(workspace, widths, side or sides[0]),
        persist_state="session",
    )
    metric, side, bits = metric or metrics[0], side or sides[0], bits or present
    layers = tuple(dict.fromkeys(q.layer for q in asked if q.side is side))
    seen = workspace.picked.layer
    if seen not in layers:  # the worst, until somebody picks
        worst = scores_by_harm(found, metric, side, bits)
        seen = worst[0].question.layer if worst else layers[0]
    return Lens(metric, side, bits, layers, seen)


def present_width(workspace: Workspace, widths: Sequence[int], side: Side) -> int:
    """Return the width in sight at first: of `widths` the nearest to the experiment's bits.

    Where layers differ in bits, the width of most layers counts; of a float side, the smallest.
    """
    network, config = workspace.network, workspace.config
    if network is None:
        configs = [config.default]
    else:
        resolved = config.resolve_layers(network.graph.layers)
        weighted = [layer.name for layer in network.graph.layers if layer.weight is not None]
        names = list(resolved) if side is Side.ACTIVATIONS else weighted
        configs = [resolved[name] for name in names]
    specs = [one.activation if side is Side.ACTIVATIONS else one.weight for one in configs]
    counts = Counter(spec.bits for spec in specs if not spec.is_float)
    if not counts:
        return min(widths)
    bits, _ = counts.most_common(1)[0]
    return min(widths, key=lambda width: (abs(width - bits), width))


def side_key(sides: Sequence[Side]) -> str:
    """Return the key of the switch of sides."""
    return f"sensitivity.side.{'.'.join(sides)}"


def width_key(workspace: Workspace, widths: Sequence[int], side: Side) -> str:
    """Return the key of the switch of widths; another experiment's bits begin anew."""
    present = present_width(workspace, widths, side)
    return f"sensitivity.width.{present}.{'.'.join(map(str, widths))}"


def scores_by_harm(
    found: Sensitivity, metric: HarmMetric, side: Side, bits: int
) -> list[CellScore]:
    """Return the scores, the most harmful first; scores without the metric follow, by SQNR."""
    first = rank_scores(found, metric, side, bits)
    known = {score.question for score in first}
    others = rank_scores(found, HarmMetric.SQNR, side, bits)
    return first + [score for score in others if score.question not in known]
