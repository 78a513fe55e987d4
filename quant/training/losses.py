"""The loss of training."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from quant.training.settings import LossKind, TrainingError


@dataclass(frozen=True, slots=True)
class TrainingLoss:
    """The loss of a batch: outputs (N, C) or (N, ...) against targets, the float network, or both.

    `classes` says that outputs are logits of classes: cross-entropy with labels, and the divergence
    of softmax(teacher / T) from softmax(output / T), times T^2, to distil (Hinton et al. 2015).
    Other outputs are compared by mean square error. The error against the teacher is divided by the
    variance of the teacher's outputs, so that the size does not depend on the unit.
    """

    kind: LossKind
    classes: bool
    temperature: float = 1.0

    @property
    def needs_teacher(self) -> bool:
        """Whether the float network's outputs are compared with."""
        return self.kind is not LossKind.LABELS

    @property
    def needs_targets(self) -> bool:
        """Whether labels or other targets enter the loss."""
        return self.kind is not LossKind.DISTIL

    def __call__(self, outputs: Tensor, targets: Tensor | None, teacher: Tensor | None) -> Tensor:
        """Return the mean loss of a batch, a scalar.

        Raises:
            TrainingError: labels are needed and missing.
        """
        parts: list[Tensor] = []
        if self.needs_targets:
            if targets is None:
                raise TrainingError(
                    "This loss needs labels; the data has none. Choose the loss distil, which "
                    "learns from the float network."
                )
            parts.append(self._loss_against_targets(outputs, targets))
        if self.needs_teacher and teacher is not None:
            parts.append(self._loss_against_teacher(outputs, teacher))
        return sum(parts[1:], parts[0]) / len(parts)

    def _loss_against_targets(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.classes:
            return functional.cross_entropy(outputs, targets)
        return functional.mse_loss(outputs, targets.to(outputs.dtype).reshape(outputs.shape))

    def _loss_against_teacher(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        if self.classes:
            t = self.temperature
            divergence = functional.kl_div(
                (outputs / t).log_softmax(-1),
                (teacher / t).log_softmax(-1),
                reduction="none",
                log_target=True,
            )
            return divergence.sum(-1).mean() * t * t
        spread = teacher.var(correction=0).clamp(min=1e-12)
        return functional.mse_loss(outputs, teacher) / spread
