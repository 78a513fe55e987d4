"""The state of a reconstruction on the disk: a killed one goes on, a finished one is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from quant.training.settings import TrainingError
from quant.training.state.trained_state import read_tensors, write_tensors
from quant.training.state.write_clock import WRITE_EVERY_S, WriteClock

KIND = "reconstruction"


@dataclass(eq=False)
class StoredState:
    """Tensors and plain values of one reconstruction in a file; `path` None stores nothing.

    `question` names everything the result depends on: the state of another question is not read.
    """

    path: Path | None = None
    question: str = ""
    every_s: float = WRITE_EVERY_S
    tensors: dict[str, Tensor] = field(default_factory=dict)
    plain: dict[str, Any] = field(default_factory=dict)
    clock: WriteClock = field(init=False)

    def __post_init__(self) -> None:
        """Begin to wait for the first write."""
        self.clock = WriteClock(self.every_s)

    def read(self) -> None:
        """Read the file; a missing or damaged file leaves the state empty."""
        if self.path is None or not self.path.exists():
            return
        try:
            tensors, plain = read_tensors(self.path)
        except TrainingError:
            return
        if (plain.get("kind"), plain.get("question")) == (KIND, self.question):
            self.tensors, self.plain = tensors, plain["values"]

    def part(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of a part in their shapes, by name without the part's."""
        return {
            key.removeprefix(f"{name}/"): tensor
            for key, tensor in self.tensors.items()
            if key.startswith(f"{name}/")
        }

    def put_part(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Replace the tensors of a part, of any shape, and write the file."""
        self.drop_part(name)
        self.tensors.update({f"{name}/{key}": tensor for key, tensor in tensors.items()})
        self.write()

    def drop_part(self, name: str) -> None:
        """Forget the tensors of a part; the file stays as written."""
        self.tensors = {k: t for k, t in self.tensors.items() if not k.startswith(f"{name}/")}

    def is_due(self) -> bool:
        """Whether the state is to be written now."""
        return self.path is not None and self.clock.is_due()

    def write(self) -> None:
        """Write the state, whole or not at all."""
        if self.path is None:
            return
        plain = {"kind": KIND, "question": self.question, "values": self.plain}
        with self.clock.time_write():
            write_tensors(self.path, self.tensors, plain)
