"""What quantization costs the trained samples, on the Fashion-MNIST test set."""

import pytest

from quant.config import QuantConfig
from quant.simulation.quant_graph import quantize_graph
from tests.quant.trained import images, logits, trained

# the transformer is slow, so a part must do
COUNTS = {"fashion-resnet": 10_000, "fashion-mobilenet": 10_000, "fashion-vit": 5000}


@pytest.mark.parametrize("name", COUNTS)
def test_w8a8_per_channel_stays_within_three_tenths_of_a_point_of_float(name: str) -> None:
    network = trained(name)
    inputs, labels = images(COUNTS[name])
    simulated = quantize_graph(network.graph, QuantConfig(), network.calibration)
    wanted = (logits(network.graph, inputs).argmax(1) == labels).double().mean()
    got = (logits(simulated, inputs).argmax(1) == labels).double().mean()
    assert float(wanted) > 0.85  # else there would be nothing to lose
    assert abs(float(got - wanted)) <= 0.003
