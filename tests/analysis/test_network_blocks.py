"""Blocks of a network: by hand, and on a chain as deep as ResNet-101."""

import pytest

from analysis.network_blocks import BLOCK, MOST_NODES, fold_network, unfolded_network
from analysis.network_layout import LayerPlace, place_nodes


def network(**feeds: str) -> tuple[LayerPlace, ...]:
    """Return places of layers by name (_ stands for a dot) with their sources, with spaces."""
    named = {
        name.replace("_", "."): tuple(s.replace("_", ".") for s in sources.split())
        for name, sources in feeds.items()
    }
    return place_nodes(named, dict.fromkeys(named, "conv"))


def resnet(blocks: tuple[int, ...] = (3, 4, 23, 3)) -> tuple[LayerPlace, ...]:
    """Return the layers of a ResNet with bottlenecks: convolutions and additions."""
    feeds: dict[str, tuple[str, ...]] = {"input": (), "conv1": ("input",)}
    last = "conv1"
    for stage, count in enumerate(blocks, 1):
        for number in range(count):
            name = f"layer{stage}.{number}"
            way = last
            for part in ("conv1", "conv2", "conv3"):
                feeds[f"{name}.{part}"], way = (way,), f"{name}.{part}"
            beside = last
            if number == 0:
                feeds[f"{name}.downsample.0"], beside = (last,), f"{name}.downsample.0"
            feeds[f"{name}.add"] = (way, beside)
            last = f"{name}.add"
    feeds["fc"] = (last,)
    return place_nodes(feeds, {name: "add" if name.endswith("add") else "conv" for name in feeds})


def test_a_deep_network_begins_as_its_blocks() -> None:
    places = resnet()
    assert len(places) == 139
    found = fold_network(places)
    names = [place.layer for place in found.places]
    assert len(names) == 3 + 33 <= MOST_NODES
    assert names[:3] == ["input", "conv1", "layer1.0"]
    assert found.members["layer3.22"] == tuple(
        f"layer3.22.{n}" for n in ("conv1", "conv2", "conv3", "add")
    )
    edges = {place.layer: place.sources for place in found.places}
    assert edges["layer2.0"] == ("layer1.2",)
    assert edges["fc"] == ("layer4.2",)
    assert [p.depth for p in found.places] == list(range(36)), "blocks in a row"
    assert found.node_of("layer3.22.add") == "layer3.22"
    assert found.node_of("fc") == "fc"


def test_an_unfolded_block_shows_its_layers_and_their_edges() -> None:
    found = fold_network(resnet(), ["layer1.0"])
    edges = {place.layer: place.sources for place in found.places}
    assert "layer1.0" not in edges
    assert edges["layer1.0.add"] == ("layer1.0.conv3", "layer1.0.downsample.0")
    assert edges["layer1.1"] == ("layer1.0.add",)


def test_no_layer_and_no_edge_between_blocks_is_lost() -> None:
    places = resnet()
    for unfolded in ((), ("layer1.0", "layer4.2")):
        found = fold_network(places, unfolded)
        drawn = [layer for p in found.places for layer in found.members.get(p.layer, (p.layer,))]
        assert sorted(drawn) == sorted(p.layer for p in places)
        edges = {(s, p.layer) for p in found.places for s in p.sources}
        wanted = {(found.node_of(s), found.node_of(p.layer)) for p in places for s in p.sources}
        assert edges == {(a, b) for a, b in wanted if a != b}


def test_few_layers_fold_too_and_one_layer_is_no_block() -> None:
    places = network(x="", a_1="x", a_2="a_1", b="a_2")
    found = fold_network(places)
    assert [(p.layer, p.kind) for p in found.places] == [("x", "conv"), ("a", BLOCK), ("b", "conv")]
    assert unfolded_network(places).places == places


def test_a_block_that_a_path_leaves_and_enters_again_is_unfolded() -> None:
    places = network(x="", a_1="x", b_1="a_1", b_2="b_1", a_2="b_2", c="a_2")
    found = fold_network(places, most=4)
    names = [place.layer for place in found.places]
    depth = {place.layer: place.depth for place in found.places}
    assert "a" not in names
    assert all(depth[s] < depth[p.layer] for p in found.places for s in p.sources)


def test_modules_that_hold_one_module_alone_are_passed() -> None:
    places = network(x="", m_n_o_1="x", m_n_o_2="m_n_o_1", y="m_n_o_2")
    found = fold_network(places, most=3)
    assert [p.layer for p in found.places] == ["x", "m.n.o", "y"]
    opened = fold_network(places, ["m.n.o"], most=3)
    assert [p.layer for p in opened.places] == ["x", "m.n.o.1", "m.n.o.2", "y"]


@pytest.mark.parametrize("names", [("Conv_0", "Conv_1"), ("a/conv", "a/conv/Relu")])
def test_names_with_slashes_or_without_paths(names: tuple[str, str]) -> None:
    first, second = names
    places = place_nodes(
        {"x": (), first: ("x",), second: (first,)}, dict.fromkeys(("x", first, second), "conv")
    )
    found = fold_network(places)
    held = [layer for p in found.places for layer in found.members.get(p.layer, (p.layer,))]
    assert held == ["x", first, second]


def test_outer_modules_repeated_in_names_of_onnx_files_are_told_once() -> None:
    names = [f"/layer3/layer3.{block}/conv{conv}/Conv" for block in (0, 1) for conv in (1, 2)]
    feeds = dict(zip(names, ((), *((name,) for name in names)), strict=False))
    feeds = {"input": (), **feeds, names[0]: ("input",)}
    places = place_nodes(feeds, dict.fromkeys(feeds, "conv"))
    assert list(fold_network(places, most=3).members) == ["layer3.0", "layer3.1"]
