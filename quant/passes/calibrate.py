"""Calibrate: a single pass of data through the float network serves every bit-width."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass

import torch

from quant.config import QuantConfig
from quant.errors import CalibrationError
from quant.finite_values import describe_overflow
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import shape_of_node
from quant.graph.operators import RELUS, is_pass_through, operator_name
from quant.inputs import Inputs, input_noun, sample_count
from quant.progress import Progress
from quant.ranges.statistics import ChannelStatistics, Statistics
from quant.simulation.plan import Side, plan_sites
from quant.simulation.quant_graph import QuantGraph

Calibration = dict[str, Statistics]


@dataclass(frozen=True, slots=True)
class Calibrate:
    """Collect the statistics of activations from inputs (N, *input_shape).

    `total` is the number of images to come, for the progress alone.
    """

    total: int = 0

    def __call__(
        self, graph: FloatGraph, batches: Iterable[Inputs]
    ) -> Generator[Progress, None, Calibration]:
        """Return statistics by site name; memory does not grow with the number of images.

        Raises:
            CalibrationError: an activation is NaN or infinite, or the batches hold no image.
        """
        watched = QuantGraph(graph, plan_sites(graph, QuantConfig()))
        statistics: Calibration = {}
        logits, length = _logits_node(graph)
        for site in watched.sites:
            if site.side is Side.ACTIVATIONS:
                row_length = length if site.node == logits else 0
                found = Statistics(row_length, channels=ChannelStatistics())
                statistics[site.name] = watched.quantizers[site.name].statistics = found
        done, noun = 0, input_noun(graph.inputs)
        with watched.collecting_statistics():
            for batch in batches:
                try:
                    with torch.inference_mode():
                        watched(batch)
                except CalibrationError:
                    raise CalibrationError(describe_overflow(graph, batch)) from None
                done += sample_count(batch)
                yield Progress(done / max(self.total, done), f"Calibrating: {done} {noun}s")
        if done == 0:
            raise CalibrationError(
                f"Calibration needs at least one {noun}; got none. Check the data set."
            )
        return statistics


def _logits_node(graph: FloatGraph) -> tuple[str, int]:
    """Return (name of the node with the logits, number of logits in a row).

    Functions behind the node may keep an image's row whole, such as a flatten of (N, C, 1, 1).
    """
    node, length = graph.first_output_node, (1, *graph.output_shape)[-1]
    while is_pass_through(node) and operator_name(node) not in RELUS:
        source = node.all_input_nodes[0]
        if not all(
            [n for n in shape_of_node(place) if n > 1] == [length] for place in (node, source)
        ):
            break
        node = source
    return node.name, length
