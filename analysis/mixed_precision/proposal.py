"""Bounds on a choice of bits, and proposals."""

from dataclasses import dataclass, replace

from accelerator.report import CostReport
from analysis.cost.quantity import Quantity
from analysis.prediction.noise_table import NoiseSum
from analysis.prediction.predictor import Prediction, Predictor
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.passes.recipe import Recipe


class BudgetError(QuantError):
    """No choice of bits keeps the budgets."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The upper bound of a quantity: in its unit, or relative to the cost of the reference."""

    quantity: Quantity
    most: float
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration with predicted quality and estimated cost, without a measurement.

    `summed` is the sum over single layers; `noise_energy_sum` the sum of noise energies as a share
    of the output's energy. `proven` says that no choice within the rules is better by more than a
    millionth, for the tried on-chip sets. `seconds` is the time of the search. `recipe` repairs the
    network before the score.
    """

    name: str
    config: QuantConfig
    summed: NoiseSum
    prediction: Prediction
    cost: CostReport
    proven: bool = False
    seconds: float = 0.0
    recipe: Recipe = ()

    @property
    def noise_energy_sum(self) -> float:
        """The sum of noise energies; nan where a layer is unknown."""
        return self.summed.energy

    def predicted_by(self, predictor: Predictor) -> "Proposal":
        """Return the proposal with the prediction of another predictor."""
        return replace(self, prediction=predictor.predict_network(self.summed))
