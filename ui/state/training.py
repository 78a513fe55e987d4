"""The results of the page Train: the forecast, the running training, and the outcome."""

from dataclasses import dataclass

from analysis.training.forecast import Forecast, StepCost
from analysis.training.run_training import TrainingOutcome, TrainingTask


@dataclass(eq=False)
class TrainingWork:
    """The last task, the cost of a step, the forecast, and the outcome."""

    task: TrainingTask | None = None
    cost: StepCost | None = None
    forecast: Forecast | None = None
    outcome: TrainingOutcome | None = None
