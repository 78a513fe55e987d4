"""Sentences on the gain of fewer weight bits, layer by layer: cycles, memory and energy."""

from collections.abc import Sequence
from dataclasses import dataclass

from accelerator.machine import machine_title
from accelerator.report import CostReport, LayerCost

MOST_NAMES = 3
"""Layers that a sentence names (our choice)."""


@dataclass(frozen=True, slots=True)
class SparedBits:
    """A layer with fewer weight bits than in another configuration: the gain of the layer.

    `cycles` are of computing, `stored_bytes` of the weights in memory, `energy_pj` of an inference;
    each is the cost before less the cost after.
    """

    layer: str
    cycles: int
    stored_bytes: float
    energy_pj: float


def find_spared_bits(before: CostReport, after: CostReport) -> tuple[SparedBits, ...]:
    """Return the layers whose weights are asked at fewer bits in `after` than in `before`."""
    old = {layer.layer: layer for layer in before.layers}
    return tuple(
        _gain_of_layer(old[layer.layer], layer)
        for layer in after.layers
        if layer.layer in old
        and 0 < layer.requested_weight_bits < old[layer.layer].requested_weight_bits
    )


def explain_spared_bits(before: CostReport, after: CostReport) -> tuple[str, ...]:
    """Say how many of the layers with fewer weight bits gain cycles; empty where no bits go.

    The layers that gain no cycle are named, with the memory and the energy that they gain.
    """
    spared = find_spared_bits(before, after)
    if not spared:
        return ()
    idle = [one for one in spared if one.cycles <= 0]
    gained = sum(one.cycles for one in spared if one.cycles > 0)
    share = gained / before.cycles if before.cycles else 0.0
    first = (
        f"On {machine_title(after.machine)}, fewer weight bits gain cycles in "
        f"{len(spared) - len(idle)} of {len(spared)} layers, {100 * share:.1f} % of the network's."
    )
    if not idle:
        return (first,)
    stored = sum(one.stored_bytes for one in idle)
    energy = sum(one.energy_pj for one in idle) / before.energy_pj
    gain = f"only {stored:,.0f} bytes of memory and {100 * energy:.1f} % of the energy"
    if stored < 1 and energy <= 0:
        gain = "no memory and no energy"
    return (f"{first} In {_name_layers(idle)} they gain no cycles, {gain}.",)


def _gain_of_layer(before: LayerCost, after: LayerCost) -> SparedBits:
    return SparedBits(
        after.layer,
        before.cycles - after.cycles,
        (before.weight_room_bits - after.weight_room_bits) / 8,
        before.energy.total_pj - after.energy.total_pj,
    )


def _name_layers(layers: Sequence[SparedBits]) -> str:
    """Return the names of up to `MOST_NAMES` layers, and the number of the others.

    >>> _name_layers([SparedBits(name, 0, 0.0, 0.0) for name in "abcde"])
    'a, b, c and 2 more layers'
    """
    named = [one.layer for one in layers[:MOST_NAMES]]
    others = len(layers) - len(named)
    if others:
        return f"{', '.join(named)} and {others} more layer{'s' if others > 1 else ''}"
    return " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))
