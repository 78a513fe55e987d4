"""What it costs to go round between networks: three in turn must cost for each what two cost.

Run with: python -m benchmarks.study_reuse

Each network has a study of its own, calibrated once. A visit asks the study for the encodings, the
range book and the layer pairs of a configuration, as a page does. The table gives the first visit
and the later ones; the ratio is that of a later visit among three networks to one among two.
"""

import statistics
import time
from collections.abc import Sequence

from analysis.calibration import calibrate_network
from analysis.network import prepare_network
from analysis.process_settings import choose_thread_count
from analysis.study import Study
from benchmarks.random_images import RandomImages
from model_io.load import load_model
from quant.config import QuantConfig, uniform_config
from quant.progress import drain_steps
from quant.simulation.plan import Side

SAMPLES = ("fashion-mobilenet", "fashion-resnet", "fashion-vit")
ROUNDS = 20
BITS = 8
CALIBRATION_IMAGES = 16


def open_study(sample: str) -> Study:
    """Return a calibrated study of a sample network on random images."""
    loaded = load_model(sample)
    network = prepare_network(loaded.name, loaded.module, loaded.input_shape, loaded.digest)
    images = RandomImages(CALIBRATION_IMAGES, network.graph.input_shape)
    return Study(network, calibrated=drain_steps(calibrate_network(network, images)))


def visit_seconds(study: Study, config: QuantConfig) -> float:
    """Return the seconds that one visit of a page takes."""
    start = time.perf_counter()
    encodings = study.site_encodings(config)
    encodings.encodings_at_bits(encodings.site_names(None, Side.BOTH), BITS)
    study.range_book()
    study.equalizable_pairs()
    return time.perf_counter() - start


def later_visit_seconds(studies: Sequence[Study], config: QuantConfig) -> float:
    """Return the median seconds of a visit when the studies are visited in turn."""
    rounds = [[visit_seconds(study, config) for study in studies] for _ in range(ROUNDS)]
    return statistics.median(seconds for one in rounds for seconds in one)


def main() -> None:
    """Print the first visit, the later ones among two and three networks, and their ratio."""
    choose_thread_count()
    config = uniform_config(BITS, BITS)
    studies = [open_study(sample) for sample in SAMPLES]
    first = [visit_seconds(study, config) for study in studies]
    two = later_visit_seconds(studies[:2], config)
    three = later_visit_seconds(studies, config)
    print(f"first visit, ms      {', '.join(f'{1e3 * seconds:.1f}' for seconds in first)}")
    print(f"later, two in turn   {1e6 * two:8.1f} us")
    print(f"later, three in turn {1e6 * three:8.1f} us")
    print(f"three against two    {three / two:8.2f} (goal: about 1)")


if __name__ == "__main__":
    main()
