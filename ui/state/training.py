"""What the page Train holds: the forecast, the training that runs, and how it ended."""

from dataclasses import dataclass

from analysis.training.forecast import Forecast, StepCost
from analysis.training.run_training import TrainingOutcome, TrainingTask


@dataclass(eq=False)
class TrainingWork:
    """The last question, what a step costs, what is expected, and the outcome."""

    task: TrainingTask | None = None
    cost: StepCost | None = None
    forecast: Forecast | None = None
    outcome: TrainingOutcome | None = None
