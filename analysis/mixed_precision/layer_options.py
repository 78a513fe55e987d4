"""One layer explained: what its bits cost and save, in energy, traffic and accuracy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from accelerator.machine import Machine
from accelerator.report import CostReport, LayerCost
from analysis.cost.compare_configs import specs_by_part
from analysis.cost.estimate import cost
from analysis.cost.workload import Entropies
from analysis.mixed_precision.useful_bits import explain_gains
from analysis.network import Network
from analysis.sensitivity.sweep import CellScore, Sensitivity, View
from quant.config import QuantConfig
from quant.errors import ConfigError
from quant.simulation.plan import Role, Side, plan
from quant.spec import FLOAT_BITS, SpecChange

WIDTHS = (2, 3, 4, 5, 6, 8, 16, FLOAT_BITS)
USUAL = 8  # what fewer bits are measured against
SIDES = (Side.WEIGHTS, Side.ACTIVATIONS)


@dataclass(frozen=True, slots=True)
class Change:
    """What the whole network would cost and save for one image; below 0 is saved.

    Everything is a difference against the configuration at hand: energy in pJ, latency in s,
    bits through DRAM, bytes of weights and of activations at their peak.
    """

    energy_pj: float
    latency_s: float
    dram_bits: int
    sram_bits: int
    weight_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Option:
    """One width for one side of the layer, all else as it is.

    `score` says what the layer alone costs in accuracy there; None where that is not known.
    """

    side: Side
    bits: int
    present: bool
    change: Change
    score: CellScore | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A layer with its bits, its own cost, and what every other width would change.

    `cost` is None for the network's input, which is no operation. `grid_of` names the layer whose
    grid the output takes over, if not its own; its bits are then chosen there.
    """

    layer: str
    bits: Mapping[Side, int]
    grid_of: str | None
    cost: LayerCost | None
    network: CostReport
    options: tuple[Option, ...]
    gains: str

    def option(self, side: Side, bits: int) -> Option | None:
        """Return what is known of one width."""
        return next((o for o in self.options if o.side is side and o.bits == bits), None)


def explain_layer(
    network: Network,
    config: QuantConfig,
    layer: str,
    machine: Machine,
    sensitivity: Sensitivity | None = None,
    known: Entropies | None = None,
    widths: Iterable[int] = WIDTHS,
) -> Explanation:
    """Return what the bits of `layer` cost and save; runs no image.

    `sensitivity` gives what each width of the layer alone costs in accuracy, where it was asked in
    the view `only`. `known` keeps weight entropies between calls.

    Raises:
        ConfigError: the network has no such layer, or a rule matches none.
    """
    specs = specs_by_part(network.graph, config)
    if (layer, Side.ACTIVATIONS) not in specs:
        raise ConfigError(
            f"A layer of {network.name} must be named; got {layer!r}. Pick one of the table."
        )
    owner = _owner(network, config, layer)
    present = cost(network, config, machine, known)
    bits = {side: specs[layer, side].bits for side in SIDES if (layer, side) in specs}
    options = []
    for side, now in bits.items():
        for width in sorted({*widths, USUAL, now}):
            changed = _with_width(config, owner if side is Side.ACTIVATIONS else layer, side, width)
            report = present if width == now else cost(network, changed, machine, known)
            score = _score(sensitivity, layer, side, width)
            options.append(Option(side, width, width == now, change_of(present, report), score))
    return Explanation(
        layer,
        bits,
        None if owner == layer else owner,
        next((item for item in present.layers if item.layer == layer), None),
        present,
        tuple(options),
        explain_gains(machine),
    )


def change_of(before: CostReport, after: CostReport) -> Change:
    """Return what the second costs more than the first."""
    return Change(
        after.energy_pj - before.energy_pj,
        after.latency_s - before.latency_s,
        after.dram_bits - before.dram_bits,
        sum(x.sram_bits for x in after.layers) - sum(x.sram_bits for x in before.layers),
        after.weight_bytes - before.weight_bytes,
        after.peak_activation_bytes - before.peak_activation_bytes,
    )


def _owner(network: Network, config: QuantConfig, layer: str) -> str:
    """Return the layer whose output's grid this one's is."""
    sites = {site.name: site for site in plan(network.graph, config)}
    site = next(s for s in sites.values() if s.layer == layer and s.role is Role.ACTIVATION)
    while site.shared_with is not None:
        site = sites[site.shared_with]
    return site.layer


def _with_width(config: QuantConfig, layer: str, side: Side, bits: int) -> QuantConfig:
    change = SpecChange(bits=bits)
    if side is Side.WEIGHTS:
        return config.with_change(layer, weight=change)
    return config.with_change(layer, activation=change)


def _score(found: Sensitivity | None, layer: str, side: Side, bits: int) -> CellScore | None:
    if found is None or found.sweep.view is not View.ONLY:
        return None
    for score in found.scores:
        asked = score.question
        if (asked.layer, asked.side, asked.bits) == (layer, side, bits):
            return score
    return None


def saved_against(found: Explanation, side: Side, reference: int = USUAL) -> Change | None:
    """Return what the present bits cost beyond those of `reference`; None without that side."""
    other = found.option(side, reference)
    if other is None:
        return None
    back = other.change
    return Change(
        -back.energy_pj,
        -back.latency_s,
        -back.dram_bits,
        -back.sram_bits,
        -back.weight_bytes,
        -back.peak_bytes,
    )
