"""The widths at which the weights of a network stay on chip."""

from dataclasses import dataclass

from accelerator.machine import Machine, Residency
from analysis.cost.estimate import estimate_config_cost
from analysis.network import Network
from quant.assignment import config_with_bits
from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Side, plan_sites
from quant.spec import FLOAT_BITS

STEPS = (16, 8, 7, 6, 5, 4, 3, 2)
"""Widths of weights that are tried, widest first."""


@dataclass(frozen=True, slots=True)
class ResidencyStep:
    """The present residency of weights, and the widest width at which every weight stays on chip.

    `needed_bytes` and `room_bytes` belong to the present configuration; `widest_bits` is None if no
    width suffices.
    """

    fits_now: bool
    needed_bytes: int
    room_bytes: int
    layers_stay: int
    layers: int
    widest_bits: int | None

    def residency_sentence(self) -> str:
        """Say the step in one sentence."""
        room = f"{self.needed_bytes / 1024:.0f} of {self.room_bytes / 1024:.0f} KiB"
        if self.fits_now:
            return f"All weights fit on chip ({room}): no DRAM traffic for weights."
        now = (
            f"Weights need {room} on chip: those of {self.layers_stay} of {self.layers} layers "
            "stay, the others come from DRAM for each inference."
        )
        if self.widest_bits is None:
            return f"{now} They do not fit at any width."
        return f"{now} At {self.widest_bits} bits all weights fit: no DRAM traffic."


def find_residency_step(
    network: Network, config: QuantConfig, machine: Machine
) -> ResidencyStep | None:
    """Return the residency of weights; None for a machine without resident weights.

    The search gives the quantized weights one common width; other choices stay.
    """
    if machine.weights_resident is Residency.NEVER:
        return None
    fits, needed, stay, layers = _weight_residency(network, config, machine)
    if not layers:
        return None
    widest = None
    if not fits:
        for bits in STEPS:
            if _weight_residency(network, _config_at_bits(network.graph, config, bits), machine)[0]:
                widest = bits
                break
    return ResidencyStep(fits, needed, machine.weight_room_bytes, stay, layers, widest)


def _weight_residency(
    network: Network, config: QuantConfig, machine: Machine
) -> tuple[bool, int, int, int]:
    """Return (whether the weights fit, needed bytes, layers resident, layers with weights)."""
    weighted = [
        x for x in estimate_config_cost(network, config, machine).layers if x.weight_room_bits
    ]
    bits = sum(layer.weight_room_bits for layer in weighted)
    fits = bits <= 8 * machine.weight_room_bytes
    return fits, -(-bits // 8), sum(layer.weights_stay for layer in weighted), len(weighted)


def _config_at_bits(graph: FloatGraph, config: QuantConfig, bits: int) -> QuantConfig:
    parts = {
        (site.layer, Side.WEIGHTS): bits
        for site in plan_sites(graph, config)
        if site.side is Side.WEIGHTS and site.spec.bits != FLOAT_BITS
    }
    return config_with_bits(config, graph, parts)
