"""The numbers that a network gets, in figures a person can compare with what training used."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class InputNumbers:
    """The range of some inputs, and mean and standard deviation by channel.

    Attributes:
        samples: how many inputs were measured.
        low: the least number.
        high: the greatest number.
        means: the mean of every channel.
        deviations: the standard deviation of every channel.
    """

    samples: int
    low: float
    high: float
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    def sentence(self) -> str:
        """Return the figures in words."""
        by_channel = " by channel" if len(self.means) > 1 else ""
        return (
            f"Over {self.samples} inputs the network gets numbers from {self.low:.3g} to "
            f"{self.high:.3g}, mean{by_channel} {_list_in_words(self.means)}, standard deviation "
            f"{_list_in_words(self.deviations)}."
        )


def measure_inputs(images: Tensor, *, channels_last: bool) -> InputNumbers:
    """Return the figures of images (N, C, H, W), or (N, H, W, C) with `channels_last`."""
    axis = 3 if channels_last else 1
    channels = images.double().movedim(axis, 0).flatten(1)
    return InputNumbers(
        samples=len(images),
        low=float(channels.min()),
        high=float(channels.max()),
        means=tuple(channels.mean(1).tolist()),
        deviations=tuple(channels.std(1, correction=0).tolist()),
    )


def _list_in_words(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
