from pathlib import Path

import pytest

from analysis.runs.repair import RepairStep, repair_and_measure
from quant.config import uniform_config
from quant.passes.equalize import Equalize
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.progress import drain_steps
from quant.spec import Granularity
from tests.pages.visit import Visit, held_jobs, leave_choices, model_choice
from ui.navigation import REPAIR, RUNS
from ui.repair.form import ABSORB, BLOCKS, CORRECT, EQUALIZE, ROUND
from ui.widgets.job_text import UNDER_WAY

IMBALANCED = {
    "model": model_choice("fashion-mobilenet-imbalanced"),
    "config": uniform_config(8, 8, Granularity.PER_TENSOR).to_dict(),
    "config_name": "W8A8 per-tensor",
}


@pytest.fixture
def visit(runs: Path) -> Visit:
    leave_choices(runs, **IMBALANCED)
    return Visit().open(REPAIR)


def test_before_any_recipe_the_page_says_what_suits_this_model(visit: Visit) -> None:
    assert "No recipe has run yet" in visit.words
    assert f"Recommended for this model: {EQUALIZE}, {CORRECT}" in visit.words.replace("**", "")
    assert "weights have channels of unequal range under one encoding" in visit.words
    assert "repairs learn from 32 images" in visit.words
    assert not visit.at.get("plotly_chart")


def test_a_recipe_is_measured_step_by_step_and_can_be_kept(visit: Visit) -> None:
    visit.press("repair.run").wait()
    repaired = visit.work.repaired
    assert repaired is not None
    titles = [step.title for step in repaired.steps]
    assert titles == ["Plain quantization", "Equalize", "Correct biases (empirical)"]
    assert "Equalize brings" in visit.words
    assert len(visit.at.get("plotly_chart")) >= 3
    assert list(visit.at.dataframe[0].value["step"]) == titles
    visit.press("repair.keep")
    (run,) = visit.work.store.all_runs()
    assert run.recipe == ("Equalize", "Correct biases (empirical)")
    assert run.evaluation == repaired.steps[-1].evaluation
    visit.open(RUNS)
    assert "W8A8 per-tensor · equalized, bias corrected" in list(
        visit.at.dataframe[0].value["name"]
    )


def test_the_recommendation_follows_the_bits_and_is_one_click(visit: Visit) -> None:
    visit.work.set_config(uniform_config(4, 8))
    visit.run()
    assert "AdaRound: 26 weights have 5 bits or fewer" in visit.words
    visit.press("repair.recommended")
    assert visit.at.multiselect(key="repair.recipe").value == [ROUND]
    assert visit.at.button(key="repair.recommended").disabled


def test_steps_are_there_as_they_are_measured(visit: Visit) -> None:
    visit.at.multiselect(key="repair.recipe").set_value([EQUALIZE])
    visit.run()
    seen: list[tuple[RepairStep, ...]] = []
    study, experiment = visit.work.study, visit.work.experiment
    assert study is not None
    drain_steps(study.collect_statistics(experiment.config))
    for _ in repair_and_measure(study, experiment.config, (Equalize(),), seen.append):
        pass
    assert [len(steps) for steps in seen] == [1, 2]
    with held_jobs():
        visit.press("repair.run")
        assert f"{UNDER_WAY} Each step appears here" in visit.words
        assert not visit.at.toast
    visit.wait()
    assert visit.work.repairing is not None
    assert [s.title for s in visit.work.repairing.steps] == ["Plain quantization", "Equalize"]


def test_an_illegal_order_is_explained_and_cannot_run(visit: Visit) -> None:
    visit.at.multiselect(key="repair.recipe").set_value([CORRECT, EQUALIZE])
    visit.run()
    assert any("must come before passes that repair quantized" in e for e in visit.errors)
    assert visit.at.button(key="repair.run").disabled


def test_a_setting_rests_while_its_pass_is_off(visit: Visit) -> None:
    assert visit.at.number_input(key="repair.iterations").disabled
    assert not visit.at.selectbox(key="repair.method").disabled
    visit.at.multiselect(key="repair.recipe").set_value([ROUND])
    visit.run()
    assert not visit.at.number_input(key="repair.iterations").disabled
    assert visit.at.selectbox(key="repair.method").disabled
    assert visit.at.checkbox(key="repair.relu6").disabled


def test_blocks_are_reconstructed_with_the_steps_of_the_form_and_listed(runs: Path) -> None:
    letters = model_choice("letter-mlp")
    leave_choices(runs, model=letters, config=uniform_config(3, 8).to_dict(), config_name="W3A8")
    visit = Visit().open(REPAIR)
    assert visit.at.multiselect(key="repair.recipe").value == [ROUND], "what is recommended"
    assert visit.at.number_input(key="repair.block_steps").disabled
    visit.at.multiselect(key="repair.recipe").set_value([BLOCKS])
    visit.run()
    visit.at.number_input(key="repair.block_steps").set_value(20)
    visit.at.number_input(key="repair.output_steps").set_value(5)
    visit.run().press("repair.run").wait()
    repaired = visit.work.repaired
    assert repaired is not None
    assert repaired.experiment.recipe == (Reconstruct(20, 5),)
    assert "What reconstruction did block by block" in [one.label for one in visit.at.expander]
    assert "Tuning scales and biases to the float outputs left" in visit.words
    assert "Reconstruct blocks" in visit.words


def test_columns_of_which_nothing_is_known_are_left_out(visit: Visit) -> None:
    visit.at.multiselect(key="repair.recipe").set_value([CORRECT])
    visit.run().press("repair.run").wait()
    columns = list(visit.at.dataframe[0].value.columns)
    assert "top-1 %" in columns
    assert "float top-1 %" not in columns  # no pass changed the float network


def test_results_of_another_configuration_are_marked(visit: Visit) -> None:
    visit.at.multiselect(key="repair.recipe").set_value([EQUALIZE, ABSORB])
    visit.run().press("repair.run").wait()
    assert "what is chosen now differs" not in visit.words
    visit.work.set_config(uniform_config(4, 8))
    visit.run()
    assert "what is chosen now differs" in visit.words
    assert visit.work.repaired is not None
    assert [step.title for step in visit.work.repaired.steps][1:] == [
        "Equalize", "Absorb biases (data-free)",
    ]  # fmt: skip


def test_a_cancelled_recipe_keeps_what_was_there(visit: Visit) -> None:
    with held_jobs():
        visit.press("repair.run")
        for job in visit.work.runner.active_jobs:
            job.cancel()
    visit.wait()
    assert visit.work.repaired is None
    visit.press("repair.run").wait()
    assert visit.work.repaired is not None
