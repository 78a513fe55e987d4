import pytest
import torch
from torch import Tensor, nn

from analysis.network import Network, forward_first_output, prepare_network
from quant.graph.capture import capture_graph
from quant.inputs import Inputs, sample_count
from tests.networks import CASES


def wide(values: int) -> Network:
    """A network whose largest activation has so many values."""
    return Network("wide", "d", capture_graph(nn.Linear(1, values), (1,)), 0)


@pytest.mark.parametrize(
    ("values", "size"),
    [(1, 64), (78_125, 64), (78_126, 32), (1_204_224, 4), (5_000_000, 1), (20_000_000, 1)],
)
def test_batches_fit_the_cache(values: int, size: int) -> None:
    # 4 bytes a value, 20 MB a batch, a power of two; 4 for EfficientNet-Lite0 (112 x 112 x 96)
    assert wide(values).forward_batch_size == size


def test_prepare_folds_and_keeps_the_function() -> None:
    case = CASES["plain"]
    model = case.model()
    network = prepare_network("plain", model, case.shape, "digest")
    inputs = case.inputs(5)
    torch.testing.assert_close(
        forward_first_output(network.graph, None, inputs), model(inputs), rtol=1e-4, atol=1e-5
    )
    operators = [str(node.target) for node in network.graph.module.graph.nodes]
    assert not any("batch_norm" in name for name in operators)
    assert network.parameters == sum(p.numel() for p in model.parameters())
    assert network.output_count == 10


def test_macs_by_hand() -> None:
    # conv 8x8x8 x 3x3x3, depthwise 8x8x8 x 9, linear 8 x 10
    case = CASES["plain"]
    macs = prepare_network("plain", case.model(), case.shape, "d").mac_count
    assert macs == 512 * 27 + 512 * 9 + 80


@pytest.mark.parametrize("count", [1, 3, 4, 10])
def test_a_fixed_batch_is_fed_padded_batches(count: int) -> None:
    linear = nn.Linear(6, 2)
    sizes = []

    def run(inputs: Inputs) -> Tensor:
        sizes.append(sample_count(inputs))
        result: Tensor = linear(inputs)
        return result

    inputs = torch.randn(count, 6)
    torch.testing.assert_close(forward_first_output(run, 4, inputs), linear(inputs))
    assert set(sizes) == {4}


def test_a_fixed_batch_is_the_batch_size() -> None:
    network = wide(10)
    network.graph.batch = 3
    assert network.forward_batch_size == 3
