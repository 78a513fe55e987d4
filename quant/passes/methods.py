"""The ways in which passes can find what they correct."""

from enum import StrEnum


class Method(StrEnum):
    """Where the mean error comes from."""

    EMPIRICAL = "empirical"
    ANALYTIC = "analytic"


class Reach(StrEnum):
    """What equalization makes equal between two layers, channel by channel.

    LARGEST is the paper's largest |weight|, which suits ranges that hold every value. RMS, the root
    mean square, suits ranges that clip: one large weight no longer speaks for its channel.
    """

    LARGEST = "largest"
    RMS = "rms"
