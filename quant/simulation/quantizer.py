"""The module at a site: fake-quantizes, observes, or passes values on."""

from enum import StrEnum

import torch
from torch import Tensor, nn

from quant.encoding import Encoding
from quant.ranges.statistics import Statistics
from quant.simulation.plan import Side, Site


class State(StrEnum):
    """How a quantizer treats values."""

    OFF = "off"
    OBSERVE = "observe"
    QUANTIZE = "quantize"


class Quantizer(nn.Module):
    """Quantizes values, observes values, or lets values pass; also applies a plain clip.

    `clip` holds the limits of the activation function before the quantizer, so that clip and
    quantization need a single pass over memory.
    """

    def __init__(self, site: Site, clip: tuple[float | None, float | None] | None = None) -> None:
        super().__init__()
        self.site = site
        self.clip = clip
        self.state = State.OFF
        self.encoding: Encoding | None = None
        self.statistics: Statistics | None = None
        self._subsumed = False
        self._kept: tuple[Tensor, int, Tensor] | None = None

    def set_encoding(self, encoding: Encoding | None) -> None:
        """Take an encoding; without an encoding the quantizer lets values pass."""
        self.encoding = encoding
        self.state = State.OFF if encoding is None else State.QUANTIZE
        self._kept = None
        self._subsumed = (
            encoding is not None
            and self.clip is not None
            and encoding_subsumes_clip(encoding, self.clip)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor to a tensor of equal shape."""
        if self.state is State.QUANTIZE and self.encoding is not None:
            if self.site.side is Side.WEIGHTS:
                return self._quantize_weight(x, self.encoding)
            return self.encoding.fake_quantize(x if self._subsumed else self._clip_values(x))
        x = self._clip_values(x)
        if self.state is State.OBSERVE and self.statistics is not None:
            self.statistics.collect(x)
        return x

    def _clip_values(self, x: Tensor) -> Tensor:
        if self.clip is None:
            return x
        if self.clip == (0.0, None):
            return x.relu()
        return x.clamp(*self.clip)

    def _quantize_weight(self, weight: Tensor, encoding: Encoding) -> Tensor:
        if torch.is_grad_enabled() and weight.requires_grad:
            return encoding.fake_quantize(weight)
        # a weight changes rarely; its version tells when it has
        version = weight._version  # noqa: SLF001  no public way to ask
        if self._kept is None or self._kept[0] is not weight or self._kept[1] != version:
            # a tensor of inference mode would later stop gradients on their way to the input
            with torch.inference_mode(mode=False), torch.no_grad():
                self._kept = (weight, version, encoding.fake_quantize(weight))
        return self._kept[2]


def encoding_subsumes_clip(encoding: Encoding, clip: tuple[float | None, float | None]) -> bool:
    """Tell whether clipping to the encoding's ends equals a clip to `clip` followed by the ends."""
    # in float32, as the quantizer itself divides: a limit may lie half way between two steps
    low, high = (
        None if limit is None else float((torch.tensor(limit) / encoding.scale).round())
        for limit in clip
    )
    zero_point = float(encoding.zero_point)
    return (low is None or low <= encoding.qmin - zero_point) and (
        high is None or high >= encoding.qmax - zero_point
    )
