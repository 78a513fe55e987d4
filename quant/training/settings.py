"""Settings of a training: method, length, rates, loss; frozen, and part of the result's name."""

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from quant.errors import QuantError

SMALLEST_BATCH = 2


class TrainingError(QuantError):
    """A training cannot start, or stopped before the end."""


class TrainingMethod(StrEnum):
    """The way of weights from float to quantized."""

    LEARNED_STEP = "learned-step"
    ALPHA_BLEND = "alpha-blend"
    NEURON_WIDTHS = "neuron-widths"


class LossKind(StrEnum):
    """The minimized quantity: error at the labels, distance to the float network, or both."""

    LABELS = "labels"
    DISTIL = "distil"
    BOTH = "both"


class NormHandling(StrEnum):
    """Treatment of folded batch norms: folded throughout, or trained and folded again."""

    FOLDED = "folded"
    KEPT = "kept"


class OptimizerKind(StrEnum):
    """The rule from gradients to steps."""

    ADAM = "adam"
    SGD = "sgd"


class BlendGradient(StrEnum):
    """The gradient passed on by a blended weight.

    BLEND is the derivative of the blend, (1 - alpha); STRAIGHT passes the whole gradient (the
    straight- through estimator on the same blend).
    """

    BLEND = "blend"
    STRAIGHT = "straight"


@dataclass(frozen=True, slots=True)
class BlendSchedule:
    """The course of alpha from 0 to 1 (papers.md, paper 2): alpha = 1 - (1 - t)^exponent.

    `t` is the share of the window from `start` to `end`, both shares of the steps. An exponent of 3
    is the cubic schedule, 1 the linear schedule. After `end` alpha is 1: weights are frozen as
    quantized; biases and norms learn further.
    """

    start: float = 0.0
    end: float = 0.85
    exponent: float = 3.0
    gradient: BlendGradient = BlendGradient.BLEND

    def alpha_at_share(self, share: float) -> float:
        """Return alpha at a share (0 to 1) of the steps.

        >>> BlendSchedule(start=0.0, end=0.5, exponent=1.0).alpha_at_share(0.25)
        0.5
        """
        if share >= self.end:
            return 1.0
        passed = max(0.0, share - self.start) / (self.end - self.start)
        return float(1.0 - (1.0 - passed) ** self.exponent)


@dataclass(frozen=True, slots=True)
class NeuronWidthSettings:
    """Settings for learned widths of neurons (papers.md, paper 3); the numbers are our choice.

    `thresholds` of the intensity s part the widths 1, 2, 4 and 8; `temperature` is the softness of
    the gates; s starts at `start` and learns at `rate` a step. After the share `freeze` of the
    steps widths stay. `pressure` times the mean width joins the loss: 0 is the paper's method.
    """

    thresholds: tuple[float, float, float] = (0.25, 0.5, 0.75)
    temperature: float = 0.1
    start: float = 0.2
    rate: float = 3e-3
    freeze: float = 0.85
    pressure: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Settings of a training beside network, data and configuration of bits.

    `rate` is relative: in a step a tensor moves by about this share of the tensor's size (root mean
    square), so a single number serves every network, equalized or not. The rate rises over
    `warm_up` steps and falls as a cosine to 1 %, or stays with `constant_rate`. With `highest_rate`
    it grows by equal factors to that rate instead, to find a good one. `batch` counts
    images of a step; every `watch_every` steps the loss on the watched images is measured (0: about
    twenty times). After `patience` such measurements without a better result training stops (0:
    never). `dampening` weighs the distance of weights from codes, `freeze_oscillating` is the share
    of flips from which a weight is frozen (Nagel et al. 2022; 0 switches both off).

    Raises:
        TrainingError: a number is out of bounds.
    """

    method: TrainingMethod = TrainingMethod.LEARNED_STEP
    steps: int = 400
    batch: int = 32
    rate: float = 3e-3
    loss: LossKind = LossKind.LABELS
    temperature: float = 1.0
    norms: NormHandling = NormHandling.KEPT
    optimizer: OptimizerKind = OptimizerKind.ADAM
    learn_scales: bool = True
    constant_rate: bool = False
    highest_rate: float = 0.0
    warm_up: int = 20
    dampening: float = 0.0
    freeze_oscillating: float = 0.0
    blend: BlendSchedule = field(default_factory=BlendSchedule)
    widths: NeuronWidthSettings = field(default_factory=NeuronWidthSettings)
    augment: bool = True
    watch_every: int = 0
    patience: int = 0
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise TrainingError(f"Steps must number 0 or more; got {self.steps}.")
        if self.batch < SMALLEST_BATCH:
            raise TrainingError(
                f"A batch must hold at least {SMALLEST_BATCH} images; got {self.batch}."
            )
        if not 0 < self.rate <= 1:
            raise TrainingError(
                f"The rate is a share of each tensor's size, above 0 and at most 1; got "
                f"{self.rate}. 0.003 serves most networks."
            )
        if not 0 <= self.blend.start < self.blend.end <= 1:
            raise TrainingError(
                "Blending must start before it ends, both as shares from 0 to 1; got "
                f"{self.blend.start} and {self.blend.end}."
            )

    @property
    def watch_interval(self) -> int:
        """Steps between two looks at the watched images."""
        return self.watch_every or max(20, self.steps // 20)

    def to_dict(self) -> dict[str, object]:
        """Return the settings as JSON values."""
        return asdict(self)


def settings_from_dict(raw: dict[str, object]) -> TrainingSettings:
    """Return the settings given by `TrainingSettings.to_dict`.

    Raises:
        TrainingError: a field is unknown or has an impossible value.
    """
    names = {one.name for one in fields(TrainingSettings)}
    if unknown := sorted(set(raw) - names):
        raise TrainingError(
            f"A training knows {', '.join(sorted(names))}; got {unknown[0]!r}. Correct the name."
        )
    kinds: dict[str, Any] = {
        "method": TrainingMethod,
        "loss": LossKind,
        "norms": NormHandling,
        "optimizer": OptimizerKind,
        "blend": _blend_schedule_from_dict,
        "widths": _width_settings_from_dict,
    }
    try:
        values = {key: kinds.get(key, lambda value: value)(value) for key, value in raw.items()}
        return TrainingSettings(**values)
    except (TypeError, KeyError) as error:
        raise TrainingError(f"Settings of a training cannot be read: {error}.") from None


def _blend_schedule_from_dict(raw: dict[str, Any]) -> BlendSchedule:
    return BlendSchedule(**{**raw, "gradient": BlendGradient(raw["gradient"])})


def _width_settings_from_dict(raw: dict[str, Any]) -> NeuronWidthSettings:
    low, middle, high = raw["thresholds"]
    known = {key: value for key, value in raw.items() if key != "activations"}  # of old versions
    return NeuronWidthSettings(**{**known, "thresholds": (low, middle, high)})
