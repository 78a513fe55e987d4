"""The page of a diagnosis in a report: from the diagnosis itself, and from the command's JSON."""

import json
from dataclasses import replace

import pytest

from accelerator.machine import load_preset
from analysis.diagnosis.flow.contents import (
    Diagnosis,
    FlowStage,
    FlowStep,
    NamedCause,
    StepOutcome,
)
from analysis.diagnosis.flow.goal import Goal, Loss
from analysis.evaluation.measures import Interval
from analysis.reporting.flow_page import flow_page_of, is_diagnosis_answer, read_diagnosis_answer
from analysis.runs.experiment import Experiment
from analysis.runs.run_store import Run
from commands.json_answers.diagnosis import summarize_diagnosis
from quant.config import uniform_config
from quant.simulation.plan import Side
from tests.analysis.results import evaluation, layer_cost, report, run
from tests.analysis.sweeps import case

LOSS = Loss(0.5, Interval(-0.25, 1.25))
FLOAT = FlowStep(FlowStage.FLOAT, "Float network", StepOutcome.PASSED, "Sound.", 1.0, top1=0.9)
LAYERS = FlowStep(FlowStage.LAYERS, "Loss by layer", StepOutcome.TOLD, "Two layers.", 2.0)
REPAIR = FlowStep(
    FlowStage.REPAIR,
    "Equalize",
    StepOutcome.UNDECIDED,
    "Brings 20 points.",
    3.0,
    LOSS,
    0.89,
    energy_pj=2e6,
    adopted=True,
)
CAUSE = NamedCause("linear", Side.WEIGHTS, "unequal ranges", "100 times", "Equalize", 20.0)


def measured() -> Run:
    return run("equalized", report(layer_cost("linear")), evaluation())


def diagnosis(of: Run) -> Diagnosis:
    tried = Experiment(uniform_config(8, 8), load_preset("edge_systolic_8b"))
    return Diagnosis(
        Goal(1.0),
        (FLOAT, LAYERS, REPAIR),
        (CAUSE,),
        (),
        tried.on_model_and_data(of.model_digest, of.data_digest),
        None,
        met=False,
        sentence="No recipe here keeps 1 point.",
        advice="Training may help.",
    )


def json_of(found: Diagnosis) -> object:
    return json.loads(json.dumps(summarize_diagnosis(found, case("plain").network.graph)))


def test_the_page_has_every_step_with_measurement_time_and_energy() -> None:
    own = measured()
    page = flow_page_of(diagnosis(own), own)
    assert page is not None
    assert [step.name for step in page.steps] == ["Float network", "Loss by layer", "Equalize"]
    assert [step.measured for step in page.steps] == ["90.0 % right", "", LOSS.loss_text]
    assert (page.steps[2].seconds, page.steps[2].energy_pj) == (3.0, 2e6)
    assert page.causes[0].points == 20.0


def test_the_json_of_the_command_makes_the_same_page() -> None:
    own = measured()
    found = diagnosis(own)
    read, direct = read_diagnosis_answer(json_of(found), own), flow_page_of(found, own)
    assert direct is not None
    assert is_diagnosis_answer(json_of(found))
    assert replace(read, steps=()) == replace(direct, steps=())
    for ours, theirs in zip(read.steps, direct.steps, strict=True):
        assert replace(ours, measured="") == replace(theirs, measured="")
    assert read.steps[2].measured == "0.50 points of top-1 lost (95 %: -0.25 to 1.25)"


def test_a_diagnosis_of_other_images_or_another_model_is_not_shown() -> None:
    own = measured()
    found = diagnosis(own)
    for changed, word in (
        (replace(own, data_digest="other"), "images"),
        (replace(own, model_digest="other"), "model"),
    ):
        assert flow_page_of(found, changed) is None
        with pytest.raises(ValueError, match=f"must be of the run's {word}"):
            read_diagnosis_answer(json_of(found), changed)


@pytest.mark.parametrize("raw", [None, [], {"goal": 1}, {"experiment": 3}, "text"])
def test_another_file_is_refused_in_a_sentence(raw: object) -> None:
    assert not is_diagnosis_answer(raw)
    with pytest.raises(ValueError, match="must be the answer of diagnose"):
        read_diagnosis_answer(raw, measured())
