from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from accelerator.machine import load_preset
from analysis.calibration import Calibrated, calibrate_network
from analysis.evaluation.evaluate import Evaluation, FloatScore
from analysis.evaluation.measures import Interval
from analysis.evaluation.user_metric import MetricScore
from analysis.network import Network
from analysis.runs.apply_recipe import (
    apply_whole_recipe,
    pass_needs_images,
    plain_quantized_stage,
    title_of_pass,
)
from analysis.runs.experiment import Experiment
from analysis.runs.recipe_steps import told_steps
from analysis.runs.repair import (
    RepairStep,
    repair_and_measure,
    repair_verdict,
    run_from_steps,
    told_of_steps,
)
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import RunStore
from analysis.study import Study
from data_io.bundled import fashion_test_set, fashion_train_part
from data_io.dataset import Dataset
from quant.config import QuantConfig, uniform_config
from quant.errors import QuantError
from quant.passes.absorb_bias import AbsorbBias
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias, Corrected
from quant.passes.equalize import Equalize, Equalized
from quant.passes.methods import Method
from quant.passes.recipe import RecipeError
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.progress import drain_steps
from quant.spec import Granularity
from tests.sample_networks import sample_network

CONFIG = uniform_config(8, 8, Granularity.PER_TENSOR)
RECIPE = (Equalize(), CorrectBias())


def network() -> Network:
    return sample_network("fashion-mobilenet-imbalanced")


@cache
def scored() -> Dataset:
    return fashion_test_set().sample(200)


@cache
def seen() -> Dataset:
    return fashion_train_part().sample(32)


@cache
def calibrated() -> Calibrated:
    return drain_steps(calibrate_network(network(), seen()))


@cache
def steps(config: QuantConfig = CONFIG) -> tuple[RepairStep, ...]:
    return drain_steps(
        repair_and_measure(
            Study(network(), scored(), seen(), calibrated=calibrated()), config, RECIPE
        )
    )


def test_the_first_step_is_plain_quantization_as_a_run_measures_it() -> None:
    plain = Experiment(CONFIG, load_preset("edge_systolic_8b"), given_name="plain")
    run = drain_steps(
        measure_experiment(Study(network(), scored(), calibrated=calibrated()), plain)
    )
    assert steps()[0].title == "Plain quantization"
    assert steps()[0].evaluation == run.evaluation
    assert steps()[0].layer_sqnr_db == run.layer_sqnr_db


def test_each_pass_is_measured_in_order_with_what_it_found() -> None:
    assert [step.title for step in steps()[1:]] == ["Equalize", "Correct biases (empirical)"]
    assert isinstance(steps()[1].outcome, Equalized)
    assert isinstance(steps()[2].outcome, Corrected)
    before = steps()[0].evaluation.quantized_top1
    assert before is not None
    assert before < 0.5  # the textbook case: it collapses at one scale a tensor
    assert steps()[1].evaluation.sqnr_db > steps()[0].evaluation.sqnr_db + 20
    assert steps()[1].float_score is None  # the function stays, so there is nothing to measure


def test_ranges_of_channels_come_closer_by_equalization() -> None:
    def spread(step: RepairStep, layer: str) -> float:
        length = step.channel_ranges[layer].abs().amax(1)
        return float(length.max() / length.median())

    pair = steps()[1].outcome
    assert isinstance(pair, Equalized)
    first = pair.pairs[0].first
    assert spread(steps()[1], first) < spread(steps()[0], first) / 2


def test_a_recipe_in_a_run_gives_what_its_steps_gave(tmp_path: Path) -> None:
    machine = load_preset("edge_systolic_8b")
    experiment = Experiment(CONFIG, machine, recipe=RECIPE, given_name="repaired")
    run = drain_steps(
        measure_experiment(Study(network(), scored(), seen(), calibrated=calibrated()), experiment)
    )
    assert run.recipe == ("Equalize", "Correct biases (empirical)")
    assert run.evaluation == steps()[-1].evaluation
    study = Study(network(), scored(), seen(), calibrated=calibrated())
    kept = run_from_steps(steps(), study, experiment.with_name("kept"))
    assert (kept.recipe, kept.evaluation, kept.cost) == (run.recipe, run.evaluation, run.cost)
    store = RunStore(tmp_path)
    store.save_run(kept)
    assert store.all_runs() == (kept,)


def test_an_illegal_order_stops_before_anything_runs() -> None:
    work = repair_and_measure(
        Study(network(), scored(), seen(), calibrated=calibrated()),
        CONFIG,
        (CorrectBias(), Equalize()),
    )
    with pytest.raises(RecipeError, match="Equalize"):
        next(work)


