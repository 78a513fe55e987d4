"""The losses of a diagnosis: marks where they were measured, the goal, and a title that tells."""

import pytest

from analysis.diagnosis.flow.contents import FlowStage, FlowStep, StepOutcome
from analysis.diagnosis.flow.goal import Loss
from analysis.evaluation.measures import Interval
from figures import takeaway
from figures.repair.loss_by_step import loss_by_step


def step(name: str, points: float, outcome: StepOutcome, *, adopted: bool | None) -> FlowStep:
    loss = Loss(points, Interval(points - 0.5, points + 1))
    return FlowStep(FlowStage.REPAIR, name, outcome, "", 1.0, loss, adopted=adopted)


def test_each_measured_step_has_a_mark_with_its_interval_and_the_title_names_the_cure() -> None:
    told = FlowStep(FlowStage.LAYERS, "Loss by layer", StepOutcome.TOLD, "", 1.0)
    steps = [
        step("As <b>configured", 79.0, StepOutcome.FAILED, adopted=None),
        told,
        step("Equalize", 0.2, StepOutcome.PASSED, adopted=True),
    ]
    figure = loss_by_step(steps, 1.0)
    failed, passed = figure.data[1], figure.data[0]
    assert (passed.x, failed.x) == ((0.2,), (79.0,))
    assert passed.error_x.array == pytest.approx((1.0,))
    assert passed.error_x.arrayminus == pytest.approx((0.5,))
    assert failed.y == ("1. As &lt;b&gt;configured",)
    assert figure.layout.shapes[0].x0 == 1.0
    assert takeaway(figure) == "Equalize brings the loss within 1 point"
