"""Training of a width for each neuron (NMP-QAT; papers.md, paper 3)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from quant.channel_widths import CHANNEL_WIDTHS
from quant.encoding import Encoding
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Site, weight_site_name
from quant.training.learned_encoding import TrainableQuantizer
from quant.training.methods.learned_step import LearnedStep
from quant.training.methods.neuron_quantizer import NeuronQuantizer, neurons_among


class NeuronWidthMethod(LearnedStep):
    """NMP-QAT: weights and widths of output channels learn together.

    Only the low start presses widths down, unless `pressure` is set (our extension). Our choices:
    thresholds, temperature, start and rate of s, s clamped to [0, 1] after a step, and fixed widths
    in the last part of training so that weights settle.
    """

    parameters_rest = True  # the intensities, once widths are fixed

    def make_weight_quantizer(
        self, graph: FloatGraph, site: Site, start: Encoding, weight: Tensor
    ) -> TrainableQuantizer:
        """Return the quantizer of a weight of shape (O, I, ...).

        With rate 0, widths stay at the widths of `start`: the controls train so.
        """
        axis, own = graph[site.layer].channel_axis, self.settings.widths
        if not own.rate:
            return NeuronQuantizer(site, weight, axis, own, fixed=start)
        return NeuronQuantizer(site, weight, axis, own, rate_unit=own.rate / self.settings.rate)

    def prepare_step(self, quantizers: Mapping[str, TrainableQuantizer], share: float) -> None:
        """Let scales follow weights; widths stay in the last part."""
        for one in neurons_among(quantizers):
            one.prepare_step_at(share)

    @torch.no_grad()
    def finish_step(self, quantizers: Mapping[str, TrainableQuantizer], share: float) -> None:
        """Clamp the intensities to [0, 1]."""
        del share
        for one in neurons_among(quantizers):
            one.intensity.clamp_(0.0, 1.0)

    def loss_penalty(self, quantizers: Mapping[str, TrainableQuantizer]) -> Tensor | None:
        """Return pressure times the mean soft width, a scalar; None without pressure."""
        learning = [one for one in neurons_among(quantizers) if not one.frozen]
        if not self.settings.widths.pressure or not learning:
            return None
        return self.settings.widths.pressure * torch.stack([q.soft_bits() for q in learning]).mean()

    def curve_measures(self, quantizers: Mapping[str, TrainableQuantizer]) -> dict[str, float]:
        """Return mean bits over the weights, the share of channels by width, bits by layer."""
        own = list(neurons_among(quantizers))
        if not own:
            return {}
        sizes = [one.scales[0].numel() for one in own]
        weights = [one.weight_count for one in own]
        means = [float(one.channel_widths.float().mean()) for one in own]
        found = {
            "mean_bits": sum(m * w for m, w in zip(means, weights, strict=True)) / sum(weights)
        }
        for bits in CHANNEL_WIDTHS:
            count = sum(int((one.channel_widths == bits).sum()) for one in own)
            found[f"share_{bits}_bits"] = count / sum(sizes)
        found.update({f"bits of {one.site.layer}": m for one, m in zip(own, means, strict=True)})
        return found


def trained_channel_widths(
    encodings: Mapping[str, Encoding], graph: FloatGraph
) -> dict[str, tuple[int, ...]]:
    """Return the widths of channels in the encodings of a training, by layer."""
    found = {}
    for layer in graph.layers:
        encoding = encodings.get(weight_site_name(layer.name))
        if encoding is None or layer.weight is None:
            continue
        own = encoding.channel_bits
        several = own is not None and own.dim() > 0
        found[layer.name] = (
            tuple(own.flatten().tolist())
            if own is not None and several
            else (encoding.bits,) * layer.weight_shape[layer.channel_axis]
        )
    return found
