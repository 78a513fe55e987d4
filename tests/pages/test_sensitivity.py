"""The page Sensitivity, without a browser: depths, pause and resume, the suspect card."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from torch import Tensor

from analysis.mixed_precision.recipe_noise import repaired_study
from analysis.sensitivity.screening.screen import screen_layers
from analysis.sensitivity.sweep import Depth, Question, Sweep, View
from data_io.dataset import ImageSource
from quant.config import uniform_config
from quant.inputs import Inputs
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.spec import Granularity
from tests.pages.visit import PATIENCE_S, Visit, leave_choices, model_choice
from ui.answers.proof import proven_layers
from ui.answers.sensitivity import (
    active_sweep_job,
    deepest_answers,
    exact_answers,
    last_request,
)
from ui.frame.workspace_registry import process_registry
from ui.navigation import RANGES, SENSITIVITY

SIDES = "sensitivity.sides"
DEPTH, VIEW = "sensitivity.depth", "sensitivity.view"
PICKER = "blocks.1.depthwise.0"


class Unlabelled:
    """Images of a source, their labels held back."""

    def __init__(self, source: ImageSource) -> None:
        self.source = source

    def read(self, indices: Sequence[int]) -> tuple[Inputs, Tensor | None]:
        return self.source.read(indices)[0], None


IMBALANCED = {
    "model": model_choice("fashion-mobilenet-imbalanced"),
    "config": uniform_config(8, 8, Granularity.PER_TENSOR).to_dict(),
    "config_name": "W8A8 per-tensor",
}


def switch(visit: Visit, key: str, value: object) -> Visit:
    visit.at.segmented_control(key=key).set_value(value)
    return visit.run()


def ask(visit: Visit, depth: Depth, bits: tuple[int, ...] = (4,), images: int = 24) -> Visit:
    """Ask for weights at few bits on few images."""
    visit.open(SENSITIVITY)
    visit.at.segmented_control(key=SIDES).set_value([Side.WEIGHTS])
    visit.at.multiselect(key="sensitivity.bits").set_value(list(bits))
    visit.at.number_input(key="sensitivity.images.200").set_value(images)
    return switch(visit, DEPTH, depth).wait()


def answered(visit: Visit) -> Visit:
    return visit.press("sensitivity.start").wait()


def table(visit: Visit) -> pd.DataFrame:
    found = visit.at.dataframe[0].value
    assert isinstance(found, pd.DataFrame)
    return found


def keys(visit: Visit) -> set[str]:
    return {str(button.key) for button in visit.at.button}


def pick(visit: Visit, layer: str) -> Visit:
    (box,) = (b for b in visit.at.selectbox if b.label == "Layer")
    box.set_value(layer)
    return visit.run()


@pytest.fixture
def imbalanced(runs: Path) -> Visit:
    leave_choices(runs, **IMBALANCED)
    return Visit()


def test_the_most_harmful_layers_are_proven_and_all_their_scores_are_kept(visit: Visit) -> None:
    ask(visit, Depth.EXACT)
    visit.at.number_input(key="sensitivity.proven").set_value(3)
    visit.run()
    answered(visit)
    (told,) = (box.value for box in visit.at.success if "Most harmful" in box.value)
    work = visit.work
    (found,) = proven_layers(work, last_request(work))
    assert len(found.layers) == 3
    assert f"Most harmful with 4-bit weights: {', '.join(found.layers)}." in told.replace("\\", "")
    assert "24" in told
    assert set(table(visit)["layer"][:3]) >= {found.layers[0]}
    visit.at.number_input(key="sensitivity.proven").set_value(0)
    visit.run()
    assert not any("Most harmful" in box.value for box in visit.at.success)
    kept = exact_answers(work, last_request(work))
    assert kept is not None
    assert {score.question.layer for score in kept.scores} > set(found.layers)
    assert switch(visit, VIEW, View.ALL_BUT).at.button(key="sensitivity.start").label == "Start"


def test_the_noise_of_tensors_is_there_without_a_click(visit: Visit) -> None:
    ask(visit, Depth.INSTANT)
    assert "Instant: the noise of each weight" in visit.words
    assert visit.work.network is not None
    weighted = [layer.name for layer in visit.work.network.graph.layers if layer.weight]
    assert set(table(visit)["layer"]) == set(weighted)
    assert list(table(visit)["value"]) == sorted(table(visit)["value"])
    assert len(visit.at.get("plotly_chart")) == 3
    assert "sensitivity.start" not in keys(visit)
    assert "Both comparisons need exact answers" in visit.words
    assert not visit.errors


def test_screening_is_one_click_and_is_kept(visit: Visit) -> None:
    ask(visit, Depth.SCREENING)
    assert "Screen to measure the harm" in visit.words
    visit.at.number_input(key="sensitivity.images.200").set_value(100)
    assert "Screening uses the first 64 of them." in visit.run().words
    visit.at.number_input(key="sensitivity.images.200").set_value(24)
    assert "Screening uses" not in visit.run().words
    assert "Nothing has been measured yet of what layers lose under W8A8 per-channel" in visit.words
    answered(visit)
    assert "Screened on 24 images" in visit.words
    assert "W8A8 per-channel has 8 bits, which were not asked for" in visit.words
    assert visit.at.button(key="sensitivity.start").disabled
    before = list(table(visit)["value"])
    visit.work.sensitivity.screened.clear()  # as after a restart
    assert list(table(visit.run())["value"]) == before


def test_the_page_opens_with_the_layers_that_lose_most_at_the_present_bits(visit: Visit) -> None:
    answered(ask(visit, Depth.SCREENING, bits=(8, 4)))
    title = str(visit.at.get("plotly_chart")[0].proto.alt)
    assert "is expected to lose most accuracy at W8A8 per-channel" in title
    visit.work.set_config(uniform_config(4, 8))
    other = str(visit.run().at.get("plotly_chart")[0].proto.alt)
    assert "at W4A8 per-channel" in other
    assert other != title.replace("W8A8", "W4A8")


def test_the_width_in_sight_at_first_is_that_of_the_experiment(visit: Visit) -> None:
    """Another experiment opens at its own bits again."""
    ask(visit, Depth.INSTANT, bits=(8, 6, 4, 2))
    assert "26 layers with 8-bit weights" in visit.words
    visit.work.set_config(uniform_config(4, 6))
    assert "26 layers with 4-bit weights" in visit.run().words
    visit.work.set_config(uniform_config(10, 6))
    assert "26 layers with 8-bit weights" in visit.run().words, "the nearest of those asked for"


def test_exact_answers_with_intervals_and_how_well_screening_agreed(visit: Visit) -> None:
    answered(ask(visit, Depth.EXACT, bits=(4, 2)))
    assert "All 52 cells are known on 24 images" in visit.words
    assert "Exact on 24 images · float top-1" in visit.words
    assert "Screening ranked as the exact SQNR does: Spearman weights 0.9" in visit.words
    found = table(visit)
    assert set(found["known"]) == {"exact"}
    assert found["interval"].notna().all()
    assert list(found["value"]) == sorted(found["value"], reverse=True)
    assert len(visit.at.get("plotly_chart")) == 4
    assert "choose **All but this layer**" in visit.words
    assert "sensitivity.save" in {b.key for b in visit.at.get("download_button")}


def test_metrics_can_be_switched(visit: Visit) -> None:
    answered(ask(visit, Depth.EXACT))
    (metrics,) = (c for c in visit.at.segmented_control if c.label == "Metric")
    assert len(metrics.options) == 4
    for metric in metrics.options:
        (control,) = (c for c in visit.at.segmented_control if c.label == "Metric")
        control.set_value(metric)
        visit.run()
        assert not visit.errors
        assert len(table(visit)) == 26


def test_both_views_stand_side_by_side(visit: Visit) -> None:
    answered(ask(visit, Depth.EXACT, bits=(2,), images=16))
    answered(switch(visit, VIEW, View.ALL_BUT).wait())
    assert len(visit.at.get("plotly_chart")) == 5
    assert "choose **Only this layer**" not in visit.words


def test_a_paused_sweep_resumes_where_it_was(visit: Visit) -> None:
    ask(visit, Depth.EXACT, bits=(8, 6, 4, 3, 2), images=200).press("sensitivity.start")
    job, asked = active_sweep_job(visit.work), last_request(visit.work)
    assert job is not None
    deadline = time.monotonic() + PATIENCE_S
    while not (known := exact_answers(visit.work, asked)) or not known.scores:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    visit.run()
    assert {"sensitivity.pause", "sensitivity.cancel"} <= keys(visit)
    visit.press("sensitivity.pause").wait()
    assert "Paused: " in visit.words
    assert visit.at.button(key="sensitivity.start").label == "Resume"
    kept = exact_answers(visit.work, asked)
    assert kept is not None
    before = {(s.question, s.images) for s in kept.scores}
    assert len(before) > 0
    visit.press("sensitivity.start").wait()
    after = exact_answers(visit.work, asked)
    assert after is not None
    assert {question for question, _ in before} <= {s.question for s in after.scores}
    assert all(score.images == 200 for score in after.scores)
    assert "All 130 cells are known" in visit.words


def test_after_a_restart_the_page_shows_what_is_kept_and_resumes(visit: Visit) -> None:
    answered(ask(visit, Depth.EXACT, images=16))
    before = list(table(visit)["value"])
    process_registry().close_all()
    process_registry.clear()
    again = Visit().open(SENSITIVITY).wait()
    assert again.work is not visit.work
    assert last_request(again.work).images == 16
    assert again.at.segmented_control(key=DEPTH).value == Depth.EXACT
    assert list(table(again)["value"]) == before
    again.at.number_input(key="sensitivity.images.200").set_value(32)
    again.run()
    assert again.at.button(key="sensitivity.start").label == "Resume"
    assert "Unfinished" in again.words
    answered(again)
    assert set(table(again)["images"]) == {32}
    assert set(table(switch(again, DEPTH, Depth.INSTANT).wait())["known"]) == {"instant"}


def test_the_card_names_the_cause_and_a_repair_that_helps(imbalanced: Visit) -> None:
    pick(ask(imbalanced, Depth.INSTANT, bits=(8,)), PICKER)
    assert "times the median channel" in imbalanced.words
    assert "9 weights per channel" in imbalanced.words
    assert "| **Weights per channel** | **9** | up to 25 |" in imbalanced.words
    assert "Equalize across layers" in imbalanced.words
    imbalanced.press("sensitivity.try.0").wait()
    question = Question(PICKER, 8, Side.WEIGHTS)
    ((_, asked),) = imbalanced.work.sensitivity.trials
    assert asked == question
    ((trial,),) = imbalanced.work.sensitivity.trials.values()
    assert trial.alone_after.sqnr_db > trial.alone_before.sqnr_db + 10
    assert trial.whole_after is not None
    assert trial.whole_before is not None
    assert trial.whole_after.sqnr_db > trial.whole_before.sqnr_db + 10
    assert "Alone: output SQNR" in imbalanced.words
    assert "In the whole network" in imbalanced.words
    assert imbalanced.metric("Alone: output SQNR").delta.startswith("+")
    assert "Run it on the whole network" in imbalanced.links()


def test_the_card_names_the_causes_that_the_repairs_of_the_experiment_leave(
    imbalanced: Visit,
) -> None:
    imbalanced.work.set_recipe((Equalize(),))
    pick(ask(imbalanced, Depth.INSTANT, bits=(8,)), PICKER)
    assert "after the experiment's own repairs: equalize" in imbalanced.words
    assert "times the median channel" not in imbalanced.words
    assert "Equalize across layers" not in imbalanced.words, "it is done already"


def test_layers_are_judged_after_the_repairs_of_the_experiment(imbalanced: Visit) -> None:
    """As in a report, whose scores are those of the run's own network."""
    work, repairs = imbalanced.work, (Equalize(), CorrectBias())
    answered(ask(imbalanced, Depth.SCREENING, bits=(8,)))
    before = _weight_noise(imbalanced)
    assert "Layers are judged" not in imbalanced.words
    work.set_recipe(repairs)
    assert "screening" not in str(table(imbalanced.run().wait())["known"]), "of another network"
    answered(imbalanced)
    said = "Layers are judged after equalize and before correct biases (empirical): a run has all"
    assert said in imbalanced.words
    assert work.study is not None
    own = drain_steps(repaired_study(work.study, repairs))
    few = own.with_scored_images(own.scored_images.first(24))
    exact = drain_steps(screen_layers(few, Sweep(work.config, (8,), (Side.WEIGHTS,))))
    oracle = {score.question.layer: score.sqnr_db for score in exact.scores}
    after = _weight_noise(imbalanced)
    assert after == pytest.approx(oracle, abs=1e-3)
    assert after[PICKER] > before[PICKER] + 3


