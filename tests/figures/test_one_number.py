"""A number that two places show is one number: the ratio of channels, intervals, SQNRs, images."""

import re

import numpy as np
import pytest

from analysis.diagnosis.causes.root_cause import channel_spread
from analysis.evaluation.layer_sqnr import LAYER_IMAGES
from analysis.ranges.distributions import format_ratio
from analysis.ranges.findings import Cause
from analysis.ranges.tensors import open_range_book
from figures import takeaway
from figures.quality.layer_sqnr import layer_images_note
from figures.ranges.channels import channel_ranges
from figures.repair.before_after import channel_spread as spread_of_repair
from figures.repair.before_after import ranges_before_after
from quant.config import uniform_config
from quant.simulation.plan import Side
from quant.spec import Granularity
from tests.sample_networks import sample_network


def test_ranges_repair_and_diagnosis_tell_one_ratio_of_channels() -> None:
    """Ranges once told 783 times and Repair 911-fold of one weight."""
    network = sample_network("fashion-mobilenet-imbalanced")
    book = open_range_book(network.graph, None)
    config = uniform_config(8, 8, Granularity.PER_TENSOR)
    examined = book.examine_all_tensors(config, Side.WEIGHTS)
    unequal = [
        (item, finding)
        for item in examined
        for finding in item.findings
        if finding.cause is Cause.CHANNELS
    ]
    assert unequal
    for item, finding in unequal:
        channels = item.distribution.channels
        assert channels is not None
        told = format_ratio(channels.widest_to_median_ratio)
        ranges = np.stack([channels.low, channels.high], 1).tolist()
        assert f"spans {told} times the median" in finding.sentence
        assert f"spans {told} times the median" in takeaway(
            channel_ranges(channels, item.fit, "weight", by_range=True)
        )
        assert channel_spread(channels).ratio == channels.widest_to_median_ratio
        assert spread_of_repair(ranges) == pytest.approx(channels.widest_to_median_ratio)
        title = takeaway(ranges_before_after(item.layer_name, ranges, ranges))
        assert re.findall(r"[\d.]+ times", title) == [f"{told} times", f"{told} times"]


def test_the_sqnr_of_layers_says_why_it_is_not_that_of_the_output() -> None:
    assert f"first {LAYER_IMAGES} images" in layer_images_note("image")
    assert layer_images_note("row").endswith("that of all rows.")
