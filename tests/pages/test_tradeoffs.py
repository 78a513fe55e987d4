"""The page Trade-offs, without a browser: find a front, pick, load, measure; Configure foresees."""

import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from accelerator.machine import load_preset
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.pareto_front import spread_proposals
from analysis.mixed_precision.proposal import Proposal
from analysis.mixed_precision.recipe_noise import RECIPES, RecipeChoice
from analysis.mixed_precision.try_configs import front_with_trials
from analysis.network import Network
from analysis.session_file import read_session_file, write_session_json
from quant.assignment import bits_by_part, cells_of_config
from quant.config import uniform_config
from quant.progress import Progress, Steps, drain_steps
from quant.simulation.plan import Side
from quant.spec import Granularity
from tests.pages.visit import CONFIGURE, PATIENCE_S, Visit, data_choice, leave_choices, model_choice
from ui.answers.forecast import present_foresight
from ui.frame.frame import undo_change
from ui.job_kind import JobKind
from ui.jobs import JobState
from ui.navigation import TRADEOFFS
from ui.runs.report import front_with_run
from ui.session.open_session import close_session, open_session, present_session
from ui.state.edit_config import set_preset
from ui.state.model_and_data import ModelChoice, load_chosen_network
from ui.state.sensitivity import SensitivityWork
from ui.state.tradeoffs import Against, TradeoffWork
from ui.tradeoffs.jobs import find_known_fronts, start_measuring
from ui.tradeoffs.view import load_proposal

TRIED = 16


