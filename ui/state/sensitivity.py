"""What the page Sensitivity asks and keeps, as plain values."""

from dataclasses import dataclass, field, replace

from analysis.diagnosis.try_remedy import RemedyTrial
from analysis.sensitivity.sweep import (
    DEFAULT_BITS,
    MEMORY_BYTES,
    Depth,
    Question,
    Sensitivity,
    Sweep,
    View,
)
from quant.config import LayerConfig, QuantConfig
from quant.simulation.plan import TENSOR_SIDES, Side

MIB = 2**20
IMAGES = 200
ANY_BITS = 8


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A question as a person puts it: how deep, which view, sides and bits, on how many images."""

    depth: Depth = Depth.SCREENING
    view: View = View.ONLY
    sides: tuple[Side, ...] = TENSOR_SIDES
    bits: tuple[int, ...] = DEFAULT_BITS
    images: int = IMAGES
    stop_when_decided: bool = False
    scheduler: str = ""
    memory_mib: int = MEMORY_BYTES // MIB

    def build_sweep(self, config: QuantConfig) -> Sweep:
        """Return the sweep over all layers, with the granularity and ranges of `config`."""
        return Sweep(
            config=config_without_bits(config),
            bits=self.bits,
            sides=self.sides,
            view=self.view,
            memory_bytes=self.memory_mib * MIB,
            stop_when_decided=self.stop_when_decided,
        )


def config_without_bits(config: QuantConfig) -> QuantConfig:
    """Return a configuration that differs from others only where a sweep can tell them apart.

    A sweep puts its own bits in their place, so a layer that is given 8 bits changes no answer.
    """
    default = LayerConfig(
        replace(config.default.weight, bits=ANY_BITS),
        replace(config.default.activation, bits=ANY_BITS),
    )
    rules = (
        replace(
            rule,
            weight=replace(rule.weight, bits=None, channel_bits=None),
            activation=replace(rule.activation, bits=None),
        )
        for rule in config.rules
    )
    kept = (rule for rule in rules if rule.weight.to_dict() or rule.activation.to_dict())
    return QuantConfig(default, tuple(kept))


@dataclass(eq=False)
class SensitivityWork:
    """Answers that are held in memory, and which repairs were tried.

    `asked` holds the last question about each model, `instant` the noise of single tensors, of
    which the question in `preparing` is being answered, `screened` what screening predicted.
    `paused` says that the person stopped the sweep to go on later, `finished`
    which question of which model ran to its end last.
    """

    asked: dict[str, SweepRequest] = field(default_factory=dict)
    screened: dict[str, Sensitivity] = field(default_factory=dict)
    trials: dict[tuple[str, Question], list[RemedyTrial]] = field(default_factory=dict)
    preparing: str = ""
    instant: dict[str, Sensitivity] = field(default_factory=dict)
    paused: bool = False
    finished: tuple[str, SweepRequest] | None = None
