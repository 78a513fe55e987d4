"""What bounds a choice of bits, and what is proposed."""

from dataclasses import dataclass, replace

from accelerator.report import CostReport
from analysis.cost.quantity import Quantity
from analysis.prediction.noise_table import Summed
from analysis.prediction.predictor import Prediction, Predictor
from quant.config import QuantConfig
from quant.errors import QuantError


class BudgetError(QuantError):
    """No choice of bits keeps the budgets."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a quantity may be: in its own unit, or as a share of the reference's."""

    quantity: Quantity
    most: float
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration with its predicted quality and its estimated cost; nothing is measured.

    `summed` is what its layers do alone, `noise` the sum of their noise energies as a share of the
    output's. `proven` says that no choice within the rules is better by more than a millionth where
    the sets of values stay on chip that were tried; `seconds` is the time of the search.
    """

    name: str
    config: QuantConfig
    summed: Summed
    prediction: Prediction
    cost: CostReport
    proven: bool = False
    seconds: float = 0.0

    @property
    def noise(self) -> float:
        """The sum of noise energies; nan where some are not known."""
        return self.summed.energy

    def predicted_by(self, predictor: Predictor) -> "Proposal":
        """Return the same with another prediction."""
        return replace(self, prediction=predictor.predict(self.summed))