@pytest.fixture(autouse=True)
def _short_fronts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the points and a quarter of the images of a trial: both are tested below the page."""
    monkeypatch.setattr("ui.tradeoffs.jobs.POINTS", 6)
    monkeypatch.setattr("analysis.mixed_precision.try_configs.TRIAL_IMAGES", TRIED)
    monkeypatch.setattr("analysis.mixed_precision.try_configs.MOST_TRIES", 2)


@pytest.fixture
def opened(runs: Path) -> Visit:
    """The page on letter-mlp: four layers, so that a front takes a tenth of the time."""
    leave_choices(runs, model=model_choice("letter-mlp"), data=data_choice("letter"))
    visit = Visit().wait()
    visit.work.set_machine(load_preset("bitfusion_like"))
    return visit.open(TRADEOFFS)


def found(visit: Visit) -> Visit:
    return visit.press("tradeoffs.find").wait()


def found_without_extras(visit: Visit) -> Visit:
    """Find the front of the network without repairs, and measure no point with it."""
    visit.at.multiselect(key="tradeoffs.recipes").set_value([])
    visit.at.number_input(key="tradeoffs.measured").set_value(0)
    visit.run()
    return found(visit)


def table(visit: Visit) -> pd.DataFrame:
    (frame,) = (f.value for f in visit.at.dataframe if "predicted" in "".join(map(str, f.value)))
    assert isinstance(frame, pd.DataFrame)
    return frame


def keys(visit: Visit) -> set[str]:
    return {str(button.key) for button in visit.at.button}


def front_of(visit: Visit) -> Any:
    wish = visit.work.tradeoffs.wish
    assert wish is not None
    answer = find_known_fronts(visit.work, wish)
    assert answer is not None
    return answer


def test_before_a_front_the_page_says_what_to_do(opened: Visit) -> None:
    assert "No front yet for this question" in opened.words
    assert "Sensitivity of layers" in opened.links()
    assert not opened.errors


def test_a_front_is_one_click_and_outlives_the_page(opened: Visit) -> None:
    found(opened)
    assert len(opened.at.get("plotly_chart")) == 2
    assert "screened on 64 rows, without labels" in opened.words
    assert "Least energy within 1 point of float" in opened.words
    answer = front_of(opened).fronts["bitfusion_like"]
    noises = [proposal.noise_energy_sum for proposal in answer.proposals]
    assert noises == sorted(noises, reverse=True)
    tried = sum(len(noise.trials) for noise in front_of(opened).noises)
    assert tried >= len(answer.proposals)
    told = (
        f"{tried} whole configurations were tried on {TRIED} of the data (each point of the front"
    )
    assert told in opened.words
    assert f"from a trial on {TRIED} rows; " in opened.words  # of the choice within the bound
    opened.open(CONFIGURE).open(TRADEOFFS)
    assert "tradeoffs.find" not in keys(opened)
    assert len(opened.at.get("plotly_chart")) == 2


def test_a_front_outlives_a_restart(opened: Visit) -> None:
    before = front_of(found_without_extras(opened)).fronts["bitfusion_like"]
    trials = front_of(opened).noises[0].trials
    work = opened.work
    work.tradeoffs, work.sensitivity = TradeoffWork(), SensitivityWork()  # as after a restart
    assert work.parts is not None
    work.take_split(replace(work.parts, calibration=work.parts.calibration))
    opened.run()
    assert "tradeoffs.find" not in keys(opened)
    after = front_of(opened).fronts["bitfusion_like"]
    assert [p.name for p in after.proposals] == [p.name for p in before.proposals]
    assert [p.cost for p in after.proposals] == [p.cost for p in before.proposals]
    noises = [p.noise_energy_sum for p in before.proposals]
    assert [p.noise_energy_sum for p in after.proposals] == pytest.approx(noises, rel=1e-12)
    assert {p.prediction.tried for p in after.proposals} == {TRIED}
    assert front_of(opened).noises[0].trials == trials


def test_weights_choose_their_granularity_where_that_is_allowed(opened: Visit) -> None:
    opened.at.selectbox(key="tradeoffs.grains").set_value("Per-tensor or per-channel")
    opened.run()
    network = opened.work.network
    assert network is not None
    answer = front_of(found_without_extras(opened))
    for noise in answer.noises:
        assert [other.sweep.sides for other in noise.others] == [(Side.WEIGHTS,)]
    search, front = answer.searches["bitfusion_like"], answer.fronts["bitfusion_like"]
    proposals = front_with_trials(search, front).proposals
    used = {grain for p in proposals for _, _, grain in cells_of_config(p.config, network.graph)}
    assert used == {Granularity.PER_TENSOR, Granularity.PER_CHANNEL, None}
    mixed = next(p for p in proposals if len(_grains(p, network)) == 2)
    load_proposal(opened.work, mixed)
    opened.run()
    assert "tradeoffs.find" not in keys(opened)  # its front is still the one it came from
    foresight = present_foresight(opened.work)
    assert foresight is not None
    said = foresight.predict_config(mixed.config, mixed.recipe)
    assert said is not None
    expected = foresight.predictor.predict_network(mixed.summed)
    assert said.sqnr_db == pytest.approx(expected.sqnr_db, abs=1e-6)


def _grains(proposal: Proposal, network: Network) -> set[Granularity | None]:
    return {grain for _, _, grain in cells_of_config(proposal.config, network.graph)} - {None}


def test_costs_that_are_no_sums_are_explained(opened: Visit) -> None:
    opened.choose("tradeoffs.quantity", Quantity.LATENCY)
    found_without_extras(opened)
    assert "the slower of computing and moving data" in opened.words


def test_a_session_keeps_fronts_to_go_on_with_and_to_look_at(opened: Visit) -> None:
    front = front_of(found(opened)).fronts["bitfusion_like"]
    work = opened.work
    content = write_session_json(present_session(work)).encode()
    session = read_session_file(content)
    work.tradeoffs, work.sensitivity = TradeoffWork(), SensitivityWork()
    assert "is open" in open_session(work, session)
    assert work.tradeoffs.wish is not None
    names = [p.name for p in front_of(opened).fronts["bitfusion_like"].proposals]
    assert names == [p.name for p in front.proposals]
    open_session(work, session, look=True)
    opened.run()
    assert "Energy on BitFusion like (16 x 32 fusion units)" in opened.words
    assert len(opened.at.get("plotly_chart")) == 1
    close_session(work)


def test_the_report_marks_measured_points(opened: Visit) -> None:
    found(opened)
    for one in reversed(opened.work.store.all_runs()):  # the oldest first, all within one second
        opened.work.store.save_run(replace(one, created="2026-01-01T00:00:00+00:00"))
    run, *others = opened.work.store.all_runs()
    shown = front_with_run(opened.work, run)
    assert shown is not None
    assert [point.name for point in shown.measured] == [other.name for other in reversed(others)]
    assert all(point.loss_ci95 is not None for point in shown.measured)
    assert shown.chosen is not None
    assert shown.chosen.name == run.name


def test_a_point_is_loaded_under_its_name_and_undone(opened: Visit) -> None:
    found_without_extras(opened)
    opened.choose("tradeoffs.against", Against.EIGHT)
    before = opened.work.experiment
    opened.press("tradeoffs.load")
    assert opened.work.experiment.display_name == "Best energy at 60 % of W8A8"
    assert opened.work.experiment.recipe in RECIPES.values()
    network = opened.work.network
    assert network is not None
    eight = opened.work.config_cost(uniform_config(8, 8)).energy_pj
    assert opened.work.config_cost(opened.work.config).energy_pj <= 0.6 * eight * (1 + 1e-9)
    assert len(set(bits_by_part(opened.work.config, network.graph).values())) > 1
    undo_change(opened.work)
    assert opened.work.experiment == before


def test_measured_points_are_kept_and_teach(opened: Visit, saved: Any) -> None:
    opened.at.number_input(key="tradeoffs.measured").set_value(0)
    found(opened.run())
    assert "How the score follows from noise is not known yet" in opened.words
    opened.press("tradeoffs.three").wait()
    assert len(saved()) == 3
    assert all(re.match(r"(Mixed|W\dA\d everywhere), [\d.]+ % energy", name) for name in saved())
    assert "Top-1 accuracy: predicted" in opened.words
    assert "3 measured: predictions were" in opened.words
    rows = table(opened)
    assert not rows.duplicated(["mean W bits", "mean A bits", "energy", "repairs"]).any()
    assert (rows["measured %"] != "").sum() == 3
    assert "tradeoffs.three" not in keys(opened)
    opened.choose("tradeoffs.against", Against.EIGHT)
    opened.at.number_input(key=f"tradeoffs.most.{Against.EIGHT}").set_value(45.0)
    opened.run().press("tradeoffs.measure").wait()
    assert saved()[0] == "Best energy at 45 % of W8A8"
    assert opened.at.button(key="tradeoffs.measure").disabled


def test_a_cancelled_queue_keeps_what_it_measured(opened: Visit, saved: Any) -> None:
    opened.at.number_input(key="tradeoffs.measured").set_value(0)
    answer = front_of(found(opened.run()))
    several = answer.fronts["bitfusion_like"].proposals[:3]
    start_measuring(opened.work, answer, "bitfusion_like", several)
    (job,) = opened.work.runner.active_jobs
    store = opened.work.store
    while job.is_active:
        if store.all_runs():
            job.cancel()
            break
    opened.wait()
    assert job.state in (JobState.CANCELLED, JobState.DONE)
    assert 1 <= len(saved()) <= 3


def test_the_front_is_shown_while_its_points_are_still_measured(
    opened: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def measure(*_: object) -> Steps[None]:
        yield Progress(0.0, "Measuring")
        reached.set()
        assert go_on.wait(PATIENCE_S)

    monkeypatch.setattr("ui.tradeoffs.jobs._measure_some", measure)
    opened.at.multiselect(key="tradeoffs.recipes").set_value([])
    opened.run().press("tradeoffs.find")
    assert reached.wait(PATIENCE_S)
    try:
        opened.run()
        assert opened.work.runner.active_of(JobKind.FRONT) is not None
        assert len(table(opened)) > 3
        assert f"tried on {TRIED} of the data (each point of the front" in opened.words
    finally:
        go_on.set()
        opened.wait()
    assert len(table(opened)) > 3


def test_out_of_reach_is_one_sentence_with_what_is_within(opened: Visit) -> None:
    found_without_extras(opened)
    opened.choose("tradeoffs.against", Against.EIGHT)
    opened.at.number_input(key=f"tradeoffs.most.{Against.EIGHT}").set_value(5.0)
    opened.run()
    (warning,) = opened.at.warning
    assert (
        "brings energy per row on BitFusion like (16 x 32 fusion units) to 5 % of W8A8"
        in warning.value
    )
    assert "is the least" in warning.value
    assert len(opened.at.get("plotly_chart")) == 2


def test_a_fixed_machine_gains_only_storage_and_stands_beside(visit: Visit) -> None:
    visit.open(TRADEOFFS)
    assert "fewer bits gain only what storage gives" in visit.words  # before any click
    assert "There is nothing to trade here" in visit.words
    visit.at.multiselect(key="tradeoffs.others").set_value(["bitfusion_like"])
    found_without_extras(visit.run())
    assert set(front_of(visit).fronts) == {"edge_systolic_8b", "bitfusion_like"}
    assert "There is nothing to trade here" not in visit.words


def test_a_machine_that_gains_is_one_click_away(visit: Visit) -> None:
    visit.open(TRADEOFFS).press("tradeoffs.gainful")
    assert visit.work.machine.name == "bitfusion_like"
    assert "There is nothing to trade here" not in visit.words
    assert "tradeoffs.gainful" not in keys(visit)


def test_pinned_layers_keep_their_bits_and_edges_obey(opened: Visit) -> None:
    network = opened.work.network
    assert network is not None
    names = [layer.name for layer in network.graph.layers if layer.weight is not None]
    opened.at.multiselect(key=f"tradeoffs.pinned.{network.digest[:8]}").set_value([names[3]])
    opened.at.selectbox(key="tradeoffs.edge").set_value(8)
    found_without_extras(opened.run())
    for proposal in front_of(opened).fronts["bitfusion_like"].proposals:
        bits = {name: width for (name, side), width in bits_by_part(
            proposal.config, network.graph).items() if side == "weights"}  # fmt: skip
        assert bits[names[3]] == bits[names[0]] == bits[names[-1]] == 8
    assert "fewer weight bits gain cycles in" in opened.words


def test_repairs_take_part_and_losses_are_against_float(visit: Visit, saved: Any) -> None:
    """Per-tensor weights of the imbalanced sample answer one in ten; equalized ones nearly all."""
    leave_imbalanced(visit)
    found(visit.open(TRADEOFFS))
    work = visit.work
    assert not [warning.value for warning in visit.at.warning]
    assert "points below float" in visit.words
    assert "tradeoffs.three" not in keys(visit)  # three points were measured with the front
    assert len(saved()) == 3
    foresight = present_foresight(work)
    assert foresight is not None
    for one in foresight.measured:
        assert one.proposal.recipe == RECIPES[RecipeChoice.CORRECTED]
        assert one.run.evaluation.top1_drop is not None
        assert one.run.evaluation.top1_drop < 0.05
    visit.press("tradeoffs.load")
    assert work.experiment.recipe == RECIPES[RecipeChoice.CORRECTED]
    assert (
        work.config_cost(work.config).energy_pj
        < 0.7 * work.config_cost(uniform_config(8, 8)).energy_pj
    )
    shown = table(visit)
    assert shown["repairs"].isin(["none", "equalized", "equalized, bias corrected"]).all()
    told = shown[shown["predicted %"] != "unknown"]["predicted %"]
    assert told.map(lambda text: float(text.split(" %")[0])).min() >= 10.0  # chance of ten classes


def test_what_keeps_no_floor_is_warned_of(visit: Visit) -> None:
    leave_imbalanced(visit)
    visit.open(TRADEOFFS).at.multiselect(key="tradeoffs.recipes").set_value([RecipeChoice.NONE])
    found(visit.run())
    (warning,) = visit.at.warning
    assert "Nothing on BitFusion like (16 x 32 fusion units) keeps at most 1 point" in warning.value
    assert "the best choice (no repair) is predicted to lose" in warning.value


def leave_imbalanced(visit: Visit) -> None:
    """Open the imbalanced sample with per-tensor weights on a machine with many widths."""
    choice = ModelChoice("fashion-mobilenet-imbalanced")
    network = drain_steps(load_chosen_network(choice))
    visit.work.take_network(choice, network)
    visit.work.set_machine(load_preset("bitfusion_like"))
    visit.work.set_config(uniform_config(8, 8, Granularity.PER_TENSOR))
    assert visit.work.parts is not None
    parts = visit.work.parts
    assert parts.calibration is not None
    few = replace(parts, calibration=parts.calibration.first(16), score=parts.score.first(100))
    visit.work.take_split(few)


def test_configure_foresees_what_is_edited(opened: Visit) -> None:
    opened.open(CONFIGURE)
    assert opened.metric("Predicted top-1").value == "?"
    assert "Find the best trade-offs once, and the accuracy of every edit is predicted here" in (
        opened.links()
    )
    found(opened.open(TRADEOFFS))
    opened.open(CONFIGURE)
    before = float(opened.metric("Predicted top-1").value.removesuffix(" %"))
    set_preset(opened.work, uniform_config(2, 8), "two")
    opened.run()
    after = float(opened.metric("Predicted top-1").value.removesuffix(" %"))
    assert after < before - 1
    assert opened.metric("Predicted top-1").delta.startswith("-")
    set_preset(opened.work, uniform_config(8, 8, Granularity.PER_TENSOR), "other grids")
    assert opened.run().metric("Predicted top-1").value == "?"


def test_a_run_from_elsewhere_teaches_if_its_grids_fit(opened: Visit) -> None:
    opened.at.number_input(key="tradeoffs.measured").set_value(0)
    found(opened.run())
    opened.open("pages/runs.py").press("Run").wait()
    set_preset(opened.work, uniform_config(8, 8, Granularity.PER_TENSOR), "other grids")
    opened.run().press("Run").wait()
    set_preset(opened.work, uniform_config(8, 8), "W8A8")
    foresight = present_foresight(opened.work)
    assert foresight is not None
    assert [one.run.name for one in foresight.measured] == ["W8A8 per-channel"]


def test_what_teaches_most_is_measured_first(opened: Visit) -> None:
    proposals = front_of(found(opened)).fronts["bitfusion_like"].proposals
    order = spread_proposals(proposals)
    assert sorted(p.name for p in order) == sorted(p.name for p in proposals)
    assert {order[0].name, order[1].name} == {proposals[0].name, proposals[-1].name}
    assert spread_proposals(proposals[:1]) == list(proposals[:1])
    assert spread_proposals([]) == []


def test_a_point_with_the_same_bits_everywhere_is_not_called_mixed(opened: Visit) -> None:
    front = front_of(found_without_extras(opened)).fronts["bitfusion_like"]
    network = opened.work.network
    assert network is not None
    for point in front.proposals:
        widths = set(bits_by_part(point.config, network.graph).values())
        assert point.name.startswith("Mixed, ") == (len(widths) > 1)
