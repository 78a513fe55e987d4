"""The file's graph as plain steps and constants, in an executable order."""

import unicodedata
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, helper
from torch import Tensor

from model_io.errors import ModelError
from model_io.onnx_import.program.node_names import module_name_of_node
from model_io.onnx_import.program.values import known_from_tensor
from model_io.onnx_import.reading.open_file import STANDARD
from model_io.onnx_import.reading.subgraphs import values_read_outside
from model_io.onnx_import.reading.tensors import array_of_tensor, torch_from_array

_HARMLESS = frozenset("_-/:. (),;+=@#%&?")
_LONGEST_NAME, _DEEPEST_NAME = 200, 20
OWN = "quantscope"
"""The domain of operators that only this package makes; no file may name it."""


@dataclass(frozen=True, eq=False)
class OnnxStep:
    """One node: name in the file, operator, names of input and output values.

    `inputs` holds "" for an omitted input. `domain` is "" for standard operators. Tensors among
    `attributes` are torch tensors; graphs keep the form of the file.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""


@dataclass(eq=False)
class OnnxProgram:
    """Steps in an executable order, and the constants.

    Attributes:
        input: name of the first unknown value.
        output: name of the first result.
        opset: version of the standard operators.
        constants: constants by value name; float32, int64 or bool.
        same: the replacement of a removed value, by the removed value's name.
        more_inputs: names of further unknown values.
        more_outputs: names of further results.
    """

    steps: list[OnnxStep]
    constants: dict[str, Tensor]
    input: str
    output: str
    opset: int
    same: dict[str, str] = field(default_factory=dict)
    more_inputs: tuple[str, ...] = ()
    more_outputs: tuple[str, ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the unknown values, in the file's order."""
        return (self.input, *self.more_inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the results, in the file's order."""
        return (self.output, *self.more_outputs)

    def consumers_by_value(self) -> dict[str, list[OnnxStep]]:
        """Return the steps that read a value, by value."""
        found: dict[str, list[OnnxStep]] = {}
        for step in self.steps:
            for name in dict.fromkeys(step.inputs):
                found.setdefault(name, []).append(step)
        return found

    def producers_by_value(self) -> dict[str, OnnxStep]:
        """Return the step that writes a value, by value."""
        return {name: step for step in self.steps for name in step.outputs if name}

    def alias_values(self, names: dict[str, str]) -> None:
        """Let the readers of a value read another value."""

        def real(name: str) -> str:
            while name in names:
                name = names[name]
            return name

        self.same |= {name: real(name) for name in names}
        self.output = real(self.output)
        self.more_outputs = tuple(map(real, self.more_outputs))
        self.steps = [
            OnnxStep(
                s.name, s.operator, tuple(map(real, s.inputs)), s.outputs, s.attributes, s.domain
            )
            for s in self.steps
        ]

    def drop_unused_steps(self) -> None:
        """Remove unused steps and constants."""
        needed = set(self.output_names)
        kept = []
        for step in reversed(self.steps):
            if needed & set(step.outputs):
                kept.append(step)
                needed |= values_read_by(step)
        self.steps = kept[::-1]
        self.constants = {n: t for n, t in self.constants.items() if n in needed}


def values_read_by(step: OnnxStep) -> set[str]:
    """Return the values that a step reads, with the outside values of the branches."""
    return {*filter(None, step.inputs), *values_read_by_branches([step])}


def values_read_by_branches(steps: Iterable[OnnxStep]) -> set[str]:
    """Return the outside values that the branches of steps read."""
    graphs = [
        value for s in steps for value in s.attributes.values() if isinstance(value, GraphProto)
    ]
    return {name for graph in graphs for name in values_read_outside(graph)}


def read_graph_steps(
    graph: GraphProto, shown: str, taken: set[str]
) -> tuple[list[OnnxStep], dict[str, Tensor]]:
    """Return (steps, constants) of a graph with checked tensors; Constant nodes become constants.

    Args:
        graph: the graph of the file or of a branch.
        shown: the name of the file in sentences.
        taken: used step names; new names are added.
    """
    if graph.sparse_initializer:
        raise ModelError(
            f"Tensors of {shown} must be dense, got sparse ones. Export with dense weights."
        )
    constants = {t.name: torch_from_array(array_of_tensor(t), t.name) for t in graph.initializer}
    steps = []
    for node in graph.node:
        step = _step_from_node(node, shown, taken, constants)
        if step.operator == "Constant" and step.domain == "":
            constants[step.outputs[0]] = _constant_value(node, step)
        else:
            steps.append(step)
    return steps, constants


def _step_from_node(
    node: NodeProto, shown: str, taken: set[str], weights: Container[str]
) -> OnnxStep:
    """Return one node as a step with a unique name."""
    outputs = tuple(node.output)
    if not any(outputs):
        raise ModelError(
            f"A node of {shown} must have an output, got {node.op_type[:60]!r} without one. "
            "Export it again."
        )
    known = module_name_of_node(node, weights) or next(name for name in outputs if name)
    wish = readable_module_name(known)
    name, count = wish, 1
    while name in taken:
        count += 1
        name = f"{wish}_{count}"
    taken.add(name)
    domain = "" if node.domain in STANDARD else readable_module_name(node.domain) or "?"
    domain += " of the file" if domain == OWN else ""
    attributes = {a.name: attribute_value(a) for a in node.attribute}
    return OnnxStep(
        name, readable_module_name(node.op_type), tuple(node.input), outputs, attributes, domain
    )


def readable_module_name(name: str) -> str:
    """Return a name that is fit for a page and for a tree of modules.

    torch.fx writes module paths into Python source between double quotes and runs the source: a
    name must not contain the end of a string. Normalization comes first, because normalization
    turns other characters into quotes and Python normalizes names. Markup for pages is removed
    too.
    """
    name = unicodedata.normalize("NFKC", name[:_LONGEST_NAME])
    name = "".join(c if c.isalnum() or c in _HARMLESS else "_" for c in name)
    return name if name.count(".") <= _DEEPEST_NAME else name.replace(".", "_")


def attribute_value(attribute: AttributeProto) -> object:
    """Return a number, text, list, torch tensor or graph."""
    if attribute.HasField("t"):
        tensor = torch_from_array(array_of_tensor(attribute.t), attribute.name)
        # a single number becomes a plain number: tensors without memory have no values
        return known_from_tensor(tensor).ravel()[0] if tensor.numel() == 1 else tensor
    if attribute.HasField("g"):
        return attribute.g
    try:
        value = helper.get_attribute_value(attribute)
    except ValueError:
        return None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if not isinstance(value, Iterable) or isinstance(value, str):
        return value
    return [one.decode(errors="replace") if isinstance(one, bytes) else one for one in value]


def _constant_value(node: NodeProto, step: OnnxStep) -> Tensor:
    """Return the value of a Constant node, in the shape of the attribute that holds the value."""
    for attribute in node.attribute:
        value = step.attributes[attribute.name]
        if attribute.HasField("t"):
            return torch_from_array(array_of_tensor(attribute.t), step.name)
        if attribute.name in ("value_float", "value_floats", "value_int", "value_ints"):
            kind = "float32" if "float" in attribute.name else "int64"
            return torch_from_array(np.asarray(value, kind), step.name)
    raise ModelError(
        f"The Constant {step.name!r} must hold numbers, got text or a sparse tensor. Export the "
        "network without its pre-processing."
    )
