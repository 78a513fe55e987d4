"""The layer that one looks at: picked on one page, shown on all."""

from dataclasses import dataclass


@dataclass
class Picked:
    """The name of the layer, or nothing; and how often it was picked outside the layer table.

    A table keeps its ticks by its key; the count makes it begin again with the layer picked.
    """

    layer: str = ""
    elsewhere: int = 0

    def take(self, layer: str) -> None:
        """Pick a layer anywhere but in the layer table."""
        if layer != self.layer:
            self.layer, self.elsewhere = layer, self.elsewhere + 1
