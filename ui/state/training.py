"""The results of the page Train: the forecast, the running training, and the outcome."""

from dataclasses import dataclass, field

from analysis.training.arms import ArmResult
from analysis.training.forecast import Forecast, StepCost
from analysis.training.rate_finder import RateCurve
from analysis.training.run_training import TrainingOutcome, TrainingTask


@dataclass(eq=False)
class TrainingWork:
    """The last task, the cost of a step, the forecast, the outcome, the rates, and the arms.

    `arms` grows while a comparison runs.
    """

    task: TrainingTask | None = None
    cost: StepCost | None = None
    forecast: Forecast | None = None
    outcome: TrainingOutcome | None = None
    rates: RateCurve | None = None
    arms: list[ArmResult] = field(default_factory=list)
