import math
from typing import Any

import pytest

from analysis.network_blocks import fold_network
from analysis.network_layout import LayerPlace
from analysis.sensitivity.present_bits import PresentLayerLoss, PresentLoss
from analysis.sensitivity.ranking import HarmMetric
from figures import takeaway
from figures.network.colors import (
    colored_by_bits,
    colored_by_loss,
    colored_by_share,
    colored_by_sqnr,
    equalized_pairs,
)

# input -> a -> b -> c -> add, with a skip from a to add and d beside b
PLACES = (
    LayerPlace("input", "input", 0, 0, ()),
    LayerPlace("net.0.a", "conv", 1, 0, ("input",)),
    LayerPlace("net.0.b", "depthwise", 2, 0, ("net.0.a",)),
    LayerPlace("net.0.d", "conv", 2, -1, ("net.0.a",)),
    LayerPlace("net.1.c", "conv", 3, 0, ("net.0.b", "net.0.d")),
    LayerPlace("net.1.add", "add", 4, 0, ("net.1.c", "net.0.a")),
)
MACS = {"net.0.a": 10, "net.0.b": 20, "net.0.d": 0, "net.1.c": 70}


def nodes(figure: object) -> dict[str, tuple[float, float, object]]:
    """Return place and colour of every layer drawn."""
    return {
        name: (x, y, color)
        for trace in figure.data  # type: ignore[attr-defined]
        if trace.customdata is not None
        for (name,), x, y, color in zip(
            trace.customdata, trace.x, trace.y,
            trace.marker.color if not isinstance(trace.marker.color, str)
            else [None] * len(trace.x), strict=True,
        )
    }  # fmt: skip


def test_every_layer_is_drawn_once_where_it_stands() -> None:
    found = nodes(colored_by_share(PLACES, MACS, "MACs", "do"))
    assert {name: spot[:2] for name, spot in found.items()} == {
        place.layer: (place.depth, place.lane) for place in PLACES
    }
    assert found["net.1.c"][2] == pytest.approx(70)
    assert found["net.0.d"][2] is None  # hollow: no MACs


def test_an_edge_for_each_source_and_those_past_layers_go_over_them() -> None:
    figure = colored_by_share(PLACES, MACS, "MACs", "do")
    edges = figure.data[0]
    ways: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(edges.x, edges.y, strict=True):
        if x is None:
            ways.append([])
        else:
            ways[-1].append((x, y))
    ends = {(way[0], way[-1]) for way in ways if way}
    assert len(ends) == sum(len(place.sources) for place in PLACES)
    assert ((1, 0), (4, 0)) in ends
    skip = next(way for way in ways if way and (way[0], way[-1]) == ((1, 0), (4, 0)))
    assert max(y for _, y in skip) > 0.5
    low, high = figure.layout.yaxis.range
    assert low < -1
    assert high > max(y for _, y in skip)


def test_titles_say_where_most_is() -> None:
    assert takeaway(colored_by_share(PLACES, MACS, "MACs", "do")) == (
        "One layer, net.1.c, does half of the MACs"
    )
    even = dict.fromkeys(MACS, 5)
    assert takeaway(colored_by_share(PLACES, even, "parameters", "hold")) == (
        "Two of 5 layers hold half of the parameters"
    )


def test_bits_are_coloured_on_their_own_scale() -> None:
    figure = colored_by_bits(PLACES, {"net.0.a": 4, "net.0.b": 32, "net.1.c": 8}, "weights")
    assert takeaway(figure) == "One of 3 layers have weights in 4 bit, the others in up to float"
    found = nodes(figure)
    assert [found[name][2] for name in ("net.0.a", "net.0.b", "net.1.c")] == [2, 5, 3]
    assert "float" in figure.layout.coloraxis.colorbar.ticktext
    same = colored_by_bits(PLACES, {"net.0.a": 8, "net.0.b": 8}, "weights")
    assert takeaway(same) == "All 2 layers with weights have them in 8 bit"


