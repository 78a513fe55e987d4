"""Calibration and scoring need the same memory for few and for many images."""

from accelerator.machine import load_preset
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.study import Study
from analysis.training.memory import forget_peak_memory, peak_memory_bytes
from data_io.bundled import fashion_test_set, fashion_train_part
from quant.config import uniform_config
from quant.progress import drain_steps
from tests.sample_networks import sample_network

WISH = Experiment(uniform_config(8, 8), load_preset("edge_systolic_8b"))


def peak_of_run(images: int) -> int:
    network = sample_network("fashion-mobilenet")
    study = Study(network, fashion_test_set().sample(images), fashion_train_part().sample(images))
    forget_peak_memory()
    drain_steps(study.collect_statistics())
    drain_steps(measure_experiment(study, WISH))
    return peak_memory_bytes()


def test_ten_times_the_images_need_the_same_memory() -> None:
    """The activations of 1800 images more would be a third of the process."""
    peak_of_run(200)  # what is imported, and what the C library keeps
    few, many = peak_of_run(200), peak_of_run(2000)
    assert many <= 1.05 * few
