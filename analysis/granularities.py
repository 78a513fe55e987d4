"""Granularities of weights beside a configuration's own: what has to be swept to choose them."""

from dataclasses import replace

from analysis.sensitivity.sweep import Sweep
from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph
from quant.simulation.quant_graph import Side
from quant.spec import Granularity


def at_granularity(config: QuantConfig, granularity: Granularity) -> QuantConfig:
    """Return the configuration with all weights at one granularity."""
    default = replace(config.default.weight, granularity=granularity)
    changed = (
        replace(rule, weight=replace(rule.weight, granularity=None)) for rule in config.rules
    )
    rules = tuple(r for r in changed if r.weight.to_dict() or r.activation.to_dict())
    return QuantConfig(replace(config.default, weight=default), rules)


def other_sweeps(
    graph: FloatGraph, sweep: Sweep, allowed: tuple[Granularity, ...] | None
) -> tuple[Sweep, ...]:
    """Return sweeps of weights at each granularity allowed that `sweep` does not ask about.

    Grids of activations stay as they are.
    """
    chosen = sweep.config.resolve(graph.layers)
    weighted = [layer.name for layer in graph.layers if layer.weight is not None]
    own = {chosen[name].weight.granularity for name in weighted}
    return tuple(
        replace(sweep, config=at_granularity(sweep.config, granularity), sides=(Side.WEIGHTS,))
        for granularity in allowed or ()
        if own - {granularity}
    )
