"""A training's state on the disk: a killed training goes on as without the kill."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, optim

from quant.training.learned_encoding import RatedParameter
from quant.training.state.trained_state import CurvePoint, read_tensors, write_tensors
from quant.training.state.write_clock import WRITE_EVERY_S, WriteClock


@dataclass(eq=False)
class Position:
    """State of a training between two steps, without the tensors.

    `summed` and `counted` are the loss since the last look at the watched images, `waited` the
    looks since the best look.
    """

    step: int = 0
    seconds: float = 0.0
    summed: float = 0.0
    counted: int = 0
    waited: int = 0
    best_step: int = 0
    best_loss: float | None = None
    curve: list[CurvePoint] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)


@dataclass(eq=False)
class Checkpoint:
    """A file with a running training's state; `path` None keeps nothing.

    `question` names everything the training depends on: another question starts anew. Of several
    processes that train together, all read and the first writes (`writes`).
    """

    path: Path | None
    question: str = ""
    every_s: float = WRITE_EVERY_S
    writes: bool = True
    clock: WriteClock = field(init=False)

    def __post_init__(self) -> None:
        """Begin to wait for the first write."""
        self.clock = WriteClock(self.every_s)

    def is_due(self) -> bool:
        """Whether the state is to be written now."""
        return self.path is not None and self.clock.is_due()

    def write(
        self,
        position: Position,
        tensors: Mapping[str, Tensor],
        optimizer: optim.Optimizer,
        rated: list[RatedParameter],
    ) -> None:
        """Write the state, tensors of any shape, whole or not at all."""
        if self.path is None or not self.writes:
            return
        with self.clock.time_write():
            self._write_file(self.path, position, tensors, optimizer, rated)

    def _write_file(
        self,
        path: Path,
        position: Position,
        tensors: Mapping[str, Tensor],
        optimizer: optim.Optimizer,
        rated: list[RatedParameter],
    ) -> None:
        """Write tensors of any shape, the optimizer's moments, and plain values to the file."""
        plain: dict[str, Any] = {
            "kind": "checkpoint",
            "question": self.question,
            "curve": [asdict(point) for point in position.curve],
            **{name: getattr(position, name) for name in _PLAIN},
        }
        found = {f"now/{name}": tensor for name, tensor in tensors.items()}
        found.update({f"best/{name}": tensor for name, tensor in position.best.items()})
        for one in rated:
            for key, value in optimizer.state.get(one.parameter, {}).items():
                if isinstance(value, Tensor):
                    found[f"moment/{key}/{one.name}"] = value
        write_tensors(path, found, plain)

    def read_state(
        self, tensors: Mapping[str, Tensor], optimizer: optim.Optimizer, rated: list[RatedParameter]
    ) -> tuple[Position, dict[str, Tensor]] | None:
        """Return the position and the tensors, of the given shapes; set the optimizer's moments.

        None without a file, or for a file of another question.
        """
        if self.path is None or not self.path.exists():
            return None
        found, plain = read_tensors(self.path)
        if plain.get("kind") != "checkpoint" or plain.get("question") != self.question:
            return None
        now = {name: found[f"now/{name}"] for name in tensors}
        for one in rated:
            # moments take the memory order of their parameter, or sums would round otherwise
            state = {
                name.split("/", 2)[1]: _lay_out_like(value, one.parameter)
                for name, value in found.items()
                if name.startswith("moment/") and name.split("/", 2)[2] == one.name
            }
            if state:
                optimizer.state[one.parameter].update(state)
        best = {n.removeprefix("best/"): t for n, t in found.items() if n.startswith("best/")}
        curve = [CurvePoint(**point) for point in plain["curve"]]
        position = Position(best=best, curve=curve, **{name: plain[name] for name in _PLAIN})
        return position, now

    def remove_file(self) -> None:
        """Delete the file: the training has ended."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


_PLAIN = ("step", "seconds", "summed", "counted", "waited", "best_step", "best_loss")


def _lay_out_like(value: Tensor, like: Tensor) -> Tensor:
    """Return `value` in the memory order and on the device of `like` if shapes are equal."""
    if value.shape != like.shape:
        return value
    result = like.detach().clone()
    return result.copy_(value)
