"""The knowledge of the flow so far."""

from dataclasses import dataclass, field

from analysis.diagnosis.causes.root_cause import SiteCause
from analysis.diagnosis.flow.contents import LayerLoss, NamedCause
from analysis.diagnosis.flow.goal import Standing
from analysis.diagnosis.flow.trials import Trial, nearest_to_goal
from analysis.runs.experiment import Experiment
from quant.simulation.plan import Side

CLEAR_POINTS = 0.1
"""A repair that brings less is not adopted, unless outputs come clearly nearer (our choice). Few
images make points noisy, so outputs must not go further from float either."""
CLEAR_KL = 0.8
"""The divergence from float falls to this share: outputs come clearly nearer (our choice)."""


@dataclass(eq=False)
class FlowState:
    """The experiment as given, the candidate trials, and the findings.

    `present` is the base of the next repair; `beyond` is a trial with more bits than wanted,
    `forecast` a sentence on the gain to expect of training.
    """

    given: Experiment
    chosen: list[Trial] = field(default_factory=list)
    sides: tuple[Side, ...] = ()
    layers: tuple[LayerLoss, ...] = ()
    causes: tuple[SiteCause, ...] = ()
    named: tuple[NamedCause, ...] = ()
    beyond: tuple[str, Trial] | None = None
    float_top1: float | None = None
    forecast: str = ""
    _present: Trial | None = None

    @property
    def present_trial(self) -> Trial:
        """The trial before the next repair."""
        if self._present is None:
            raise ValueError("A flow must measure the experiment as given first; none was.")
        return self._present

    @property
    def nearest_trial(self) -> Trial:
        """The trial to choose: the present trial if the goal is kept, else the nearest."""
        return self.present_trial if self.is_kept else nearest_to_goal(self.chosen)

    @property
    def is_kept(self) -> bool:
        """Whether the present trial keeps the goal."""
        return self._present is not None and self._present.standing is Standing.KEPT

    def is_within(self, points: float) -> bool:
        """Whether the present loss lies within some points as measured and may be none at all.

        Then more images are missing, not repairs.
        """
        if self._present is None:
            return False
        loss = self._present.loss
        return loss.points <= points and loss.interval.low <= 0

    def take_trial(self, trial: Trial) -> None:
        """Go on from a trial."""
        self.chosen.append(trial)
        self._present = trial

    def take_if_better(self, trial: Trial) -> bool:
        """Adopt a trial that helps; return whether the trial helps."""
        before = self.present_trial
        gain = before.loss.points - trial.loss.points
        kept = trial.standing is Standing.KEPT and before.standing is not Standing.KEPT
        old, new = before.run.evaluation.kl, trial.run.evaluation.kl
        share = 1.0 if old is None or new is None or old <= 0 else new / old
        chance = (trial.loss.interval.high - trial.loss.interval.low) / 2
        clear = gain >= CLEAR_POINTS and share <= 1
        nearer = share <= CLEAR_KL and gain > -max(CLEAR_POINTS, chance)
        if kept or clear or nearer:
            self.take_trial(trial)
            return True
        self.chosen.append(trial)
        return False
