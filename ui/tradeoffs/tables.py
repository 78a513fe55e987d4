"""The points of a front as a table."""

from collections.abc import Sequence

import pandas as pd

from analysis.mixed_precision.pareto_front import Measured
from analysis.mixed_precision.proposal import Proposal
from analysis.network import Network
from analysis.runs.experiment import name_of_recipe
from figures.style.units import format_bytes, format_energy, format_time
from figures.tradeoffs.panel import Panel
from figures.tradeoffs.wording import QualityScale, quality_text
from quant.assignment import Cell, bits_by_part, cells_of_config
from quant.passes.recipe import Recipe
from quant.simulation.plan import Side

Choice = tuple[tuple[Cell, ...], Recipe]


def named_points(panel: Panel) -> list[Proposal]:
    """Return the points to pick from: the present point, the answer, predictions, runs."""
    answer = () if panel.answer is None else (panel.answer,)
    runs = (one.proposal for one in (*panel.measured, *panel.rounded))
    return [panel.present, *answer, *panel.front.proposals, *panel.front.references, *runs]


def choice_of(network: Network, proposal: Proposal) -> Choice:
    """Return the identity of a configuration: bits, granularities and repairs."""
    return cells_of_config(proposal.config, network.graph), proposal.recipe


def pickable_points(network: Network, panel: Panel) -> list[Proposal]:
    """Return one point a configuration, by rising cost."""
    unique: dict[Choice, Proposal] = {}
    for point in named_points(panel):
        unique.setdefault(choice_of(network, point), point)
    return sorted(unique.values(), key=lambda point: panel.front.quantity.value_in(point.cost))


def front_table(
    network: Network,
    panel: Panel,
    points: Sequence[Proposal],
    runs: Sequence[Measured | None],
    scale: QualityScale,
) -> pd.DataFrame:
    """Return a row for each point: predicted and measured quality, costs, mean bits."""
    quantity = panel.front.quantity
    eight = panel.eight[quantity]
    return pd.DataFrame(
        [
            {
                "name": point.name,
                f"predicted {scale.unit}": quality_text(scale, point.prediction),
                f"measured {scale.unit}": "" if run is None else scale.run_text(run.run),
                f"{quantity} % of W8A8": round(100 * quantity.value_in(point.cost) / eight, 1),
                "repairs": name_of_recipe(point.recipe) or "none",
                "energy": format_energy(point.cost.energy_pj),
                "latency": format_time(point.cost.latency_s),
                "weights": format_bytes(point.cost.weight_bytes),
                "peak memory": format_bytes(point.cost.peak_activation_bytes),
                "mean W bits": _mean_bits(network, point, Side.WEIGHTS),
                "mean A bits": _mean_bits(network, point, Side.ACTIVATIONS),
            }
            for point, run in zip(points, runs, strict=True)
        ]
    )


def _mean_bits(network: Network, point: Proposal, side: Side) -> float | None:
    """Return the mean width over layers of one side."""
    found = bits_by_part(point.config, network.graph)
    widths = [bits for (_, other), bits in found.items() if other is side]
    return round(sum(widths) / len(widths), 1) if widths else None