@pytest.mark.parametrize(
    ("step", "needs"),
    [
        (Equalize(), False),
        (AbsorbBias(), False),
        (AbsorbBias(from_data=True), True),
        (CorrectBias(Method.ANALYTIC), False),
        (CorrectBias(), True),
        (AdaRound(), True),
        (Reconstruct(), True),
    ],
)
def test_passes_that_learn_refuse_to_run_without_images(
    step: Equalize | AbsorbBias | CorrectBias | AdaRound | Reconstruct, needs: bool
) -> None:
    assert pass_needs_images(step) == needs
    stage = plain_quantized_stage(network(), CONFIG, calibrated())
    if needs:
        with pytest.raises(QuantError, match="learns from data"):
            drain_steps(apply_whole_recipe(stage, (step,), CONFIG, None))
    assert title_of_pass(step)


def test_replacing_relu6_measures_what_it_costs_the_float_network() -> None:
    study = Study(network(), scored().first(50), seen(), calibrated=calibrated())
    found = drain_steps(repair_and_measure(study, CONFIG, (Equalize(replace_relu6=True),)))
    assert found[1].float_score is not None
    assert 0 <= found[1].float_score.top1 <= 1


def step_with(top1: float, float_score: FloatScore | None = None, db: float = 30.0) -> RepairStep:
    evaluation = Evaluation(
        samples=1000, labelled=True, agreement=top1, agreement_ci95=Interval(0, 1), sqnr_db=20.0,
        float_top1=0.9, quantized_top1=top1,
        quantized_top1_ci95=Interval(top1 - 0.02, top1 + 0.02),
    )  # fmt: skip
    return RepairStep("AdaRound", None, evaluation, {"a": db, "b": 20.0}, {}, None, float_score, 1)


def test_a_verdict_says_what_a_pass_did_and_why_it_did_harm() -> None:
    plain = step_with(0.8)
    assert repair_verdict(plain, step_with(0.85)) == (
        "AdaRound brings 5.00 points of top-1, to 85.00 %."
    )
    assert "leaves top-1 at 80.00 %" in repair_verdict(plain, step_with(0.8))
    assert "may be chance" in repair_verdict(plain, step_with(0.79))
    assert "a: 12.0 dB" in repair_verdict(plain, step_with(0.7, db=18.0))
    assert "add up" in repair_verdict(plain, step_with(0.7))
    lost = FloatScore(1000, 0.6, Interval(0.5, 0.7))
    assert "loses 30.00 points" in repair_verdict(plain, step_with(0.7, lost))


def test_without_labels_a_verdict_speaks_of_agreement() -> None:
    unlabelled = replace(step_with(0.8).evaluation, labelled=False, quantized_top1=None)
    step = replace(step_with(0.8), evaluation=unlabelled)
    better = replace(step, evaluation=replace(unlabelled, agreement=0.9))
    assert "10.00 points of agreement with float" in repair_verdict(step, better)


def test_a_verdict_speaks_of_the_metric_of_the_task() -> None:
    share = MetricScore(
        "mAP", higher_is_better=True, float_value=0.9, quantized_value=0.8, change=-0.1,
        quantized_ci95=Interval(0.78, 0.82), share=True,
    )  # fmt: skip
    error = MetricScore(
        "MAE", higher_is_better=False, float_value=0.01, quantized_value=0.0135, change=0.0035
    )
    start = step_with(0.5).evaluation

    def with_metric(metric: MetricScore, value: float) -> RepairStep:
        score = replace(start, metric=replace(metric, quantized_value=value))
        return replace(step_with(0.5), evaluation=score)

    assert repair_verdict(with_metric(share, 0.8), with_metric(share, 0.9)) == (
        "AdaRound brings 10.00 points of mAP, to 90.00 %."
    )
    assert repair_verdict(with_metric(error, 0.0135), with_metric(error, 0.0123)) == (
        "AdaRound lowers MAE by 0.0012, to 0.0123."
    )
    assert repair_verdict(with_metric(error, 0.0123), with_metric(error, 0.0135)).startswith(
        "AdaRound raises MAE by 0.0012, to 0.0135. No layer"
    )


def test_steps_of_an_older_run_are_told_in_what_they_keep() -> None:
    study = Study(network(), scored(), seen(), calibrated=calibrated())
    experiment = Experiment(CONFIG, load_preset("edge_systolic_8b"), RECIPE)
    run = run_from_steps(steps(), study, experiment)
    assert told_steps(run) == told_of_steps(steps())
    older = replace(run, steps=tuple(replace(step, told=None) for step in run.steps))
    assert [(one.name, one.value) for one in told_steps(older)] == [
        ("top-1", step.score) for step in run.steps
    ]
    plain = replace(run.evaluation, labelled=False, quantized_top1=None, classes=False)
    assert [one.value_text for one in told_steps(replace(older, evaluation=plain))] == [
        f"{step.sqnr_db:.1f} dB" for step in run.steps
    ]