def _weight_noise(visit: Visit) -> dict[str, float]:
    """Return the SQNR in dB at the output, with the weights of each layer alone quantized."""
    found = deepest_answers(visit.work, last_request(visit.work))
    assert found is not None
    return {score.question.layer: score.sqnr_db for score in found.scores}


def test_a_change_of_grid_that_helped_can_be_used(imbalanced: Visit) -> None:
    pick(ask(imbalanced, Depth.INSTANT, bits=(8,)), PICKER)
    titles = [m.value for m in imbalanced.at.markdown if "A scale for each channel" in m.value]
    assert titles
    (place,) = (
        number for number, remedy in enumerate(_remedies(imbalanced))
        if remedy == "A scale for each channel"
    )  # fmt: skip
    imbalanced.press(f"sensitivity.try.{place}").wait()
    imbalanced.press("sensitivity.use.A scale for each channel")
    (rule,) = imbalanced.work.config.rules
    assert rule.select == PICKER
    assert rule.weight.granularity is Granularity.PER_CHANNEL
    assert "A scale for each channel" not in _remedies(imbalanced)


def _remedies(visit: Visit) -> list[str]:
    """Return the titles of the repairs that the card offers, in order."""
    from analysis.diagnosis.diagnose import build_suspect_card
    from quant.graph.layer_pairs import find_layer_pairs
    from ui.answers.range_book import present_range_book

    network = visit.work.network
    assert network is not None
    book = present_range_book(visit.work, network)
    question = Question(PICKER, 8, Side.WEIGHTS)
    pairs = find_layer_pairs(network.graph)[0]
    return [r.title for r in build_suspect_card(book, visit.work.config, question, pairs).remedies]


