"""One call of an operator: its values and attributes, asked for in the form that torch needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from model_io.onnx_import.program.steps import OnnxStep
from model_io.onnx_import.program.values import Known, Value, to_tensor


class Refusal(Exception):  # noqa: N818  (not an error of this program: a file that asks too much)
    """Why an operator cannot come in: what must hold, what was got, what to do."""


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """A step, the values it reads (None where it leaves one out), the opset it was written for."""

    step: OnnxStep
    values: Sequence[Value | None]
    opset: int

    def has(self, index: int) -> bool:
        """Whether the input is given."""
        return index < len(self.values) and self.values[index] is not None

    def value(self, index: int) -> Value:
        """Return an input as it is.

        Raises:
            Refusal: it is left out.
        """
        found = self.values[index] if index < len(self.values) else None
        if found is None:
            raise Refusal(f"It needs input {index + 1}, and got none. Export the network again.")
        return found

    def tensor(self, index: int) -> Tensor:
        """Return an input as a tensor."""
        return to_tensor(self.value(index))

    def maybe(self, index: int) -> Tensor | None:
        """Return an input as a tensor, or None where it is left out."""
        return self.tensor(index) if self.has(index) else None

    def known(self, index: int) -> Known:
        """Return an input whose numbers must be known before the network runs.

        Raises:
            Refusal: they depend on the values of the network's input.
        """
        found = self.value(index)
        if isinstance(found, Tensor):
            raise Refusal(
                f"Its input {index + 1} ({self.step.inputs[index]!r}) must be a constant or follow "
                "from the shape of the network's input, and got values computed from the input. "
                "Export the network with that input fixed."
            )
        return found

    def ints(self, index: int) -> list[Any]:
        """Return a known input as a flat list of whole numbers (of torch where the batch is in)."""
        return [int(v) if isinstance(v, float) else v for v in self.known(index).ravel().tolist()]

    def number(self, index: int) -> Any:
        """Return a known input of one element."""
        flat = self.known(index).ravel().tolist()
        if len(flat) != 1:
            raise Refusal(f"Its input {index + 1} must be one number, and got {len(flat)}.")
        return flat[0]

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        found = self.step.attributes.get(name)
        return default if found is None else found

    def axes(self, index: int = 1) -> Any:
        """Return the axes, an attribute in old opsets and an input in new ones; None for all."""
        if self.has(index):
            return self.ints(index)
        return self.attribute("axes")

    def operand(self, index: int, rank: int) -> Tensor | float:
        """Return an input as a plain number where it is one and adds no axes, else as a tensor."""
        found = self.value(index)
        if isinstance(found, np.ndarray) and found.size == 1 and found.ndim <= rank:
            number: float = found.ravel()[0]
            return number
        return to_tensor(found)
