"""The file's graph as plain steps and constants, in an order that runs."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, helper
from torch import Tensor

from model_io.errors import ModelError
from model_io.onnx_import.program.values import from_tensor
from model_io.onnx_import.reading.open_file import STANDARD
from model_io.onnx_import.reading.subgraphs import outer_reads
from model_io.onnx_import.reading.tensors import array, to_torch

_HARMLESS = frozenset("_-/:. (),;+=@#%&?")
_LONGEST_NAME, _DEEPEST_NAME = 200, 20
OWN = "quantscope"
"""The domain of operators that only this package makes; no file may name it."""


@dataclass(frozen=True, eq=False)
class OnnxStep:
    """One node: its name in the file, its operator, the values it reads and writes.

    `inputs` may hold "" for one that is left out. `domain` is "" for standard operators. Tensors
    among `attributes` are torch's, graphs stay as the file has them.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""


@dataclass(eq=False)
class OnnxProgram:
    """Steps in an order that runs, and the constants they read.

    Attributes:
        input: the name of the first value that is not known.
        output: the name of the first result.
        opset: version of the standard operators.
        constants: by the name of the value; float32, int64 or bool.
        same: values that are gone, and of each the one that all read in its place.
        more_inputs: the names of further values that are not known.
        more_outputs: the names of further results.
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
    def inputs(self) -> tuple[str, ...]:
        """The names of all values that are not known, in the file's order."""
        return (self.input, *self.more_inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all results, in the file's order."""
        return (self.output, *self.more_outputs)

    def consumers(self) -> dict[str, list[OnnxStep]]:
        """Return the steps that read each value."""
        found: dict[str, list[OnnxStep]] = {}
        for step in self.steps:
            for name in dict.fromkeys(step.inputs):
                found.setdefault(name, []).append(step)
        return found

    def producers(self) -> dict[str, OnnxStep]:
        """Return the step that writes each value."""
        return {name: step for step in self.steps for name in step.outputs if name}

    def alias(self, names: dict[str, str]) -> None:
        """Let every reader of a value read another instead."""

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

    def prune(self) -> None:
        """Drop steps and constants that nothing needs."""
        needed = set(self.outputs)
        kept = []
        for step in reversed(self.steps):
            if needed & set(step.outputs):
                kept.append(step)
                needed |= reads(step)
        self.steps = kept[::-1]
        self.constants = {n: t for n, t in self.constants.items() if n in needed}


def reads(step: OnnxStep) -> set[str]:
    """Return all values that a step reads, those its branches read from outside included."""
    names = set(filter(None, step.inputs))
    for graph in (g for g in step.attributes.values() if isinstance(g, GraphProto)):
        names |= outer_reads(graph)
    return names


def read_steps(
    graph: GraphProto, shown: str, taken: set[str]
) -> tuple[list[OnnxStep], dict[str, Tensor]]:
    """Return (steps, constants) of a graph whose tensors were checked, Constant nodes taken in.

    Args:
        graph: of the file or of a branch.
        shown: what sentences call the file.
        taken: names of steps that are in use; the new ones are added.
    """
    if graph.sparse_initializer:
        raise ModelError(
            f"Tensors of {shown} must be dense, got sparse ones. Export with dense weights."
        )
    constants = {t.name: to_torch(array(t), t.name) for t in graph.initializer}
    steps = []
    for node in graph.node:
        step = _step(node, shown, taken)
        if step.operator == "Constant" and step.domain == "":
            constants[step.outputs[0]] = _constant(node, step)
        else:
            steps.append(step)
    return steps, constants


def _step(node: NodeProto, shown: str, taken: set[str]) -> OnnxStep:
    """Return one node as a step whose name is its own."""
    outputs = tuple(node.output)
    if not any(outputs):
        raise ModelError(
            f"A node of {shown} must have an output, got {node.op_type[:60]!r} without one. "
            "Export it again."
        )
    wish = readable(node.name or next(name for name in outputs if name))
    name, count = wish, 1
    while name in taken:
        count += 1
        name = f"{wish}_{count}"
    taken.add(name)
    domain = "" if node.domain in STANDARD else readable(node.domain) or "?"
    domain += " of the file" if domain == OWN else ""
    attributes = {a.name: _attribute(a) for a in node.attribute}
    return OnnxStep(name, readable(node.op_type), tuple(node.input), outputs, attributes, domain)


def readable(name: str) -> str:
    """Return a name that a page can show and a tree of modules can hold.

    torch.fx writes the paths of modules into Python source, between double quotes, and runs it:
    nothing that could end a string may stay in a name. Normalized first, since normalizing makes
    quotes of other characters, and Python does it to names. What pages would read as markup goes
    too.
    """
    name = unicodedata.normalize("NFKC", name[:_LONGEST_NAME])
    name = "".join(c if c.isalnum() or c in _HARMLESS else "_" for c in name)
    return name if name.count(".") <= _DEEPEST_NAME else name.replace(".", "_")


def _attribute(attribute: AttributeProto) -> Any:
    """Return a number, text, list, torch tensor or graph."""
    if attribute.HasField("t"):
        tensor = to_torch(array(attribute.t), attribute.name)
        # one number is handed out as such: a trial without memory cannot look into tensors
        return from_tensor(tensor).ravel()[0] if tensor.numel() == 1 else tensor
    if attribute.HasField("g"):
        return attribute.g
    try:
        value = helper.get_attribute_value(attribute)
    except ValueError:
        return None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _constant(node: NodeProto, step: OnnxStep) -> Tensor:
    """Return the value of a Constant node, whichever of its attributes holds it."""
    for attribute in node.attribute:
        value = step.attributes[attribute.name]
        if attribute.HasField("t"):
            return to_torch(array(attribute.t), step.name)
        if attribute.name in ("value_float", "value_floats", "value_int", "value_ints"):
            kind = "float32" if "float" in attribute.name else "int64"
            return to_torch(np.asarray(value, kind), step.name)
    raise ModelError(
        f"The Constant {step.name!r} must hold numbers, got text or a sparse tensor. Export the "
        "network without its pre-processing."
    )
