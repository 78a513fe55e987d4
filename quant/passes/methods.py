"""The ways in which a pass can find what it corrects."""

from enum import StrEnum


class Method(StrEnum):
    """Where the mean error comes from."""

    EMPIRICAL = "empirical"
    ANALYTIC = "analytic"
