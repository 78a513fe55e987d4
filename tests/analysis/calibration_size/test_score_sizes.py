"""The score against the number of calibration images, from ranges of one pass."""

from dataclasses import replace

import pytest

from accelerator.machine import load_preset
from analysis.calibration_size.score_sizes import SizeScore, measure_size_scores
from analysis.calibration_size.size_curve import SizeCurve, SizePoint
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.study import Study
from figures import takeaway
from figures.ranges.calibration_size import noise_by_images, score_by_images, score_sentence
from quant.config import uniform_config
from quant.errors import CalibrationError
from quant.progress import drain_steps
from tests.analysis.diagnosis.head.yolo_network import IMAGES, yolo_study


def test_all_images_give_the_score_of_a_run() -> None:
    study = yolo_study()
    config = uniform_config(8, 8)
    images = study.scored_images.subset([*range(IMAGES)] * 2).first(16)
    again = Study(study.network, study.scored, images, metric=study.metric)
    curve = drain_steps(measure_size_scores(again, config))
    run = drain_steps(
        measure_experiment(again, Experiment(config, load_preset("edge_systolic_8b")))
    )
    assert run.evaluation.metric is not None
    assert [(point.images, len(point.scores)) for point in curve.points] == [(8, 3), (16, 1)]
    assert curve.name == "mAP"
    assert curve.points[-1].scores[0] == pytest.approx(run.evaluation.metric.quantized_value)
    assert curve.float_score == pytest.approx(run.evaluation.metric.float_value)
    assert score_sentence(curve).startswith("Draws of 8 images differ by")
    figure = score_by_images(curve)
    assert "higher is better" in figure.layout.yaxis.title.text
    assert list(figure.data[0].x) == [8, 8, 8, 16]
    lower = replace(curve, higher_is_better=False, share=False, points=(SizeScore(8, (0.1,)),))
    assert "lower is better" in score_by_images(lower).layout.yaxis.title.text
    with pytest.raises(CalibrationError, match="need calibration data"):
        drain_steps(measure_size_scores(Study(study.network, study.scored), config))


def test_the_noise_is_drawn_with_the_place_to_stop() -> None:
    points = (SizePoint(8, 0.4, 0.9, 0.2), SizePoint(16, 0.03, 0.08, 0.1))
    curve = SizeCurve(points, 16, -0.5, (), 32, 4)
    figure = noise_by_images(curve)
    assert takeaway(figure) == "16 calibration images are enough"
    assert list(figure.data[0].y) == [0.9, 0.08]
    assert "still change" in takeaway(noise_by_images(replace(curve, stop_at=None)))
