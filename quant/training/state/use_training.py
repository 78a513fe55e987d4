"""A trained state as a pass of a recipe: weights and encodings of a training."""

from dataclasses import dataclass

from quant.graph.float_graph import FloatGraph
from quant.training.state.trained_state import TrainedState


@dataclass(frozen=True, eq=False, slots=True)
class UseTraining:
    """Use the weights and encodings of a training in place of those of the file.

    `source` is a name of the training. Float passes of the training's recipe come before: the
    passes gave the network the trained form.
    """

    state: TrainedState
    source: str = "a training"

    def __call__(self, graph: FloatGraph) -> FloatGraph:
        """Return a copy of the float graph with the trained weights.

        Raises:
            TrainingError: the graph is another graph.
        """
        return self.state.trained_graph(graph)
