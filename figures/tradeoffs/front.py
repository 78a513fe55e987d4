"""The best trade-offs: accuracy over cost, predicted and measured, by machine."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from accelerator.machine import machine_title
from analysis.cost.quantity import Quantity
from analysis.evaluation.measures import Interval
from analysis.mixed_precision.pareto_front import Measured
from analysis.mixed_precision.proposal import Proposal
from analysis.runs.experiment import name_of_recipe
from figures.style.error_bars import interval_bars, scaled_ends
from figures.style.layout import HALF_WIDTH, escape_markup, finish_figure, shorten_name
from figures.style.palette import AFTER, BEFORE, FLOAT, PREDICTED, with_opacity
from figures.style.point_labels import NO_PLACE, place_labels
from figures.style.units import bytes_scale, energy_scale, time_scale
from figures.tradeoffs.panel import Panel
from figures.tradeoffs.wording import (
    QualityScale,
    cost_name,
    cost_text,
    front_takeaway,
    quality_text,
)

PLOT_PX = 300
LOW_PX = 220  # height with several machines, so that the picked point below is in sight
SIGHT = 25.0  # visible points of accuracy below the best
NARROW = 40  # letters of a panel's name


def front_chart(
    panels: Sequence[Panel], scale: QualityScale, picked: tuple[str, str] | None = None
) -> go.Figure:
    """Return quality over cost: a machine in units, several machines as shares of uniform 8 bits.

    `picked` names a machine and a point. A clicked point's customdata holds machine and name.
    """
    count = len(panels)
    titles = [
        escape_markup(shorten_name(machine_title(panel.front.machine), NARROW)) for panel in panels
    ]
    figure = make_subplots(
        cols=count,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        column_titles=titles if count > 1 else None,
        shared_xaxes="all" if count > 1 else False,
    )
    for column, panel in enumerate(panels, start=1):
        factor, unit = _axis_unit(panel, several=count > 1)
        _PanelDrawing(figure, column, panel, scale, factor, count).draw_panel(picked)
        if count == 1:
            name = cost_name(panel.front.quantity, panel.front.proposals[0].cost.noun)
            figure.update_xaxes(title=f"{name} ({unit}), lower is better", col=column)
    if count > 1:  # panels side by side have room for one title
        quantity = str(panels[0].front.quantity).capitalize()
        figure.add_annotation(
            text=f"{quantity} (% of W8A8), lower is better",
            showarrow=False,
            font={"size": 13},
            x=0.5,
            xref="paper",
            xanchor="center",
            y=0,
            yref="paper",
            yanchor="top",
            yshift=-24,
        )
    if scale.float_top1 is not None:
        figure.add_hline(
            y=100 * scale.float_top1,
            line={"color": FLOAT, "width": 1, "dash": "dot"},
            annotation={"text": "float", "font": {"color": FLOAT}, "yanchor": "bottom"},
            annotation_position="bottom left",
        )
    figure.update_yaxes(title=scale.axis_title, col=1)
    _show_window(figure, _drawn_values(panels, scale), scale)
    figure.update_layout(clickmode="event+select")
    title = front_takeaway(panels, scale)
    if count > 1:
        return finish_figure(figure, title, LOW_PX, legend_below=True, subtitle_px=24)
    return finish_figure(figure, title, PLOT_PX, legend_below=True, title_width=HALF_WIDTH)


def _axis_unit(panel: Panel, *, several: bool) -> tuple[float, str]:
    """Return the factor of the axis and the unit."""
    if several:
        return 100 / panel.full_cost, "% of W8A8"
    quantity = panel.front.quantity
    most = max(quantity.value_in(proposal.cost) for proposal in panel.proposals)
    if quantity is Quantity.BOPS:
        return 1e-9, "G"
    steps = {Quantity.ENERGY: energy_scale, Quantity.LATENCY: time_scale}
    return steps.get(quantity, bytes_scale)(most)


def _drawn_values(panels: Sequence[Panel], scale: QualityScale) -> list[float]:
    """Return all drawn values."""
    values = [scale.predicted_value(p.prediction) for panel in panels for p in panel.proposals]
    values += [scale.measured_value(one.run) for panel in panels for one in panel.measured]
    return [value for value in values if value is not None]


def _show_window(figure: go.Figure, values: Sequence[float], scale: QualityScale) -> None:
    """Set the visible range; for accuracies, the top of the range."""
    if not values:
        return
    low, high = _visible_range(values, scale)
    if min(values) < low:
        below = sum(value < low for value in values)
        figure.add_annotation(
            text=f"{below} more below; a double click shows all",
            showarrow=False,
            x=1,
            xref="paper",
            xanchor="right",
            y=0,
            yref="paper",
            yanchor="bottom",
            font={"size": 11, "color": FLOAT},
        )
    figure.update_yaxes(range=[low, high])


def _visible_range(values: Sequence[float], scale: QualityScale) -> tuple[float, float]:
    """Return the visible range of values: the best values, up to float."""
    low, high = min(values), max(values)
    if scale.by_loss:
        low = max(low, high - SIGHT)
    if scale.float_top1 is not None:
        high = max(high, 100 * scale.float_top1)
    room = max(0.08 * (high - low), 0.5)
    return low - room, high + room


def _spaced_name(proposal: Proposal, place: str | None) -> str:
    """Return a point's name with a gap to the point, because a star may lie there; "" for None."""
    if place is None:
        return ""
    room = "\u00a0\u00a0"
    name = escape_markup(proposal.name)
    return (
        f"{name}{room}" if place.endswith("left") else f"{room}{name}" if "right" in place else name
    )


