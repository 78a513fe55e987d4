"""How many calibration images: chunks add up, the curve falls, an outlier is named."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from analysis.calibration import calibrate_network
from analysis.calibration_size.chunk_statistics import ChunkedCalibration, calibrate_in_chunks
from analysis.calibration_size.size_curve import (
    SizeCurve,
    SizePoint,
    find_stop,
    fit_power,
    measure_sizes,
)
from analysis.network import Network, prepare_network
from quant.config import QuantConfig, uniform_config
from quant.errors import CalibrationError
from quant.progress import drain_steps
from quant.ranges.estimators import encode_statistics
from quant.spec import Estimator
from tests.analysis.results import ToyData
from tests.networks import CASES

IMAGES = 128
ODD = 37
"""The image with one value far from all others."""


@cache
def network() -> Network:
    case = CASES["plain"]
    return prepare_network("plain", case.model(), case.shape, "digest")


@cache
def data() -> ToyData:
    inputs = CASES["plain"].inputs(IMAGES)
    inputs[ODD] *= 6
    return ToyData(inputs)


@cache
def chunks() -> ChunkedCalibration:
    return drain_steps(calibrate_in_chunks(network(), data()))


def with_estimator(estimator: Estimator) -> QuantConfig:
    config = uniform_config(8, 8)
    activation = replace(config.default.activation, estimator=estimator)
    return replace(config, default=replace(config.default, activation=activation))


@cache
def curve() -> SizeCurve:
    return drain_steps(measure_sizes(network(), data(), with_estimator(Estimator.MIN_MAX)))


def test_all_chunks_together_are_one_pass() -> None:
    whole = drain_steps(calibrate_network(network(), data())).statistics
    spec = uniform_config(8, 8).default.activation
    for name, site in chunks().sites.items():
        joined, single = site.subset(range(chunks().chunks)), whole[name]
        assert (joined.count, joined.zeros) == (single.count, single.zeros)
        assert joined.low == pytest.approx(single.low, rel=1e-6)
        assert joined.high == pytest.approx(single.high, rel=1e-6)
        first, second = (encode_statistics(one, spec) for one in (joined, single))
        assert float(first.scale) == pytest.approx(float(second.scale), rel=1e-4)


def test_more_images_make_less_noise_and_the_odd_image_is_named() -> None:
    found = curve()
    assert [point.images for point in found.points] == [8, 16, 32, 64]
    assert found.points[0].excess_db > found.points[-1].excess_db > 0
    assert found.images == IMAGES
    assert {one.index for one in found.outliers} >= {ODD}
    assert found.outliers[0].share > 0.3


def test_the_spread_is_foreseen_at_four_times_as_many_images() -> None:
    even = ToyData(CASES["plain"].inputs(512).clamp(-1, 1))
    found = drain_steps(measure_sizes(network(), even, with_estimator(Estimator.PERCENTILE)))
    assert not found.outliers
    few = found.points[:-2]
    power = fit_power([one.images for one in few], [one.spread for one in few])
    foreseen = replace(found, points=few, power=power).predict_spread(found.points[-1].images)
    assert 1 / 1.5 <= foreseen / found.points[-1].spread <= 1.5


def test_enough_images_are_those_from_which_on_no_draw_is_noisy() -> None:
    worst = {8: 0.05, 16: 0.3, 32: 0.09, 64: 0.02}
    points = [SizePoint(images, 0.0, decibels, 0.01) for images, decibels in worst.items()]
    assert find_stop(points) == 32
    assert find_stop(points[:2]) is None
    told = replace(curve(), stop_at=32).sentence
    assert told.startswith("32 calibration images are enough")


def test_the_spread_of_means_falls_with_the_root_of_images() -> None:
    images = [8, 16, 32, 64]
    assert fit_power(images, [1 / math.sqrt(n) for n in images]) == pytest.approx(-0.5)
    assert fit_power([8], [0.0]) == -0.5


def test_too_few_images_are_told() -> None:
    with pytest.raises(CalibrationError, match="needs at least 16; got 9"):
        drain_steps(calibrate_in_chunks(network(), ToyData(torch.zeros(9, 3, 16, 16))))
    with pytest.raises(CalibrationError, match="in this configuration none does"):
        drain_steps(measure_sizes(network(), data(), uniform_config(8, 32)))


def test_draws_are_the_same_each_time() -> None:
    assert curve() == drain_steps(
        measure_sizes(network(), data(), with_estimator(Estimator.MIN_MAX))
    )
    assert np.isfinite([point.excess_db for point in curve().points]).all()
