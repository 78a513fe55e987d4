"""A method of training: quantizers, schedule and measurements for the loop."""

from collections.abc import Mapping

from torch import Tensor

from quant.encoding import Encoding
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Side, Site
from quant.training.learned_encoding import (
    LearnedEncoding,
    LearnedQuantizer,
    TrainableQuantizer,
)
from quant.training.settings import TrainingSettings


class LearnedStep:
    """Scales and zero points learn with the weights (LSQ, LSQ+): the plain method.

    Other methods derive from the class and replace the differences. An object serves one training.
    `parameters_rest` says that a parameter may take no part in a step.
    """

    parameters_rest = False

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings

    def make_weight_quantizer(
        self, graph: FloatGraph, site: Site, start: Encoding, weight: Tensor
    ) -> TrainableQuantizer:
        """Return a weight site's quantizer: `weight` of shape (O, I, ...), encoding `start`."""
        del graph, weight
        return LearnedQuantizer(site, self.learned_encoding(site, start))

    def make_activation_quantizer(
        self,
        graph: FloatGraph,
        site: Site,
        encoding: LearnedEncoding,
        clip: tuple[float | None, float | None] | None,
        caps: tuple[Tensor | None, Tensor] | None,
    ) -> TrainableQuantizer:
        """Return the quantizer of an activation's site; sites may share `encoding`.

        `caps` have shape (C, 1, 1).
        """
        del graph
        return LearnedQuantizer(site, encoding, clip, caps)

    def learned_encoding(self, site: Site, start: Encoding) -> LearnedEncoding:
        """Return the learned encoding of a site; symmetric encodings have a fixed zero point."""
        return LearnedEncoding(
            start,
            learn_scale=self.settings.learn_scales,
            learn_zero_point=site.side is Side.ACTIVATIONS and not site.spec.symmetric,
        )

    def prepare_step(self, quantizers: Mapping[str, TrainableQuantizer], share: float) -> None:
        """Prepare the quantizers, by site, for the step at a share (0 to 1) of the steps."""

    def prepare_look(self, quantizers: Mapping[str, TrainableQuantizer]) -> None:
        """Prepare the quantizers for a look at watched images, with weights in the final form."""

    def finish_step(self, quantizers: Mapping[str, TrainableQuantizer], share: float) -> None:
        """Bring parameters back into bounds after a step of the optimizer."""

    def loss_penalty(self, quantizers: Mapping[str, TrainableQuantizer]) -> Tensor | None:
        """Return a scalar to add to the loss, or None."""
        del quantizers
        return None

    def curve_measures(self, quantizers: Mapping[str, TrainableQuantizer]) -> dict[str, float]:
        """Return numbers for the curves, by name, such as alpha or mean bits."""
        del quantizers
        return {}

    def is_final_step(self, share: float) -> bool:
        """Tell whether weights at a share of the steps are quantized as at the end.

        Only such states may be kept as the best state.
        """
        del share
        return True
