"""The scores of a training in the measure of the task."""

from dataclasses import replace
from pathlib import Path

from analysis.evaluation.measures import Interval
from analysis.evaluation.user_metric import MetricScore
from analysis.split import ImageChoice
from analysis.training.divide import divide_training_images
from analysis.training.run_training import TrainingTask, loss_for_split, run_training_task
from quant.config import uniform_config
from quant.progress import drain_steps
from quant.training.settings import TrainingSettings
from tests.analysis.results import evaluation, unlabelled
from tests.sample_networks import sample_network
from ui.train.results import score_rows


def test_a_segmenter_is_scored_by_its_metric_before_and_after(tmp_path: Path) -> None:
    network = sample_network("fashion-segmenter")
    split = divide_training_images(network.name, network, ImageChoice(samples=8, calibration=8))
    split = replace(split, train=split.train.first(8), watch=split.watch.first(8))
    settings = TrainingSettings(steps=1, batch=4, loss=loss_for_split(split, None))
    task = TrainingTask(network, uniform_config(4, 8), split, settings, tmp_path)
    found = drain_steps(run_training_task(task))
    rows = score_rows(found.before, found.after)
    assert [row["what"] for row in rows] == [
        "mIoU, float",
        "mIoU, quantized, before",
        "mIoU, quantized, trained",
    ]
    assert found.after.metric is not None
    assert rows[2]["share %"] == 100 * found.after.metric.quantized_value


def test_each_measure_has_its_rows_and_its_column() -> None:
    told = score_rows(evaluation(30), evaluation(10))
    assert [row["what"] for row in told] == [
        "float",
        "quantized, before",
        "quantized, trained",
        "agreement with float, trained",
    ]
    assert [row["share %"] for row in told] == [90.0, 87.0, 89.0, 99.0]
    told = score_rows(unlabelled(900), unlabelled(950))
    assert [(row["what"], row["share %"]) for row in told] == [
        ("agreement with float, before", 90.0),
        ("agreement with float, trained", 95.0),
    ]
    error = MetricScore(
        "MAE", higher_is_better=False, float_value=0.01, quantized_value=0.0123, change=0.0023,
        quantized_ci95=Interval(0.01, 0.02),
    )  # fmt: skip
    scored = replace(unlabelled(900), classes=False, metric=error)
    told = score_rows(scored, scored)
    assert [row["MAE"] for row in told] == [0.01, 0.0123, 0.0123]
    assert told[1]["95 % interval"] == "0.01 to 0.02"
