"""Regions of torch.no_grad and of autocast become part of the graph around them."""

from typing import Any

from torch import fx

_REGIONS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}
"""Operators that run a graph of their own, and the place of that graph among their arguments."""


def is_graph_region(node: fx.Node) -> bool:
    """Whether the node runs a graph inside the graph."""
    return node.op == "call_function" and str(node.target) in _REGIONS


def inline_graph_regions(traced: fx.GraphModule) -> bool:
    """Put the nodes of the regions in place; return whether an autocast region was found.

    A quantized network computes no gradients, and runs in float32: the regions do not count.
    """
    graph, narrowed = traced.graph, False
    for node in [node for node in graph.nodes if is_graph_region(node)]:
        narrowed |= "autocast" in str(node.target)
        place = _REGIONS[str(node.target)]
        holder: Any = node.args[place]
        inner = traced.get_submodule(str(holder.target))
        if isinstance(inner, fx.GraphModule):
            narrowed |= inline_graph_regions(inner)
            _inline_region(traced, node, inner, node.args[place + 1 :])
    graph.eliminate_dead_code()
    return narrowed


def _inline_region(
    traced: fx.GraphModule, region: fx.Node, inner: fx.GraphModule, given: tuple[object, ...]
) -> None:
    """Copy the nodes of `inner` before the region; remove the region."""
    places = (node for node in inner.graph.nodes if node.op == "placeholder")
    mapped: dict[fx.Node, Any] = dict(zip(places, given, strict=True))
    for node in inner.graph.nodes:
        if node.op == "placeholder":
            continue
        if node.op == "output":
            results = fx.node.map_arg(node.args[0], lambda old: mapped[old])
            break
        with traced.graph.inserting_before(region):
            mapped[node] = traced.graph.node_copy(node, lambda old: mapped[old])
        mapped[node].meta = dict(node.meta)
        if node.op == "get_attr":
            path = f"{region.name}_{str(node.target).replace('.', '_')}"
            setattr(traced, path, _nested_attribute(inner, str(node.target)))
            mapped[node].target = path
    for user in list(region.users):  # each takes one of the region's results
        user.replace_all_uses_with(results[user.args[1]])
        traced.graph.erase_node(user)
    traced.graph.erase_node(region)


def _nested_attribute(module: fx.GraphModule, target: str) -> object:
    owner, _, name = target.rpartition(".")
    return getattr(module.get_submodule(owner), name)
