"""A trained state as a pass of a recipe: weights and grids that a training left."""

from dataclasses import dataclass

from quant.graph.float_graph import FloatGraph
from quant.training.state.trained_state import TrainedState


@dataclass(frozen=True, eq=False, slots=True)
class UseTraining:
    """Use the weights and grids that a training left, in the place of those of the file.

    `source` is what to call the training. Float passes of the training's own recipe come before:
    they gave the network its form.
    """

    state: TrainedState
    source: str = "a training"

    def __call__(self, graph: FloatGraph) -> FloatGraph:
        """Return a copy of the float graph with the trained weights.

        Raises:
            TrainingError: the graph is another one.
        """
        return self.state.trained_graph(graph)
