"""What a device would have recorded, if a reason were true; and how well that explains the dump."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class ReasonPrediction:
    """The values (N, ...) that follow from a reason; `step` is the distance of two codes there.

    None takes the step of the site.
    """

    reason: str
    detail: str
    values: Tensor
    step: Tensor | None = None


@dataclass(frozen=True, slots=True)
class TriedReason:
    """A reason and the share of the differing elements that the reason explains.

    The share is below 0 where the reason makes more elements differ.
    """

    reason: str
    detail: str
    explained: float
