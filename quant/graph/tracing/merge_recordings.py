"""Two recordings of a network, for two batch sizes, as one traced graph with a free batch.

Numbers that differ between the recordings must grow evenly with the batch: k * batch + c. A third
and a fourth batch then check the graph against the network itself.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, fx

from quant.graph.node_facts import NO_FACTS, NodeFacts, write_node_facts
from quant.graph.tracing.record_calls import (
    FromInput,
    NotStaticError,
    RecordedCall,
    Recording,
    Result,
    Stored,
    TensorForm,
    record_network,
)
from quant.graph.tracing.static_network import StaticNetwork
from quant.graph.tracing.traced_graph import TracedGraph, TracedValue, write_traced_value
from quant.inputs import KINDS, Input, draw_batch, tensors_of_batch
from quant.torch_state import wait_while_tracing

_RECORDED = (2, 3)
_CHECKED = (1, 5)
"""Batch sizes of the recordings, and of the checks afterwards."""


@dataclass(frozen=True, slots=True)
class Growing:
    """Stands in arguments for the number `slope` * batch + `rest`."""

    slope: int
    rest: int


@wait_while_tracing
def record_traced_graph(
    network: StaticNetwork, inputs: Sequence[Input], batch: int | None
) -> TracedGraph:
    """Return the graph of a network, for every batch size or for `batch` alone.

    Raises:
        NotStaticError: the calls depend on values, or on the batch in another way than evenly.
    """
    sizes = _RECORDED if batch is None else (batch, batch)
    first, second = (
        record_network(network, draw_batch(inputs, size, seed)) for seed, size in enumerate(sizes)
    )
    writer = _GraphWriter(first, second, sizes)
    graph = writer.write_graph(inputs)
    for size in _CHECKED if batch is None else sizes[:1]:
        drawn = tensors_of_batch(draw_batch(inputs, size, seed=2))
        with torch.inference_mode():
            expected = network.run_by_operation(drawn, lambda _: None)
            found = run_traced_graph(graph, first.stored, drawn)
        if not all(map(torch.equal, map(_without_nan, found), map(_without_nan, expected))):
            raise NotStaticError
    return TracedGraph(graph, first.stored.__getitem__)


def run_traced_graph(
    graph: fx.Graph, stored: Mapping[str, Tensor], inputs: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Return the outputs of a graph for inputs of shape (N, ...), node by node."""
    waiting, values = iter(inputs), dict[fx.Node, Any]()
    for node in graph.nodes:
        if node.op == "placeholder":
            values[node] = next(waiting)
        elif node.op == "get_attr":
            values[node] = stored[str(node.target)]
        else:
            given = fx.node.map_arg(node.args, values.__getitem__)
            if node.op == "output":
                return tuple(given[0])
            keywords = fx.node.map_arg(node.kwargs, values.__getitem__)
            values[node] = node.target(*given, **keywords)
            for source in node.all_input_nodes:
                if next(iter(reversed(source.users))) is node:
                    del values[source]
    raise NotStaticError


def _without_nan(values: Tensor) -> Tensor:
    return values.nan_to_num() if values.is_floating_point() else values


