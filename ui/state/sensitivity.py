"""The question and the results of the page Sensitivity, as plain values."""

from dataclasses import dataclass, field, replace

from analysis.diagnosis.try_remedy import RemedyTrial
from analysis.sensitivity.exact.most_harmful import MostHarmful
from analysis.sensitivity.memory_limit import MEMORY_BYTES
from analysis.sensitivity.sweep import (
    DEFAULT_BITS,
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
    """A question to a sweep: depth, view, sides, bits, and the number of images.

    `most_harmful` asks for so many layers alone, proven at the fewest bits; 0 asks for all scores.
    """

    depth: Depth = Depth.SCREENING
    view: View = View.ONLY
    sides: tuple[Side, ...] = TENSOR_SIDES
    bits: tuple[int, ...] = DEFAULT_BITS
    images: int = IMAGES
    stop_when_decided: bool = False
    scheduler: str = ""
    memory_mib: int = MEMORY_BYTES // MIB
    most_harmful: int = 0

    @property
    def seeks_most_harmful(self) -> bool:
        """Whether a proof is asked for; it needs exact answers of layers quantized alone."""
        return self.most_harmful > 0 and (self.depth, self.view) == (Depth.EXACT, View.ONLY)

    def build_sweep(self, config: QuantConfig) -> Sweep:
        """Return the sweep over the layers, with the granularity and the ranges of `config`."""
        return Sweep(
            config=config_without_bits(config),
            bits=self.bits,
            sides=self.sides,
            view=self.view,
            memory_bytes=self.memory_mib * MIB,
            stop_when_decided=self.stop_when_decided,
        )


def config_without_bits(config: QuantConfig) -> QuantConfig:
    """Return the configuration with a fixed width, so that a new width is no new question.

    A sweep replaces the bits of the configuration, so the bits of a layer change no score.
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
    """Scores in memory, and the tried repairs.

    `asked` holds the last question about a model, `instant` the noise of single tensors,
    `preparing` the question of the running measurement of noise, and `screened` the scores of
    screening. `paused` tells that the user stopped the sweep in order to go on later. `finished`
    holds the model and the question of the last finished sweep, `proven` the most harmful layers
    by the question.
    """

    asked: dict[str, SweepRequest] = field(default_factory=dict)
    screened: dict[str, Sensitivity] = field(default_factory=dict)
    trials: dict[tuple[str, Question], list[RemedyTrial]] = field(default_factory=dict)
    preparing: str = ""
    instant: dict[str, Sensitivity] = field(default_factory=dict)
    paused: bool = False
    finished: tuple[str, SweepRequest] | None = None
    proven: dict[str, tuple[MostHarmful, ...]] = field(default_factory=dict)
