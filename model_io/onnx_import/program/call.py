"""One call of an operator: values and attributes in the form that torch needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from model_io.onnx_import.program.steps import OnnxStep
from model_io.onnx_import.program.values import Known, Value, tensor_from_value


class Refusal(Exception):  # noqa: N818  (not an error of this program: a file that asks too much)
    """The reason why QuantScope cannot import an operator: requirement, finding, remedy."""


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """A step, the input values (None for an omitted input), and the opset of the file."""

    step: OnnxStep
    values: Sequence[Value | None]
    opset: int

    def has_input(self, index: int) -> bool:
        """Whether the input is given."""
        return index < len(self.values) and self.values[index] is not None

    def input_value(self, index: int) -> Value:
        """Return an input unchanged.

        Raises:
            Refusal: the input is omitted.
        """
        found = self.values[index] if index < len(self.values) else None
        if found is None:
            raise Refusal(f"It needs input {index + 1}, and got none. Export the network again.")
        return found

    def input_tensor(self, index: int) -> Tensor:
        """Return an input as a tensor, in the input's shape."""
        return tensor_from_value(self.input_value(index))

    def optional_tensor(self, index: int) -> Tensor | None:
        """Return an input as a tensor, in the input's shape, or None for an omitted input."""
        return self.input_tensor(index) if self.has_input(index) else None

    def known_numbers(self, index: int) -> Known:
        """Return an input with numbers known before the network runs.

        Raises:
            Refusal: the numbers depend on the values of the network's input.
        """
        found = self.input_value(index)
        if isinstance(found, Tensor):
            raise Refusal(
                f"Its input {index + 1} ({self.step.inputs[index]!r}) must be a constant or follow "
                "from the shape of the network's input, and got values computed from the input. "
                "Export the network with that input fixed."
            )
        return found

    def known_integers(self, index: int) -> list[int]:
        """Return a known input as a flat list of integers; a free batch is a torch.SymInt."""
        return [
            int(v) if isinstance(v, float) else v
            for v in self.known_numbers(index).ravel().tolist()
        ]

    def known_number(self, index: int) -> float:
        """Return a known input of one element."""
        flat = self.known_numbers(index).ravel().tolist()
        if len(flat) != 1:
            raise Refusal(f"Its input {index + 1} must be one number, and got {len(flat)}.")
        number: float = flat[0]
        return number

    def attribute_value(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        found = self.step.attributes.get(name)
        return default if found is None else found

    def axes_argument(self, index: int = 1) -> list[int] | None:
        """Return the axes, an attribute in old opsets and an input in new ones; None means all."""
        if self.has_input(index):
            return self.known_integers(index)
        axes: list[int] | None = self.attribute_value("axes")
        return axes

    def plain_operand(self, index: int, rank: int) -> Tensor | float:
        """Return a scalar input without extra axes as a plain number, another input as a tensor."""
        found = self.input_value(index)
        if isinstance(found, np.ndarray) and found.size == 1 and found.ndim <= rank:
            number: float = found.ravel()[0]
            return number
        return tensor_from_value(found)
