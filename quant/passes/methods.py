"""Methods of passes to find a correction."""

from enum import StrEnum


class Method(StrEnum):
    """Where the mean error comes from."""

    EMPIRICAL = "empirical"
    ANALYTIC = "analytic"


class Reach(StrEnum):
    """The measure of a channel's range for equalization between two layers.

    LARGEST is the paper's largest |weight|, for ranges that hold every value. RMS, the root mean
    square, is for ranges that clip: a single large weight no longer speaks for the channel.
    """

    LARGEST = "largest"
    RMS = "rms"