def test_a_layer_gets_its_bits_in_one_click_and_undo_takes_them_back(visit: Visit) -> None:
    visit.work.set_config(uniform_config(4, 4))
    pick(ask(visit, Depth.INSTANT), "head.0")
    visit.press("sensitivity.give")
    (rule,) = visit.work.config.rules
    assert (rule.select, rule.weight.bits, rule.activation.bits) == ("head.0", 8, None)
    assert "it has W8." in visit.words
    visit.press("frame.undo")
    assert not visit.work.config.rules


def test_the_layer_in_sight_is_that_of_the_page_ranges(visit: Visit) -> None:
    pick(ask(visit, Depth.INSTANT), "stem.0")
    visit.open(RANGES)
    assert visit.at.selectbox[0].value == "stem.0"
    visit.at.selectbox[0].set_value("blocks.3.expand.0")
    visit.run().open(SENSITIVITY).wait()
    (box,) = (b for b in visit.at.selectbox if b.label == "Layer")
    assert box.value == "blocks.3.expand.0"


def test_without_labels_agreement_stands_for_accuracy(visit: Visit) -> None:
    parts = visit.work.parts
    assert parts is not None

    bare = replace(
        parts.score, source=Unlabelled(parts.score.source), labelled=False,
        source_digest=lambda: "unlabelled",
    )  # fmt: skip
    visit.work.take_split(replace(parts, score=bare))
    answered(ask(visit, Depth.EXACT, bits=(2,), images=16))
    assert "no labels: agreement with float and SQNR stand for accuracy" in visit.words
    (metrics,) = (c for c in visit.at.segmented_control if c.label == "Metric")
    assert metrics.value == "Agreement"
    assert "Accuracy drop" not in metrics.options
    assert not visit.errors