@dataclass(frozen=True, slots=True)
class _PanelDrawing:
    """One panel of `count`: a column, and the factor from cost to axis."""

    figure: go.Figure
    column: int
    panel: Panel
    scale: QualityScale
    factor: float
    count: int

    def draw_panel(self, picked: tuple[str, str] | None) -> None:
        """Add all traces; the most important traces last."""
        panel = self.panel
        self._add_prediction_band()
        self._add_proposal_points("Predicted front", panel.front.proposals, line=True)
        self._add_proposal_points("Uniform, predicted", panel.front.references, names=True)
        self._add_measured_points()
        if panel.answer is not None:
            look = {"symbol": "square", "size": 12, "color": PREDICTED}
            self._add_proposal_points("Answer", [panel.answer], marker=look)
        look = {
            "symbol": "star",
            "size": 15,
            "color": BEFORE,
            "line": {"color": AFTER, "width": 1.5},
        }
        self._add_proposal_points("Present configuration", [panel.present], marker=look)
        if picked is not None and picked[0] == panel.front.machine:
            self._add_picked_ring(picked[1])

    def _cost_position(self, proposal: Proposal) -> float:
        return self.factor * self.panel.front.quantity.value_in(proposal.cost)

    def _cost_bars(self, proposals: Sequence[Proposal]) -> dict[str, object] | None:
        """Return the intervals of costs; several panels show shares, whose errors are shared."""
        quantity = self.panel.front.quantity
        ends = [scaled_ends(quantity.interval_in(p.cost), self.factor) for p in proposals]
        if self.count > 1 or not any(ends):
            return None
        return interval_bars([self._cost_position(p) for p in proposals], ends, PREDICTED)

    def _add_proposal_points(
        self,
        name: str,
        proposals: Sequence[Proposal],
        *,
        marker: dict[str, object] | None = None,
        line: bool = False,
        names: bool = False,
    ) -> None:
        named = names and self.column == 1
        places = self._label_places(proposals) if named else []
        mode = "lines+markers" if line else "markers+text" if named else "markers"
        usual = {"size": 8, "color": FLOAT if names else PREDICTED}
        self.figure.add_scatter(
            name=name,
            legendgroup=name,
            showlegend=self.column == 1,
            mode=mode,
            x=[self._cost_position(p) for p in proposals],
            y=[self.scale.predicted_value(p.prediction) for p in proposals],
            text=list(map(_spaced_name, proposals, places)) if named else None,
            textposition=[place or NO_PLACE for place in places] if named else None,
            textfont={"size": 11, "color": FLOAT},
            line={"color": with_opacity(PREDICTED, 0.8), "width": 2},
            error_x=self._cost_bars(proposals) if marker is not None else None,
            marker=marker or {**usual, "symbol": "diamond" if names else "circle-open"},
            customdata=[[self.panel.front.machine, p.name, self._hover_text(p)] for p in proposals],
            hovertemplate="%{customdata[2]}<extra></extra>",
            row=1,
            col=self.column,
        )

    def _label_places(self, proposals: Sequence[Proposal]) -> list[str | None]:
        """Return the labels' positions, None without room; points out of sight are at the edge."""
        spots = [self._plot_position(p) for p in (*proposals, *self.panel.proposals)]
        count = len(proposals)
        others = [spot for spot in spots[count:] if spot not in spots[:count]]
        return place_labels(spots[:count], others, 0.055 * self.count)

    def _plot_position(self, proposal: Proposal) -> tuple[float, float]:
        """Return the position of a point as shares of the plot."""
        costs = [self._cost_position(p) for p in self.panel.proposals]
        values = _drawn_values([self.panel], self.scale)
        value = self.scale.predicted_value(proposal.prediction)
        low, high = _visible_range(values, self.scale) if values else (0.0, 1.0)
        across = (self._cost_position(proposal) - min(costs)) / ((max(costs) - min(costs)) or 1.0)
        up = 0.0 if value is None else (value - low) / ((high - low) or 1.0)
        return 0.05 + 0.9 * across, min(max(up, 0.0), 1.0)

    def _hover_text(self, proposal: Proposal) -> str:
        cost = cost_text(self.panel.front.quantity, proposal.cost, self.panel.full_cost)
        quality = quality_text(self.scale, proposal.prediction)
        repairs = name_of_recipe(proposal.recipe) or "no repair"
        name = escape_markup(proposal.name)
        return f"<b>{name}</b><br>{escape_markup(repairs)}<br>predicted {quality}<br>{cost}"

    def _add_prediction_band(self) -> None:
        """Shade the 95 % interval of the prediction along the front."""
        intervals = [
            (p, self.scale.predicted_interval(p.prediction)) for p in self.panel.front.proposals
        ]
        known = [(p, ends) for p, ends in intervals if ends is not None]
        if len(known) < 2:
            return
        costs = [self._cost_position(proposal) for proposal, _ in known]
        self.figure.add_scatter(
            name="95 % of the prediction",
            legendgroup="band",
            showlegend=self.column == 1,
            x=[*costs, *reversed(costs)],
            y=[*(ends.low for _, ends in known), *(ends.high for _, ends in reversed(known))],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=with_opacity(PREDICTED, 0.22),
            hoverinfo="skip",
            row=1,
            col=self.column,
        )

    def _add_measured_points(self) -> None:
        shown = [
            (one, value, self.scale.measured_interval(one.run) or Interval(value, value))
            for one in self.panel.runs
            if (value := self.scale.measured_value(one.run)) is not None
        ]
        if not shown:
            return
        even = [reference.config for reference in self.panel.front.references]
        self.figure.add_scatter(
            name="Measured",
            legendgroup="Measured",
            showlegend=self.column == 1,
            mode="markers",
            x=[self._cost_position(one.proposal) for one, _, _ in shown],
            y=[value for _, value, _ in shown],
            error_x=self._cost_bars([one.proposal for one, _, _ in shown]),
            error_y=interval_bars(
                [value for _, value, _ in shown],
                [(ends.low, ends.high) for _, _, ends in shown],
                PREDICTED,
            ),
            marker={
                "size": 8,
                "color": PREDICTED,
                "symbol": [
                    "triangle-up"
                    if one in self.panel.rounded
                    else "diamond"
                    if one.proposal.config in even
                    else "circle"
                    for one, _, _ in shown
                ],
            },
            customdata=[
                [self.panel.front.machine, one.proposal.name, self._measured_text(one)]
                for one, _, _ in shown
            ],
            hovertemplate="%{customdata[2]}<extra></extra>",
            row=1,
            col=self.column,
        )

    def _measured_text(self, one: Measured) -> str:
        repairs = name_of_recipe(one.proposal.recipe) or "no repair"
        return (
            f"<b>{escape_markup(one.proposal.name)}</b><br>{escape_markup(repairs)}<br>"
            f"measured {self.scale.run_text(one.run)}<br>"
            f"was predicted {quality_text(self.scale, one.proposal.prediction)}<br>"
            f"{cost_text(self.panel.front.quantity, one.proposal.cost, self.panel.full_cost)}"
        )

    def _add_picked_ring(self, name: str) -> None:
        points = [
            (self._cost_position(p), self.scale.predicted_value(p.prediction), p.name)
            for p in self.panel.proposals
        ]
        points += [
            (
                self._cost_position(one.proposal),
                self.scale.measured_value(one.run),
                one.proposal.name,
            )
            for one in self.panel.runs
        ]
        here = [(x, y) for x, y, other in points if other == name]
        self.figure.add_scatter(
            name="Picked",
            showlegend=False,
            mode="markers",
            hoverinfo="skip",
            x=[x for x, _ in here],
            y=[y for _, y in here],
            marker={"symbol": "circle-open", "size": 21, "color": FLOAT, "line": {"width": 2}},
            row=1,
            col=self.column,
        )
