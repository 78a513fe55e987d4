"""The noise of a weight after bias correction, predicted without a corrected network.

Bias correction subtracts the mean error of an output channel over images and positions. To first
order, the noise at the network's output is g . e, with the gradient g and the error e of the
layer's output (`screen`), so correction leaves g . (e - m), where m is the mean error of a channel.
Behind an activation function the mean counts only at nonzero errors, where the function lets a
change pass (our choice: the errors of a fused layer are known behind the function).
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from analysis.evaluation.measures import signal_to_noise_db
from analysis.sensitivity.questions import questions_of_sweep
from analysis.sensitivity.screening.probes import draw_output_probes, output_scales
from analysis.sensitivity.screening.screen import SEED, screening_batch_size
from analysis.sensitivity.sweep import CellScore, Question, Sensitivity, Sweep, View
from analysis.study import Study
from quant.engine.gradients import Backward, Local
from quant.graph.layer_pairs import WEIGHTED, channels_last
from quant.inputs import Outputs, arrange_batch, sample_count, tensors_of_batch
from quant.progress import Progress, Steps
from quant.simulation.plan import Side

Shares = tuple[float, float]
LEAST_SHARE = 1e-3  # correction estimates means on few images, so some noise stays (our choice)


def corrected_shares(study: Study, sweep: Sweep) -> Steps[dict[Question, Shares]]:
    """Return for each weight the shares of noise energy and of divergence left by correction.

    The shares are at most 1; a network without classes has equal shares.

    Raises:
        QuantError: there is no image, or a range needs uncollected statistics.
    """
    work = _Corrections(study, replace(sweep, sides=(Side.WEIGHTS,), view=View.ONLY))
    done, data = 0, study.scored_images
    for batch in data.batches(screening_batch_size(study.network)):
        work.add_batch(
            arrange_batch(batch.inputs, study.network.graph.batch), sample_count(batch.inputs)
        )
        done += sample_count(batch.inputs)
        of_all = f"{done} of {len(data)} {study.network.noun}s"
        yield Progress(done / len(data), f"Bias correction: {of_all}")
    return work.remaining_shares()


def with_bias_corrected(sensitivity: Sensitivity, shares: Mapping[Question, Shares]) -> Sensitivity:
    """Return the sensitivity of a network whose biases will be corrected; losses are unknown."""
    scores = tuple(
        _with_corrected_noise(score, shares[score.question]) if score.question in shares else score
        for score in sensitivity.scores
    )
    return replace(sensitivity, scores=scores)


def _with_corrected_noise(score: CellScore, shares: Shares) -> CellScore:
    energy, divergence = shares
    return replace(
        score,
        sqnr_db=score.sqnr_db + signal_to_noise_db(1.0, energy),
        kl=None if score.kl is None else divergence * score.kl,
        sqnr_ci95=None,
        cross_entropy=None,
        accuracy_drop=None,
        accuracy_drop_ci95=None,
    )


class _Channels:
    """Sums of one question: errors and passing positions (C,), products (P, N) and (P, N, C)."""

    def __init__(self) -> None:
        self.errors: Tensor | float = 0.0
        self.passing: Tensor | float = 0.0
        self.products: list[Tensor] = []
        self.by_channel: list[Tensor] = []

    def add_products(self, error: Tensor, gradients: Tensor) -> None:
        """Add errors of shape (N, ..., C) and gradients of shape (P, N, ..., C) of a batch."""
        rows = error.flatten(1, -2) if error.dim() > 2 else error[:, None]  # (N, positions, C)
        moved = rows != 0
        slopes = gradients.reshape(len(gradients), *rows.shape)
        self.errors = self.errors + rows.double().sum((0, 1))
        self.passing = self.passing + moved.double().sum((0, 1))
        self.products.append((slopes * rows).sum((2, 3)))
        self.by_channel.append((slopes * moved).sum(2))

    def remaining_shares(self) -> Shares:
        """Return the remaining shares of squared products, without the channels' means."""
        passing = torch.as_tensor(self.passing).clamp(min=1.0)
        mean = (torch.as_tensor(self.errors) / passing).float()
        plain = torch.cat(self.products, 1)
        left = plain - torch.cat(self.by_channel, 1) @ mean
        before = plain.double().square().sum(1)
        after = left.double().square().sum(1)
        found = (after / before.clamp(min=1e-300)).clamp(LEAST_SHARE, 1.0).tolist()
        return found[0], found[-1]


class _Corrections:
    """The sums of the questions about weights, batch by batch."""

    def __init__(self, study: Study, sweep: Sweep) -> None:
        self._encodings = study.site_encodings(sweep.config)
        self._backward = Backward(study.network.graph)
        self._generator = torch.Generator().manual_seed(SEED)
        self._scales: tuple[float, ...] = ()
        self._sums: dict[str, dict[Question, _Channels]] = {}
        kinds = {layer.name: layer.kind for layer in study.network.graph.layers}
        for question in questions_of_sweep(study.network, sweep, self._encodings):
            if kinds[question.layer] in WEIGHTED:
                self._sums.setdefault(question.layer, {})[question] = _Channels()

    def add_batch(self, inputs: Outputs, count: int) -> None:
        """Add inputs (N, ...), of which `count` are images and the rest padding."""

        def probe(found: Outputs) -> list[Outputs]:
            outputs = tensors_of_batch(found)
            self._scales = self._scales or output_scales([each[:count] for each in outputs])
            return draw_output_probes(outputs, count, self._generator, self._scales)

        self._backward(inputs, probe, lambda local: self._visit_layer(local, count))

    def _visit_layer(self, local: Local, count: int) -> None:
        asked, layer = self._sums.get(local.layer.name), local.layer
        if asked is None or local.run is None:
            return
        sites = self._encodings.site_names(layer.name, Side.WEIGHTS)
        weight = self._encodings.network.graph.stored_tensor(str(layer.weight)).detach()
        slopes = [channels_last(slope[:count], layer) for slope in local.gradients]
        for question, sums in asked.items():
            encoding = self._encodings.encodings_at_bits(sites, question.bits)[sites[0]]
            moved = local.run(self._backward.prepare_weight(layer, encoding.fake_quantize(weight)))
            error = channels_last((moved - local.output)[:count], layer)
            sums.add_products(error, torch.stack(slopes))

    def remaining_shares(self) -> dict[Question, Shares]:
        """Return the remaining shares, of layers with a gradient."""
        return {
            question: sums.remaining_shares()
            for asked in self._sums.values()
            for question, sums in asked.items()
            if sums.products
        }
