"""Layers folded into blocks by the path of their names, so that deep networks stay readable."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from analysis.network_layout import LayerPlace, place_nodes

BLOCK = "block"
MOST_NODES = 48
"""Nodes that a drawing holds readably (our choice); more layers begin as blocks."""
_SEPARATOR = re.compile(r"[./]")


@dataclass(frozen=True, slots=True)
class FoldedNetwork:
    """A network of blocks and layers: `members` holds the layers of each block."""

    places: tuple[LayerPlace, ...]
    members: Mapping[str, tuple[str, ...]]

    def node_of(self, layer: str) -> str:
        """Return the block that holds a layer, or the layer itself."""
        held = (name for name, layers in self.members.items() if layer in layers)
        return next(held, layer)


def unfolded_network(places: Sequence[LayerPlace]) -> FoldedNetwork:
    """Return the network with each layer drawn by itself."""
    return FoldedNetwork(tuple(places), {})


def fold_network(
    places: Sequence[LayerPlace], unfolded: Collection[str] = (), most: int = MOST_NODES
) -> FoldedNetwork:
    """Return the network with layers of one path as a block, at most `most` nodes if possible.

    The blocks are the modules at the deepest level of the names that gives few enough nodes, but
    fewer nodes than layers. A block whose name is in `unfolded` is replaced by the blocks and
    layers inside. Edges between blocks are the edges between their layers. A block through which
    a path leaves and comes back is unfolded, since the drawing goes from left to right.

    Example:
        >>> a, b = (
        ...     LayerPlace(f"m.{n}", "conv", i, 0, s)
        ...     for i, (n, s) in enumerate((("a", ()), ("b", ("m.a",))))
        ... )
        >>> c = LayerPlace("fc", "linear", 2, 0, ("m.b",))
        >>> [place.layer for place in fold_network([a, b, c]).places]
        ['m.a', 'm.b', 'fc']
    """
    paths = {place.layer: _path(place) for place in places}
    level = _first_level(paths, min(most, len(paths) - 1))
    opened = set(unfolded)
    while True:
        keys = {layer: _key(layer, paths, level, opened) for layer in paths}
        members = _members_by_name(keys)
        feeds = _contracted_feeds(places, members)
        ordered, circular = _in_order(feeds)
        if not circular:
            break
        opened |= {name for name in circular if name in members}
    kinds = {place.layer: place.kind for place in places} | dict.fromkeys(members, BLOCK)
    return FoldedNetwork(place_nodes(ordered, kinds), members)


def _path(place: LayerPlace) -> tuple[str, ...]:
    """Return the parts of a layer's name; an input stands by itself.

    Torch's older ONNX exporter repeats outer modules: "/layer3/layer3.0/Add" is in "layer3.0".
    """
    if not place.sources:
        return (place.layer,)
    parts = [part for part in _SEPARATOR.split(place.layer) if part]
    if "/" in place.layer:
        parts = [part for part, _ in groupby(parts)]
    return tuple(parts) or (place.layer,)


def _first_level(paths: Mapping[str, tuple[str, ...]], most: int) -> int:
    """Return the deepest level of the names with at most `most` nodes; at least 1."""
    deepest = max(map(len, paths.values()), default=1)
    for level in range(deepest, 1, -1):
        if len({path[:level] for path in paths.values()}) <= most:
            return level
    return 1


def _key(
    layer: str, paths: Mapping[str, tuple[str, ...]], level: int, opened: Collection[str]
) -> tuple[str, ...]:
    """Return the path of the node that shows a layer; opened blocks show what they hold."""
    path = paths[layer]
    key = path[:level]
    while len(key) < len(path) and block_name(key) in opened:
        ours = _below(key, paths)
        key = path[: len(key) + 1]
        while len(key) < len(path) and _below(key, paths) == ours:
            key = path[: len(key) + 1]  # a module that holds one module alone
    return key


def _below(key: tuple[str, ...], paths: Mapping[str, tuple[str, ...]]) -> int:
    return sum(path[: len(key)] == key for path in paths.values())


def block_name(key: Iterable[str]) -> str:
    """Return the name of the block with a path."""
    return ".".join(key)


def _members_by_name(keys: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the layers of each block; a path with one layer is no block."""
    found: dict[tuple[str, ...], list[str]] = {}
    for layer, key in keys.items():
        found.setdefault(key, []).append(layer)
    return {block_name(key): tuple(layers) for key, layers in found.items() if len(layers) > 1}


def _contracted_feeds(
    places: Sequence[LayerPlace], members: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the sources of each node, without the edges inside a block."""
    node = {place.layer: place.layer for place in places}
    node |= {layer: name for name, layers in members.items() for layer in layers}
    feeds: dict[str, dict[str, None]] = {}
    for place in places:
        ours = feeds.setdefault(node[place.layer], {})
        for source in place.sources:
            if node[source] != node[place.layer]:
                ours[node[source]] = None
    return {name: tuple(sources) for name, sources in feeds.items()}


def _in_order(
    feeds: Mapping[str, tuple[str, ...]],
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the nodes with sources first, and the nodes that lie on or behind a circle."""
    place = {name: number for number, name in enumerate(feeds)}
    missing = {name: len(sources) for name, sources in feeds.items()}
    users: dict[str, list[str]] = {}
    for name, sources in feeds.items():
        for source in sources:
            users.setdefault(source, []).append(name)
    done: dict[str, tuple[str, ...]] = {}
    ready = [name for name, count in missing.items() if not count]
    while ready:
        fed = []
        for name in ready:
            done[name] = feeds[name]
            for user in users.get(name, ()):
                missing[user] -= 1
                if not missing[user]:
                    fed.append(user)
        ready = sorted(fed, key=place.__getitem__)
    return done, tuple(name for name in feeds if name not in done)
