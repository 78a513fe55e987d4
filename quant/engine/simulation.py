"""A simulated network as a program: one executor for float and quantized forwards."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from quant.encoding import Encoding
from quant.engine.portable import (
    PLACEHOLDER,
    Constant,
    Portable,
    PortableOperation,
    Value,
    portable_arguments,
    portable_target,
)
from quant.engine.program import Program
from quant.errors import CaptureError
from quant.graph.layers import shape_of_node
from quant.inputs import Inputs, Outputs
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph
from quant.simulation.quantizer import Quantizer, State


@dataclass(frozen=True, eq=False, slots=True)
class CompiledNetwork:
    """A program with the encodings that it runs with; no encodings make a float network."""

    program: Program
    encodings: Mapping[str, Encoding]

    @torch.inference_mode()
    def run(self, inputs: Inputs) -> Outputs:
        """Return the outputs, shapes (N, ...), for inputs (N, *input_shape)."""
        values = self.program.start_values(inputs)
        self.program.run_steps(values, 0, len(self.program), self.encodings)
        found = self.program.result_tensors(values)
        return found[0] if len(found) == 1 else found


def compile_simulation(quantized: QuantGraph) -> CompiledNetwork:
    """Return a simulated network as it is now: with its states, weights and encodings.

    Results differ from the graph's by the rounding of float32: where a value lies between two
    codes, it may take the other one.

    Raises:
        CaptureError: the graph has an operation that no program has, or is being calibrated.
    """
    builder = _SimulationBuilder(quantized)
    for node in quantized.module.graph.nodes:
        builder.add_node(node)
    first, *others = (builder.name_of_value(node) for node in quantized.graph.output_nodes)
    operations = tuple(builder.operations.values())
    portable = Portable(operations, builder.constants, first, quantized.graph.batch, tuple(others))
    return CompiledNetwork(Program(portable), builder.encodings)


class _SimulationBuilder:
    """The operations of a simulated network so far; quantizers become sites or constants."""

    def __init__(self, quantized: QuantGraph) -> None:
        self._module, self._graph = quantized.module, quantized.graph
        self.operations: dict[str, PortableOperation] = {}
        self.constants: dict[str, Tensor] = {}
        self.encodings: dict[str, Encoding] = {}
        self._stand_ins: dict[str, Value | Constant] = {}
        """What stands for the result of a quantizer."""

    def name_of_value(self, node: fx.Node) -> str:
        """Return the name of the operation with a node's value."""
        found = self._stand_ins.get(node.name)
        return found.name if isinstance(found, Value) else node.name

    def add_node(self, node: fx.Node) -> None:
        """Add a node of the graph."""
        if node.op == "get_attr":
            target = str(node.target)
            self.constants[target] = self._graph.stored_tensor(target).detach()
        elif node.op == "call_module":
            self._add_quantizer(node)
        elif node.op != "output":
            is_input = node.op == PLACEHOLDER
            self.operations[node.name] = PortableOperation(
                name=node.name,
                target=portable_target(node),
                args=() if is_input else tuple(map(self._arguments, node.args)),
                kwargs=tuple((key, self._arguments(value)) for key, value in node.kwargs.items()),
                shape=shape_of_node(node),
            )

    def _add_quantizer(self, node: fx.Node) -> None:
        quantizer, source = self._module.get_submodule(str(node.target)), node.args[0]
        if not isinstance(quantizer, Quantizer) or not isinstance(source, fx.Node):
            raise CaptureError(f"A program must be made of operators; got {node.target}.")
        if quantizer.state is State.OBSERVE:
            raise CaptureError("A program must not collect statistics; calibrate the graph.")
        if quantizer.site.side is Side.WEIGHTS:
            self._add_weight(node, quantizer, source)
            return
        if quantizer.clip is not None:
            low, high = quantizer.clip
            relu = quantizer.clip == (0.0, None)
            name = node.name
            self.operations[name] = PortableOperation(
                name=name,
                target="aten.relu.default" if relu else "aten.clamp.default",
                args=(self._arguments(source), *(() if relu else (low, high))),
                clip=quantizer.clip,
                shape=shape_of_node(source),
            )
        else:  # all users of the value read it behind the quantizer
            name = self.name_of_value(source)
            self._stand_ins[node.name] = Value(name)
        site = quantizer.site.name
        self.operations[name] = replace(self.operations[name], site=site)
        if quantizer.state is State.QUANTIZE and quantizer.encoding is not None:
            self.encodings[site] = quantizer.encoding

    def _add_weight(self, node: fx.Node, quantizer: Quantizer, source: fx.Node) -> None:
        if source.op != "get_attr":
            raise CaptureError(f"A weight must be stored; {quantizer.site.name} is computed.")
        name = f"{source.target} at {node.name}"
        with torch.no_grad():
            self.constants[name] = quantizer(self._graph.stored_tensor(str(source.target)))
        self._stand_ins[node.name] = Constant(name)

    def _arguments(self, given: object) -> Any:
        return self._with_stand_ins(portable_arguments(given))

    def _with_stand_ins(self, given: object) -> object:
        """Return arguments with what stands for quantizers in place of their results."""
        if isinstance(given, Value):
            return self._stand_ins.get(given.name, given)
        if isinstance(given, list | tuple):
            return type(given)(self._with_stand_ins(item) for item in given)
        if isinstance(given, slice):
            ends = (given.start, given.stop, given.step)
            return slice(*(self._with_stand_ins(end) for end in ends))
        return given
