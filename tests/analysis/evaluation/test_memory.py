"""Calibration and scoring need the same memory for few and for many images."""

from benchmarks.peak_memory import PEAK_GROWTH, compare_peaks
from tests.sample_networks import sample_network


def test_ten_times_the_images_need_the_same_memory() -> None:
    """The activations of 1800 images more would be a third of the process."""
    few, many = compare_peaks(sample_network("fashion-mobilenet"))
    assert PEAK_GROWTH == 1.05
    assert many <= PEAK_GROWTH * few
