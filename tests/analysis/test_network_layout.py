"""Places of layers: depths and lanes by hand, and laws over all small networks."""

import pytest
from torch import Tensor, nn

from analysis.network_layout import LayerPlace, layer_places
from quant.graph.capture import capture_graph
from quant.passes.fold_batch_norm import FoldBatchNorm
from tests.networks import CASES, SMALL


def found(name: str) -> dict[str, LayerPlace]:
    case = CASES[name]
    return {
        place.layer: place
        for place in layer_places(FoldBatchNorm()(capture_graph(case.model(), case.shape)))
    }


@pytest.mark.parametrize("name", SMALL)
def test_sources_come_before_and_the_deepest_of_them_one_step_before(name: str) -> None:
    at = found(name)
    for place in at.values():
        depths = [at[source].depth for source in place.sources]
        assert place.depth == (1 + max(depths) if depths else 0)
        assert bool(depths) == (place.kind != "input")


@pytest.mark.parametrize("name", SMALL)
def test_no_two_layers_stand_on_one_spot_and_the_longest_way_is_straight(name: str) -> None:
    at = found(name)
    spots = [(place.depth, place.lane) for place in at.values()]
    assert len(set(spots)) == len(spots)
    on_lane_0 = {place.depth for place in at.values() if place.lane == 0}
    assert on_lane_0 == set(range(max(on_lane_0) + 1))


def test_a_shortcut_stands_beside_its_block() -> None:
    at = found("fashion-resnet")
    shortcut, second = at["blocks.0.shortcut.0"], at["blocks.0.conv2"]
    assert (shortcut.depth, shortcut.lane) == (2, -1)
    assert (second.depth, second.lane) == (3, 0)
    assert at["blocks.0.add"].sources == ("blocks.0.conv2", "blocks.0.shortcut.0")
    assert at["blocks.1.add"].sources == ("blocks.1.conv2", "blocks.0.add")


class Flattened(nn.Module):
    """The batch size of the input goes into the reshape, as the flatten of an ONNX file does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(1, 2, 3), nn.Linear(2 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.linear(self.conv(x).reshape(x.shape[0], 32))
        return found


def test_a_size_is_no_edge() -> None:
    graph = FoldBatchNorm()(capture_graph(Flattened().eval(), (1, 6, 6)))
    assert [place.sources for place in layer_places(graph)] == [(), ("input",), ("conv",)]


def test_values_are_followed_through_reshapes_and_pools() -> None:
    at = found("fashion-vit")
    scores = at["blocks.0.attention.matmul"]
    assert scores.sources == ("blocks.0.attention.query", "blocks.0.attention.key")
    assert {at[source].depth for source in scores.sources} == {scores.depth - 1}