def test_a_picked_layer_has_a_ring() -> None:
    plain = colored_by_share(PLACES, MACS, "MACs", "do")
    ringed = colored_by_share(PLACES, MACS, "MACs", "do", "net.0.d")
    (ring,) = (t for t in ringed.data if t.marker.symbol == "circle-open" and t.marker.size == 22)
    assert (ring.x, ring.y) == ((2,), (-1,))
    assert len(ringed.data) == len(plain.data) + 1
    assert len(colored_by_share(PLACES, MACS, "MACs", "do", "gone").data) == len(plain.data)


def test_the_noisiest_layer_is_named_and_exact_ones_are_hollow() -> None:
    figure = colored_by_sqnr(PLACES, {"net.0.a": 30.0, "net.0.b": 12.0, "input": math.inf}, "run")
    assert takeaway(figure) == "net.0.b is the noisiest layer of run: 12.0 dB"
    assert nodes(figure)["input"][2] is None
    exact = colored_by_sqnr(PLACES, {"net.0.a": math.inf}, "run")
    assert takeaway(exact) == "No layer of run makes an error"


def test_pairs_are_arcs_under_the_network() -> None:
    spreads = {"net.0.a": 2.0, "net.0.b": 100.0, "net.1.c": 1.0}
    figure = equalized_pairs(PLACES, spreads, [("net.0.a", "net.0.b"), ("net.0.b", "net.1.c")])
    (arcs,) = (trace for trace in figure.data if trace.name == "Equalized pair")
    assert list(arcs.x).count(None) == 2
    assert min(y for y in arcs.y if y is not None) < -0.5
    assert takeaway(figure) == "Two pairs join 3 of the 3 layers with weights"
    assert nodes(figure)["net.0.b"][2] == pytest.approx(2)


def test_a_block_has_the_sum_of_shares_the_fewest_bits_and_the_worst_sqnr() -> None:
    folded = fold_network(PLACES, most=4)
    assert dict(folded.members) == {
        "net.0": ("net.0.a", "net.0.b", "net.0.d"),
        "net.1": ("net.1.c", "net.1.add"),
    }
    shares = colored_by_share(PLACES, MACS, "MACs", "do", "net.1.c", folded)
    found = nodes(shares)
    assert found["net.0"][2] == pytest.approx(30)
    assert found["net.1"][2] == pytest.approx(70)
    assert takeaway(shares) == "One layer, net.1.c, does half of the MACs", "a title is of layers"
    assert any("2 layers, 70 % of the MACs" in text for text in hovers(shares))
    bits = colored_by_bits(PLACES, {"net.0.a": 4, "net.0.b": 8}, "weights", folded=folded)
    assert any("3 layers, weights: 4 bit to 8 bit" in text for text in hovers(bits))
    noise = {"net.0.a": 20.0, "net.0.b": 10.0, "net.1.c": math.inf}
    loudest = colored_by_sqnr(PLACES, noise, "a run", folded=folded)
    assert nodes(loudest)["net.0"][2] == pytest.approx(10)
    rings = [t for t in shares.data if t.marker.symbol == "circle-open"]
    assert [(t.x, t.y) for t in rings] == [((found["net.1"][0],), (found["net.1"][1],))]


def hovers(figure: Any) -> list[str]:
    return [text for trace in figure.data if trace.text is not None for text in trace.text]


def test_the_loss_of_layers_is_a_measured_quantity_too() -> None:
    loss = PresentLoss(
        HarmMetric.ACCURACY,
        (PresentLayerLoss("net.1.c", 3.0, 1.0), PresentLayerLoss("net.0.a", 0.5, None)),
        0,
    )
    figure = colored_by_loss(PLACES, loss, "W4A4", folded=fold_network(PLACES, most=4))
    assert takeaway(figure) == "net.1.c loses most of the accuracy at W4A4: 4.0 points alone"
    assert nodes(figure)["net.1"][2] == pytest.approx(4)
    assert nodes(figure)["net.0"][2] == pytest.approx(0.5)
