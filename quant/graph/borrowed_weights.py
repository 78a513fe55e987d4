"""Weights that a second operation reads: the projection inside an LSTM, a layer's weight behind."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import fx

from quant.graph.operators import borrowed_weight_positions, operator_name

_PARTS = "aten.slice.Tensor"


@dataclass(frozen=True, slots=True)
class BorrowedWeight:
    """An operation that computes with the weight, and so with the encoding, of a layer behind.

    Attributes:
        borrower: the node of the operation.
        position: of the weight among the arguments of the operation.
        lender: the node of the layer with the weight.
    """

    borrower: str
    position: int
    lender: str


def find_borrowed_weights(module: fx.GraphModule) -> tuple[BorrowedWeight, ...]:
    """Return the borrowed weights of a graph, in order of execution."""
    return tuple(
        BorrowedWeight(node.name, position, lender.name)
        for node in module.graph.nodes
        for position in borrowed_weight_positions(operator_name(node))
        if position < len(node.args)
        for lender in _readers_behind(node, node.args[position])
    )


def _readers_behind(node: fx.Node, weight: object) -> Iterator[fx.Node]:
    """Yield the layers that multiply a node's states, or a part of the states, with the weight."""
    for user in node.users:
        if operator_name(user) == _PARTS:
            yield from _readers_behind(user, weight)
        elif len(user.args) > 1 and user.args[1] is weight:
            yield user
