"""One layer explained: cost and gain of every width in energy, traffic and accuracy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from accelerator.machine import Machine
from accelerator.report import CostReport, LayerCost
from analysis.cost.compare_configs import specs_by_part
from analysis.cost.estimate import estimate_config_cost
from analysis.cost.workload import Entropies
from analysis.mixed_precision.useful_bits import explain_machine_gains
from analysis.network import Network
from analysis.sensitivity.sweep import CellScore, Sensitivity, View
from quant.config import QuantConfig
from quant.errors import ConfigError
from quant.simulation.plan import TENSOR_SIDES, Side, plan_sites
from quant.spec import FLOAT_BITS, SpecChange

WIDTHS = (2, 3, 4, 5, 6, 8, 16, FLOAT_BITS)
REFERENCE_BITS = 8  # the reference for fewer bits


@dataclass(frozen=True, slots=True)
class Change:
    """The change of the whole network's cost for one image; negative for savings.

    The fields are differences to the present configuration: energy in pJ, latency in s, bits
    through DRAM and SRAM, bytes of weights, bytes of activations at the peak.
    """

    energy_pj: float
    latency_s: float
    dram_bits: int
    sram_bits: int
    weight_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Option:
    """One width for one side of the layer, with other settings unchanged.

    `score` is the accuracy of the network with only the layer quantized; None if unknown.
    """

    side: Side
    bits: int
    present: bool
    change: Change
    score: CellScore | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A layer with its bits, its own cost, and the change for every other width.

    `cost` is None for the network's input, which is no operation. `grid_of` names the layer whose
    encoding the output shares, or None; the owner's bits then count.
    """

    layer: str
    bits: Mapping[Side, int]
    encoding_owner: str | None
    cost: LayerCost | None
    network: CostReport
    options: tuple[Option, ...]
    gains: str

    def option_of_width(self, side: Side, bits: int) -> Option | None:
        """Return the option of one width, or None."""
        return next((o for o in self.options if o.side is side and o.bits == bits), None)


def explain_layer_bits(
    network: Network,
    config: QuantConfig,
    layer: str,
    machine: Machine,
    sensitivity: Sensitivity | None = None,
    known: Entropies | None = None,
    widths: Iterable[int] = WIDTHS,
) -> Explanation:
    """Return the cost and the gain of the bits of `layer`; runs no image.

    `sensitivity` adds the accuracy of each width of the layer alone, from a sweep in the view
    `only`. `known` caches weight entropies between calls.

    Raises:
        ConfigError: the network has no layer of the name, or a rule matches no layer.
    """
    specs = specs_by_part(network.graph, config)
    if (layer, Side.ACTIVATIONS) not in specs:
        raise ConfigError(
            f"A layer of {network.name} must be named; got {layer!r}. Pick one of the table."
        )
    owner = _encoding_owner(network, config, layer)
    present = estimate_config_cost(network, config, machine, known)
    bits = {side: specs[layer, side].bits for side in TENSOR_SIDES if (layer, side) in specs}
    options = []
    for side, now in bits.items():
        for width in sorted({*widths, REFERENCE_BITS, now}):
            changed = _change_layer_width(
                config, owner if side is Side.ACTIVATIONS else layer, side, width
            )
            report = (
                present if width == now else estimate_config_cost(network, changed, machine, known)
            )
            score = _find_cell_score(sensitivity, layer, side, width)
            options.append(
                Option(side, width, width == now, change_in_cost(present, report), score)
            )
    return Explanation(
        layer,
        bits,
        None if owner == layer else owner,
        next((item for item in present.layers if item.layer == layer), None),
        present,
        tuple(options),
        explain_machine_gains(machine),
    )


def change_in_cost(before: CostReport, after: CostReport) -> Change:
    """Return the cost of `after` minus the cost of `before`."""
    return Change(
        after.energy_pj - before.energy_pj,
        after.latency_s - before.latency_s,
        after.dram_bits - before.dram_bits,
        sum(x.sram_bits for x in after.layers) - sum(x.sram_bits for x in before.layers),
        after.weight_bytes - before.weight_bytes,
        after.peak_activation_bytes - before.peak_activation_bytes,
    )


def _encoding_owner(network: Network, config: QuantConfig, layer: str) -> str:
    """Return the layer that owns the encoding of the layer's output."""
    sites = {site.name: site for site in plan_sites(network.graph, config)}
    site = next(s for s in sites.values() if s.layer == layer and s.side is Side.ACTIVATIONS)
    while site.shared_with is not None:
        site = sites[site.shared_with]
    return site.layer


def _change_layer_width(config: QuantConfig, layer: str, side: Side, bits: int) -> QuantConfig:
    change = SpecChange(bits=bits)
    if side is Side.WEIGHTS:
        return config.with_layer_change(layer, weight=change)
    return config.with_layer_change(layer, activation=change)


def _find_cell_score(
    sensitivity: Sensitivity | None, layer: str, side: Side, bits: int
) -> CellScore | None:
    if sensitivity is None or sensitivity.sweep.view is not View.ONLY:
        return None
    for score in sensitivity.scores:
        question = score.question
        if (question.layer, question.side, question.bits) == (layer, side, bits):
            return score
    return None


def change_from_reference(
    explanation: Explanation, side: Side, reference: int = REFERENCE_BITS
) -> Change | None:
    """Return the cost of the present bits minus the cost of `reference` bits, or None."""
    other = explanation.option_of_width(side, reference)
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
