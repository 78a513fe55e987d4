"""Undo and redo over frozen values."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
LONGEST = 200


@dataclass
class History(Generic[T]):
    """The present value with the past and the undone values; `version` counts the changes."""

    present: T
    past: list[T] = field(default_factory=list)
    future: list[T] = field(default_factory=list)
    version: int = 0

    def change(self, value: T) -> None:
        """Make `value` the present value; a value equal to the present value is no change."""
        if value == self.present:
            return
        self.past = [*self.past, self.present][-LONGEST:]
        self.present, self.future = value, []
        self.version += 1

    def undo(self) -> None:
        """Go back to the value before the present value; do nothing without a past."""
        if self.past:
            self.future.append(self.present)
            self.present = self.past.pop()
            self.version += 1

    def redo(self) -> None:
        """Take back an undo; do nothing without an undone value."""
        if self.future:
            self.past.append(self.present)
            self.present = self.future.pop()
            self.version += 1


@dataclass
class PickedLayer:
    """The name of the picked layer, or ""; and the number of picks outside the layer table.

    A table keeps its ticks by its key; the count gives the table a new key with the picked layer.
    """

    layer: str = ""
    elsewhere: int = 0

    def pick_layer(self, layer: str) -> None:
        """Pick a layer anywhere but in the layer table."""
        if layer != self.layer:
            self.layer, self.elsewhere = layer, self.elsewhere + 1