class _GraphWriter:
    """Writes the nodes of two recordings, for two batch sizes (equal ones for a fixed batch)."""

    def __init__(self, first: Recording, second: Recording, sizes: tuple[int, int]) -> None:
        self._first, self._second, self._sizes = first, second, sizes
        self._graph = fx.Graph()
        self._inputs: list[fx.Node] = []
        self._results: dict[object, fx.Node] = {}

    def write_graph(self, inputs: Sequence[Input]) -> fx.Graph:
        """Return the graph of a network with the given inputs."""
        one, other = self._first, self._second
        if len(one.calls) != len(other.calls) or not _constants_are_equal(one, other):
            raise NotStaticError
        free = self._sizes[0] != self._sizes[1]
        for position, given in enumerate(inputs):
            node = self._graph.placeholder(f"more_{position - 1}" if position else "x")
            self._inputs.append(node)
            batch = Growing(1, 0) if free else self._sizes[0]
            form = TensorForm(KINDS[given.kind], given.shape)
            _write_facts(node, _describe_form(form.dtype, (batch, *form.shape)))
        for number, pair in enumerate(zip(one.calls, other.calls, strict=True)):
            self._write_call(number, *pair)
        outputs = self._merge(one.outputs, other.outputs)
        self._graph.output(self._argument(outputs))
        return self._graph

    def _write_call(self, number: int, one: RecordedCall, other: RecordedCall) -> None:
        if one.operator is not other.operator:
            raise NotStaticError
        node = self._graph.create_node(
            "call_function",
            one.operator,
            self._argument(self._merge(one.args, other.args)),
            self._argument(self._merge(one.kwargs, other.kwargs)),
            name=str(one.operator).split(".")[1],
        )
        self._results[Result(number)] = node
        forms = self._merge_forms(one.forms, other.forms)
        facts = NodeFacts(one.path, alone=bool(one.path))
        if isinstance(forms, TracedValue):
            _write_facts(node, forms, facts)
            return
        write_node_facts(node, replace(facts, real=any(form.is_real for form in forms)))
        for place, form in enumerate(forms):
            part = self._graph.call_function(operator.getitem, (node, place))
            _write_facts(part, form, facts)
            self._results[Result(number, place)] = part

    def _merge_forms(
        self, one: TensorForm | tuple[TensorForm, ...], other: TensorForm | tuple[TensorForm, ...]
    ) -> TracedValue | tuple[TracedValue, ...]:
        if isinstance(one, TensorForm) and isinstance(other, TensorForm):
            if one.dtype != other.dtype:
                raise NotStaticError
            shape = cast(tuple[int | Growing, ...], self._merge(one.shape, other.shape))
            return _describe_form(one.dtype, shape)
        if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
            pairs = zip(one, other, strict=True)
            parts = [self._merge_forms(*pair) for pair in pairs]
            return tuple(part for part in parts if isinstance(part, TracedValue))
        raise NotStaticError

    def _merge(self, one: object, other: object) -> object:
        """Return the arguments of both recordings as one, with `Growing` numbers."""
        if type(one) is not type(other):
            raise NotStaticError
        if isinstance(one, tuple | list) and isinstance(other, tuple | list):
            if len(one) != len(other):
                raise NotStaticError
            return type(one)(self._merge(*pair) for pair in zip(one, other, strict=True))
        if isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                raise NotStaticError
            return {key: self._merge(value, other[key]) for key, value in one.items()}
        if one == other or (one != one and other != other):  # noqa: PLR0124  NaN
            return one
        step = self._sizes[1] - self._sizes[0]
        if not (type(one) is int and type(other) is int) or not step or (other - one) % step:
            raise NotStaticError
        slope = (other - one) // step
        return Growing(slope, one - slope * self._sizes[0])

    def _argument(self, value: object) -> Any:
        """Return arguments with nodes in place of places and of growing numbers."""
        if isinstance(value, tuple | list):
            return type(value)(map(self._argument, value))
        if isinstance(value, dict):
            return {key: self._argument(item) for key, item in value.items()}
        if isinstance(value, FromInput):
            return self._inputs[value.position]
        if isinstance(value, Result | Stored | Growing) and value not in self._results:
            self._results[value] = self._new_node(value)
        return self._results[value] if isinstance(value, Result | Stored | Growing) else value

    def _new_node(self, value: Result | Stored | Growing) -> fx.Node:
        if isinstance(value, Stored):
            node = self._graph.get_attr(value.name)
            tensor = self._first.stored[value.name]
            _write_facts(node, _describe_form(tensor.dtype, tuple(tensor.shape)))
            return node
        if isinstance(value, Result):
            raise NotStaticError
        node = self._results.get(_BATCH) or self._graph.call_function(
            torch.ops.aten.sym_size.int, (self._inputs[0], 0)
        )
        self._results[_BATCH] = node
        if value.slope != 1:
            node = self._graph.call_function(operator.mul, (node, value.slope))
        return self._graph.call_function(operator.add, (node, value.rest)) if value.rest else node


_BATCH = Growing(1, 0)


def _constants_are_equal(one: Recording, other: Recording) -> bool:
    if one.stored.keys() != other.stored.keys():
        return False
    pairs = [(value, other.stored[name]) for name, value in one.stored.items()]
    return all(
        a is b or (a.dtype == b.dtype and torch.equal(_without_nan(a), _without_nan(b)))
        for a, b in pairs
    )


def _describe_form(dtype: torch.dtype, sizes: Sequence[int | Growing]) -> TracedValue:
    """Return the facts of a tensor with fixed and growing sizes."""
    first = sizes[0] if sizes else None
    free = [axis for axis, size in enumerate(sizes) if isinstance(size, Growing)]
    return TracedValue(
        dtype,
        tuple(s.slope + s.rest if isinstance(s, Growing) else s for s in sizes),
        first if isinstance(first, int) else None,
        first == _BATCH,
        free[0] if free else None,
    )


def _write_facts(node: fx.Node, value: TracedValue, facts: NodeFacts = NO_FACTS) -> None:
    write_traced_value(node, value)
    write_node_facts(node, facts)
