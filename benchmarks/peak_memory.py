"""The peak of memory of a calibration and a score: it must not grow with the images."""

from accelerator.machine import load_preset
from analysis.network import Network
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.study import Study
from analysis.training.memory import forget_peak_memory, peak_memory_bytes
from data_io.bundled import fashion_test_set, fashion_train_part
from quant.config import uniform_config
from quant.progress import drain_steps

FEW_IMAGES, MANY_IMAGES, PEAK_GROWTH = 200, 2000, 1.05


def compare_peaks(network: Network) -> tuple[int, int]:
    """Return the peak with few images and with many, in bytes, of a network for Fashion-MNIST."""
    _peak_of_run(network, FEW_IMAGES)  # what is imported, and what the C library keeps
    return _peak_of_run(network, FEW_IMAGES), _peak_of_run(network, MANY_IMAGES)


def _peak_of_run(network: Network, images: int) -> int:
    study = Study(network, fashion_test_set().sample(images), fashion_train_part().sample(images))
    wish = Experiment(uniform_config(8, 8), load_preset("edge_systolic_8b"))
    forget_peak_memory()
    drain_steps(study.collect_statistics())
    drain_steps(measure_experiment(study, wish))
    return peak_memory_bytes()
