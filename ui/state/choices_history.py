"""Undo and redo over frozen values."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
LONGEST = 200


@dataclass
class History(Generic[T]):
    """The present value, those before it and those undone; `version` counts every change."""

    present: T
    past: list[T] = field(default_factory=list)
    future: list[T] = field(default_factory=list)
    version: int = 0

    def change(self, value: T) -> None:
        """Make `value` the present one; the same value again is no change."""
        if value == self.present:
            return
        self.past = [*self.past, self.present][-LONGEST:]
        self.present, self.future = value, []
        self.version += 1

    def undo(self) -> None:
        """Go back one change, if there is one."""
        if self.past:
            self.future.append(self.present)
            self.present = self.past.pop()
            self.version += 1

    def redo(self) -> None:
        """Take back one undo, if there is one."""
        if self.future:
            self.past.append(self.present)
            self.present = self.future.pop()
            self.version += 1


@dataclass
class PickedLayer:
    """The name of the layer, or nothing; and how often it was picked outside the layer table.

    A table keeps its ticks by its key; the count makes it begin again with the layer picked.
    """

    layer: str = ""
    elsewhere: int = 0

    def pick_layer(self, layer: str) -> None:
        """Pick a layer anywhere but in the layer table."""
        if layer != self.layer:
            self.layer, self.elsewhere = layer, self.elsewhere + 1
