"""Screening: the loss from each layer, predicted by one forward and one backward of a few images.

A layer's error e (the quantized output minus the float output, both from the float network's input)
reaches the network's output as J e, to first order. For v with independent signs,
E[(v . J e)^2] = ||J e||^2, and v . J e = (J^T v) . e. So one backward of v gives J^T v at every
layer; the product with a layer's error, for any bits, estimates the energy of the noise at the
output. With v = B u, where B B^T = diag(p) - p p^T is the Fisher information of the logits, the
result is twice the KL divergence (Martens 2014, "New insights and perspectives on the natural
gradient method"). Images take turns: every second image serves the energy, the rest the divergence;
with few images, an image serves both.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from analysis.evaluation.forwards import LabelledBatch, check_label_range
from analysis.evaluation.measures import signal_to_noise_db
from analysis.evaluation.per_image import sqnr_intervals
from analysis.network import Network
from analysis.sensitivity.questions import questions_of_sweep
from analysis.sensitivity.screening.layer_errors import LocalProducts
from analysis.sensitivity.screening.probes import (
    draw_output_probes,
    output_scales,
    probe_turns,
    signal_energy_by_image,
    take_probes_in_turn,
)
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep, View
from analysis.study import Study
from quant.engine.gradients import Backward, Local
from quant.errors import QuantError
from quant.inputs import Outputs, arrange_batch, sample_count, tensors_of_batch
from quant.progress import Progress, Steps

# Bytes of the largest activation in a batch. Values, gradients and errors of a layer lie in the
# cache together, so the limit is lower than for a forward alone.
BATCH_BYTES = 10_000_000
LARGEST_BATCH = 32
FEWEST_TO_TAKE_TURNS = 32  # images
SHARE_OF_GRIDS = 0.3
SEED = 0


def screen_layers(study: Study, sweep: Sweep) -> Steps[Sensitivity]:
    """Predict the answers to a sweep from the scored images of `study`.

    The widths share forward and backward. In the view ALL_BUT the result is the sum of the layers'
    noise energies minus the energy of one layer. Questions about layers without a gradient are left
    out.

    Raises:
        QuantError: there is no image, a layer is not the network's, or a range needs statistics
            that calibration has not collected.
    """
    network, data = study.network, study.scored_images
    if len(data) == 0:
        raise QuantError("Screening needs data; got none. Choose other data.")
    start = time.perf_counter()
    turns = len(data) >= FEWEST_TO_TAKE_TURNS
    screening = _Screening(study, sweep, turns=turns)
    yield from screening.choose_encodings()
    done = 0
    for batch in data.batches(screening_batch_size(network)):
        if network.is_classifier:
            check_label_range(batch.labels, network.output_count)
        screening.add_batch(batch)
        done += sample_count(batch.inputs)
        share = SHARE_OF_GRIDS + (1 - SHARE_OF_GRIDS) * done / len(data)
        yield Progress(share, f"Screening: {done} of {len(data)} {network.noun}s")
    return screening.screening_result(time.perf_counter() - start)


def screening_batch_size(network: Network) -> int:
    """Return the number of images in a forward with the backwards."""
    if network.graph.batch is not None:
        return network.graph.batch
    largest = max(4 * math.prod(layer.shape) for layer in network.graph.layers)
    return max(1, min(LARGEST_BATCH, BATCH_BYTES // largest))


class _Screening:
    """A sweep in progress: figures (S, P, n) of a layer and batch, and (P, n) images of a probe.

    If images take turns, one gradient serves the probes together.
    """

    def __init__(self, study: Study, sweep: Sweep, *, turns: bool) -> None:
        network = study.network
        self._network, self._sweep, self._turns = network, sweep, turns
        self._encodings = study.site_encodings(sweep.config)
        self._asked = questions_of_sweep(network, sweep, self._encodings)
        # in the view ALL_BUT every layer adds to the noise around the other layers
        layers = sweep.layers if sweep.view is View.ONLY else None
        own = replace(sweep, view=View.ONLY, layers=layers)
        self._questions = questions_of_sweep(network, own, self._encodings)
        self._backward = Backward(network.graph)
        self._products = LocalProducts(
            self._backward, self._encodings, self._questions, sweep.memory_bytes
        )
        self._generator = torch.Generator().manual_seed(SEED)
        self._signal: list[Tensor] = []
        self._scales: tuple[float, ...] = ()
        self._found: dict[str, list[Tensor]] = {}
        self._whom: list[Tensor] = []
        self._reached: set[str] = set()
        self._right: list[Tensor] | None = []

    def choose_encodings(self) -> Steps[None]:
        """Choose the ranges of the sites."""
        for place, question in enumerate(self._questions):
            sites = self._encodings.site_names(question.layer, question.side)
            self._encodings.encodings_at_bits(sites, question.bits)
            yield Progress(
                SHARE_OF_GRIDS * (place + 1) / len(self._questions),
                f"Screening: ranges of {question.layer} at {question.bits} bits",
            )

    def add_batch(self, batch: LabelledBatch) -> None:
        """Add a batch of images."""
        inputs = arrange_batch(batch.inputs, self._network.graph.batch)
        count, first = sample_count(batch.inputs), sum(map(len, self._signal))

        def visit(local: Local) -> None:
            found = self._products.products_of_layer(local)
            if found is not None:
                squares = found[..., :count].square()
                self._found.setdefault(local.layer.name, []).append(squares)
            if local.layer.name not in self._reached and any(map(_has_gradient, local.gradients)):
                self._reached.add(local.layer.name)

        def probe(found: Outputs) -> list[Outputs]:
            outputs = tensors_of_batch(found)
            # several outputs weigh equally, scaled by the energy on the first images
            self._scales = self._scales or output_scales([each[:count] for each in outputs])
            probes = draw_output_probes(outputs, count, self._generator, self._scales)
            turns = self._turns and len(probes) > 1
            everyone = torch.ones(len(probes), count, dtype=torch.bool)
            self._whom.append(probe_turns(count, first, len(probes)) if turns else everyone)
            return [take_probes_in_turn(probes, first)] if turns else probes

        outputs = [out[:count] for out in tensors_of_batch(self._backward(inputs, probe, visit))]
        output = outputs[0]
        self._signal.append(signal_energy_by_image(outputs, self._scales))
        if batch.labels is None or output.dim() != 2:
            self._right = None
        elif self._right is not None:
            self._right.append(output.argmax(1) == batch.labels)

    def screening_result(self, seconds: float) -> Sensitivity:
        """Return the predictions."""
        found = {
            Question(layer, bits, side): figures
            for layer, parts in self._found.items()
            if layer in self._reached
            for (bits, side), figures in zip(
                self._products.question_keys(layer), torch.cat(parts, 2), strict=True
            )
        }
        whole: dict[Question, Tensor] = {}
        if self._sweep.view is View.ALL_BUT:
            found, whole = _figures_without_layer(found)
        signal, whom = torch.cat(self._signal), torch.cat(self._whom, 1)
        scores = _scores_from_products(
            signal, whom, {q: found[q] for q in self._asked if q in found}
        )
        known = self._right
        return Sensitivity(
            sweep=self._sweep,
            depth=Depth.SCREENING,
            images=len(signal),
            float_top1=None if known is None else float(torch.cat(known).double().mean()),
            scores=tuple(scores),
            whole=tuple(_scores_from_products(signal, whom, whole)),
            seconds=seconds,
            forwards=self._forwards_per_image(),
            noun=self._network.noun,
        )

    def _forwards_per_image(self) -> float:
        """Return the number of whole forwards for an image; a backward counts as one."""
        macs = {layer.name: layer.macs for layer in self._network.graph.layers}
        again = sum(macs[layer] * runs for layer, runs in self._products.runs.items())
        backwards = 1 if self._turns else len(self._whom[0])
        return 1 + backwards + (again / self._network.mac_count if self._network.mac_count else 0.0)


def _has_gradient(gradient: Tensor) -> bool:
    """Whether a gradient of shape (N, ...) has a nonzero element; usually one image suffices."""
    return bool(gradient[:1].any()) or bool(gradient.any())


def _figures_without_layer(
    found: Mapping[Question, Tensor],
) -> tuple[dict[Question, Tensor], dict[Question, Tensor]]:
    """Return figures of the network without a layer's noise, and with every layer's noise.

    The figures have the shape (S, P, N).
    """
    whole: dict[Question, Tensor] = {}
    for question, figures in found.items():
        key = replace(question, layer="", view=View.ALL_BUT)
        whole[key] = whole[key] + figures if key in whole else figures
    rest = {
        replace(question, view=View.ALL_BUT): (
            whole[replace(question, layer="", view=View.ALL_BUT)] - figures
        ).clamp(min=0)
        for question, figures in found.items()
    }
    return rest, whole


def _scores_from_products(
    signal: Tensor, whom: Tensor, found: Mapping[Question, Tensor]
) -> list[CellScore]:
    """Return scores from squared products (P, N) of gradients with each layer's error.

    `whom` (1 or 2, N) marks the images for the energy and for the divergence.
    """
    if not found:
        return []
    figures = torch.stack(list(found.values()))
    own, noises = signal[whom[0]], figures[:, 0, whom[0]]
    energies = noises.sum(1).tolist()
    divergences = (figures[:, -1, whom[1]].mean(1) / 2).tolist() if len(whom) > 1 else None
    intervals = sqnr_intervals(own.numpy(), noises.numpy())
    return [
        CellScore(
            question=question,
            depth=Depth.SCREENING,
            images=len(signal),
            sqnr_db=signal_to_noise_db(float(own.sum()), energies[place]),
            kl=None if divergences is None else divergences[place],
            sqnr_ci95=intervals[place],
        )
        for place, question in enumerate(found)
    ]