def test_without_a_model_the_page_says_where_to_get_one(visit: Visit) -> None:
    visit.work.forget_model()
    visit.open(SENSITIVITY)
    assert "No model is loaded." in visit.words
    assert "Choose one" in visit.links()


def test_without_images_the_noise_of_weights_is_shown_and_the_rest_explained(visit: Visit) -> None:
    visit.work.take_split(None)
    visit.open(SENSITIVITY).wait()
    assert "need images; none are chosen" in visit.words
    assert "Choose images" in visit.links()
    assert len(table(visit)) == 26
    assert "sensitivity.start" not in keys(visit)
    assert all(b.disabled for b in visit.at.button if str(b.key).startswith("sensitivity.try"))


def test_a_box_that_the_browser_sends_late_does_not_change_the_layer_in_sight(
    visit: Visit,
) -> None:
    """The page follows the worst layer; a rerun may still bring the box as it was before."""
    ask(visit, Depth.INSTANT, bits=(8, 2))
    switch(visit, "sensitivity.width.8.8.2", 2)
    (box,) = (b for b in visit.at.selectbox if b.label == "Layer")
    before, late = box.value, box._widget_state
    switch(visit, "sensitivity.width.8.8.2", 8)
    (box,) = (b for b in visit.at.selectbox if b.label == "Layer")
    assert box.value != before, "the worst of 8 bits is another layer than that of 2"
    worst, states = box.value, visit.at._tree.get_widget_states()
    others = [state for state in states.widgets if state.id != box.proto.id]
    del states.widgets[:]
    states.widgets.extend([*others, late])
    visit.at._run(states)
    (box,) = (b for b in visit.at.selectbox if b.label == "Layer")
    assert box.value == worst
    assert table(visit)["layer"][0] == worst
    switch(visit, "sensitivity.width.8.8.2", 2)
    (box,) = (b for b in visit.at.selectbox if b.label == "Layer")
    assert box.value == before, "nobody picked a layer: the page goes on choosing"
