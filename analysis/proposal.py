"""What bounds a choice of bits, and what is proposed."""

from dataclasses import dataclass, replace

from accelerator.report import CostReport
from analysis.prediction import Prediction, Predictor
from analysis.quantities import Quantity
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

    `noise` is the sum of noise energies of layers alone, as a share of the output's energy.
    `proven` says that no choice within the rules is better by more than a millionth where the
    sets of values stay on chip that were tried; `seconds` is the time of the search.
    """

    name: str
    config: QuantConfig
    noise: float
    prediction: Prediction
    cost: CostReport
    proven: bool = False
    seconds: float = 0.0

    def predicted_by(self, predictor: Predictor) -> "Proposal":
        """Return the same with another prediction."""
        return replace(self, prediction=predictor.predict(self.noise))
