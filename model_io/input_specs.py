"""The inputs of a network, as the file or the user describes them."""

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from model_io.errors import ModelError

KINDS = {
    "float": torch.float32,
    "float32": torch.float32,
    "int": torch.int64,
    "int64": torch.int64,
    "int32": torch.int32,
    "bool": torch.bool,
}
"""The words for the type of an input's elements."""
_EXAMPLE = "3,224,224, or for several inputs image=3,224,224; ids=int:16"
_NAME = re.compile(r"[^=;:,\s]([^=;:]*[^=;:\s])?")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input: name, shape of one sample, and type of the elements.

    Attributes:
        name: name in the file or of the argument; empty for the only input of a user's text.
        shape: shape without the batch axis.
        kind: element type, such as float32, int64 or bool.
    """

    name: str
    shape: tuple[int, ...]
    kind: str = "float32"
    has_pixels: bool = False

    def zero_batch(self, batch: int) -> Tensor:
        """Return zeros in the shape of a batch."""
        return torch.zeros(batch, *self.shape, dtype=KINDS.get(self.kind, torch.float32))


def read_input_specs(text: str) -> tuple[InputSpec, ...]:
    """Return the inputs in a text such as "3,224,224" or "image=3,224,224; ids=int:16".

    Commas or an x separate sizes; an optional type with a colon precedes the sizes.

    Raises:
        ModelError: the text has another form.
    """
    found = tuple(_read_input_spec(part, text) for part in text.split(";") if part.strip())
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise ModelError(
            f"Every input must have a name of its own, got {text!r}, as in {_EXAMPLE}."
        )
    return found


def _read_input_spec(part: str, text: str) -> InputSpec:
    name, _, rest = part.rpartition("=")
    kind, _, sizes = rest.rpartition(":")
    kind, name = kind.strip() or "float32", name.strip()
    words = [word.strip() for word in sizes.replace("x", ",").split(",")] if sizes.strip() else []
    known = kind in KINDS and (not name or _NAME.fullmatch(name))
    if not known or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ModelError(
            f"A shape must be whole numbers from 1 on, such as {_EXAMPLE}; got {text.strip()!r}."
        )
    return InputSpec(name, tuple(map(int, words)), str(KINDS[kind]).removeprefix("torch."))


def write_input_specs(inputs: Sequence[InputSpec]) -> str:
    """Return the text of the inputs for `read_input_specs`."""
    parts = []
    for one in inputs:
        kind = "" if one.kind == "float32" else f"{one.kind}:"
        name = f"{one.name}=" if one.name else ""
        parts.append(f"{name}{kind}{','.join(map(str, one.shape))}")
    return "; ".join(parts)


def name_inputs(module: nn.Module, inputs: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """Return the inputs with names; unnamed inputs get the names of the module's arguments."""
    arguments = [name for name in inspect.signature(module.forward).parameters if name != "self"]
    if len(inputs) == 1 and not inputs[0].name and inputs[0].kind == "float32":
        return ()  # one image, of which the shape says all
    names = [*arguments, *(f"input_{i}" for i in range(len(arguments), len(inputs)))]
    return tuple(
        one if one.name else replace(one, name=name)
        for one, name in zip(inputs, names, strict=False)
    )
