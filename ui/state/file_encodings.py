"""The grids of a file in the place of calibrated ones: which configurations they belong to."""

from dataclasses import dataclass, field

from analysis.network import Network
from analysis.session_file import GridsReference
from model_io.encodings.apply_to_network import read_given
from model_io.errors import ModelError
from quant.config import QuantConfig
from quant.file_encodings import Given
from quant.passes.recipe import Recipe, is_float_pass
from quant.passes.use_grids import UseGrids

OWN = ", its own grids"
"""Ends the name of a configuration as long as the grids of its file are in use."""


@dataclass
class FileGrids:
    """What a file says of the present model, and the configurations that it is used for.

    Edits of the file's configuration keep its grids wherever they still fit; a preset or another
    configuration does without. Undo and redo find their way by the configurations themselves.
    """

    given: Given | None = None
    used_for: list[QuantConfig] = field(default_factory=list)

    def start(self, given: Given) -> None:
        """Use these grids from now on."""
        self.given, self.used_for = given, [given.config]

    def of(self, config: QuantConfig) -> Given | None:
        """Return the grids that belong to a configuration, if any do."""
        return self.given if config in self.used_for else None

    def reference(self, config: QuantConfig) -> GridsReference | None:
        """Return what finds the grids of a configuration again, later or elsewhere."""
        given = self.of(config)
        return None if given is None else GridsReference(given.source, given.text)

    def follow(self, old: QuantConfig, new: QuantConfig) -> None:
        """Keep the grids for what an edit made of a configuration."""
        if self.of(old) is not None:
            self.used_for.append(new)

    def stop(self, config: QuantConfig) -> None:
        """Calibrate this configuration from now on."""
        self.used_for = [held for held in self.used_for if held != config]

    def before(self, config: QuantConfig, recipe: Recipe = ()) -> Recipe:
        """Return the recipe with the grids of a configuration first.

        Float passes change what grids belong to, so before them all are calibrated.
        """
        given = self.of(config)
        if given is None or any(is_float_pass(step) for step in recipe):
            return recipe
        return (UseGrids(given.grids, given.source), *recipe)


def found_again(
    reference: GridsReference | None, network: Network, config: QuantConfig
) -> FileGrids:
    """Return the grids that a reference stands for, in use for a configuration.

    Raises:
        ModelError: there are none of that network in the file.
    """
    if reference is None:
        return FileGrids()
    given = network.given
    if reference.text:
        given = read_given(reference.text, network, reference.source)
    if given is None:
        raise ModelError(
            f"The grids of {reference.source} must be in the model's own file; it has none. "
            "Calibrate ranges instead, or load the quantized model."
        )
    return FileGrids(given, [config])
