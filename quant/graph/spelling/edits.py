"""Small edits of a graph: nodes with a shape, stored tensors at unused paths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Argument

from quant.graph.node_facts import NodeFacts, facts_of_node, write_node_facts

aten = torch.ops.aten


@dataclass(frozen=True, eq=False, slots=True)
class Draft:
    """A graph in the making: the nodes, and `root`, the tensors named by get_attr nodes."""

    graph: fx.Graph
    root: dict[str, Any]

    def stored_tensor_of(self, node: object) -> Tensor | None:
        """Return the tensor, of any shape, of a get_attr node; None for other values."""
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            return None
        held = self.root.get(str(node.target))
        return held if isinstance(held, Tensor) else None

    def stored_real_tensor(self, node: object) -> Tensor | None:
        """Return the tensor, of any shape, of a get_attr node with real numbers; None otherwise."""
        held = self.stored_tensor_of(node)
        return held if held is not None and held.is_floating_point() else None

    def insert_call(
        self,
        before: fx.Node,
        target: Callable[..., object],
        arguments: Sequence[Argument],
        shape: Sequence[int],
        **keywords: Argument,
    ) -> fx.Node:
        """Insert a call before a node, in the node's module; return the call.

        `shape` is the shape of the real result for one image.
        """
        with self.graph.inserting_before(before):
            node = self.graph.call_function(target, tuple(arguments), keywords)
        facts = facts_of_node(before)
        write_node_facts(node, NodeFacts(facts.path, facts.alone, tuple(shape), real=True))
        return node

    def insert_constant(self, before: fx.Node, path: str, value: Tensor) -> fx.Node:
        """Store a tensor of any shape at a free path like `path`; return the get_attr node."""
        target = self.free_tensor_path(path)
        self.root[target] = nn.Parameter(value.detach().contiguous(), requires_grad=False)
        with self.graph.inserting_before(before):
            node = self.graph.get_attr(target)
        path = facts_of_node(before).path
        real = value.is_floating_point()
        write_node_facts(node, NodeFacts(path, shape=tuple(value.shape), real=real))
        return node

    def free_tensor_path(self, path: str) -> str:
        """Return a path without a tensor, neither under nor above the path of another tensor."""
        candidate, count = path, 1
        while any(_paths_collide(candidate, held) for held in self.root):
            count += 1
            candidate = f"{path}_{count}"
        return candidate

    def replace_node(self, old: fx.Node, new: fx.Node) -> None:
        """Let the readers of a node read another node; remove the old node."""
        facts = facts_of_node(old)
        write_node_facts(new, replace(facts_of_node(new), path=facts.path, alone=facts.alone))
        old.replace_all_uses_with(new)
        self.graph.erase_node(old)

    def drop_unused_nodes(self) -> None:
        """Remove nodes without readers, and tensors without nodes."""
        self.graph.eliminate_dead_code()
        named = {str(node.target) for node in self.graph.nodes if node.op == "get_attr"}
        for path in [path for path in self.root if path not in named]:
            del self.root[path]


def schema_arguments(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of a call by the names in the operator's schema, with defaults."""
    schema: Any = getattr(node.target, "_schema", None)
    if schema is None:
        return dict(node.kwargs)
    found = {}
    for place, argument in enumerate(schema.arguments):
        default = argument.default_value if argument.has_default_value() else None
        given = node.args[place] if place < len(node.args) else default
        found[argument.name] = node.kwargs.get(argument.name, given)
    return found


def path_for_weight(node: fx.Node, word: str = "weight") -> str:
    """Return the path for an operand of a node: beside the node's module."""
    path = facts_of_node(node).path
    return f"{path}.{word}" if path else f"{node.name}.{word}"


def _paths_collide(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")
