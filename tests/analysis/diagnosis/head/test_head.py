"""A detector's head: its parts told apart, and the mix of ranges repaired."""

from typing import Any

import pytest

from accelerator.machine import load_preset
from analysis.diagnosis.causes.find_causes import find_causes
from analysis.diagnosis.causes.root_cause import RootCause
from analysis.diagnosis.flow.goal import Goal
from analysis.diagnosis.flow.head_candidates import head_candidates
from analysis.diagnosis.flow.run_diagnosis import DiagnosisTask, run_diagnosis
from analysis.diagnosis.head.head_parts import PartRole, find_head
from analysis.evaluation.lost_score import lost_score
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from commands.json_answers.diagnosis import summarize_diagnosis
from quant.config import uniform_config
from quant.progress import drain_steps
from quant.simulation.plan import Side
from tests.analysis.diagnosis.head.yolo_network import yolo_study

MACHINE = load_preset("edge_systolic_8b")
PLAIN = Experiment(uniform_config(8, 8), MACHINE)


def lost_points(experiment: Experiment) -> float:
    run = drain_steps(measure_experiment(yolo_study(), experiment))
    found = lost_score(run.evaluation)
    assert found is not None
    assert found.unit == "points of mAP"
    return found.points


def test_boxes_and_scores_are_told_apart_with_their_codes() -> None:
    head = find_head(yolo_study().range_book())
    assert head is not None
    assert len(head.mixed) == 1
    by_role = {role: [one for one in head.parts if one.role is role] for role in PartRole}
    assert len(by_role[PartRole.BOXES]) == 2
    (scores,) = by_role[PartRole.SCORES]
    assert scores.high <= 1
    assert max(one.high for one in by_role[PartRole.BOXES]) > 50
    # of 0 to about 60 in 255 steps, 0 to 1 has about 4
    assert 2 < head.codes_of_part(scores, 8) < 8
    assert head.codes_of_part(scores, 16) > 500
    assert len(head.sigmoids) == 1
    assert not set(head.decoding) & {"stem", "deep", "head"}


def test_the_mix_is_a_cause_though_the_scores_are_a_slice() -> None:
    causes = find_causes(yolo_study(), uniform_config(8, 8), (Side.ACTIVATIONS,))
    (mix,) = (one for one in causes if one.cause is RootCause.UNBALANCED_INPUTS)
    head = find_head(yolo_study().range_book())
    assert head is not None
    assert mix.layer in head.mixed


def test_a_split_regains_at_least_half_of_the_drop() -> None:
    before = lost_points(PLAIN)
    assert before > 10
    candidates = head_candidates(yolo_study())
    assert [one.cost for one in candidates] == sorted(one.cost for one in candidates)
    split = candidates[0].change(PLAIN)
    assert split is not None
    assert lost_points(split) < before / 2


def test_the_diagnosis_finds_the_head_and_keeps_the_goal_in_points_of_map() -> None:
    task = DiagnosisTask(yolo_study(), PLAIN, Goal(10.0))
    found = drain_steps(run_diagnosis(task))
    told = " ".join(step.sentence for step in found.steps)
    assert "points of mAP" in told
    assert any("Split the ranges of the concat in the head" in step.name for step in found.steps)
    before, after = (lost_points(one) for one in (PLAIN, found.experiment))
    assert after < before / 2
    assert found.steps[0].sentence.startswith("mAP ")
    answer: Any = summarize_diagnosis(found, yolo_study().network.graph)
    assert {step["unit"] for step in answer["steps"]} <= {None, "points of mAP lost"}
    assert answer["drop"]["points"] == pytest.approx(after)
    assert answer["metric"]["name"] == "mAP"
    assert answer["quantized"]["agreement"] is None  # boxes are no classes
