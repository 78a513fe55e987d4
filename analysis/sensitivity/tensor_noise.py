"""Instant scores: the noise of a layer's own tensors, without a forward."""

import math
import time
from collections.abc import Iterator

from analysis.calibration import Calibrated
from analysis.evaluation.measures import sqnr_db
from analysis.ranges.encoding_fit import fit_statistics_encoding
from analysis.sensitivity.questions import questions_of_sweep
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep
from analysis.site_encodings import SiteEncodings
from analysis.study import Study
from quant.simulation.plan import Side
from quant.spec import QuantSpec


def tensor_noise_sensitivity(study: Study, sweep: Sweep) -> Sensitivity:
    """Return for each question the SQNR of the layer's own quantized tensor.

    For weights the tensor is the weight, for activations the calibrated output; for both sides the
    noise adds up. The SQNR does not depend on the view and ignores the layers behind. Questions
    about activations without statistics are left out.

    Raises:
        ConfigError: a layer or a rule of the sweep does not fit the network.
    """
    start = time.perf_counter()
    calibrated, encodings = study.known_statistics, study.site_encodings(sweep.config)
    local = _Local(encodings, calibrated)
    scores = []
    for question in questions_of_sweep(study.network, sweep, encodings):
        found = local.question_sqnr_db(question)
        if found is not None:
            scores.append(CellScore(question, Depth.INSTANT, calibrated.images, found))
    return Sensitivity(
        sweep=sweep,
        depth=Depth.INSTANT,
        images=calibrated.images,
        float_top1=None,
        scores=tuple(scores),
        seconds=time.perf_counter() - start,
        noun=study.network.noun,
    )


class _Local:
    """The noise of single tensors; measured values are cached."""

    def __init__(self, encodings: SiteEncodings, calibrated: Calibrated) -> None:
        self.encodings, self._calibrated = encodings, calibrated
        self._weights: dict[tuple[str, int], float] = {}

    def question_sqnr_db(self, question: Question) -> float | None:
        """Return the SQNR of a layer's tensors in dB; None for an unknown tensor."""
        found = list(self._tensor_levels_db(question))
        if None in found:
            return None
        noise = sum(10 ** (-part / 10) for part in found if part is not None)
        return -10 * math.log10(noise) if noise > 0 else math.inf

    def _tensor_levels_db(self, question: Question) -> Iterator[float | None]:
        layer, bits = question.layer, question.bits
        if question.side.includes_role(Side.WEIGHTS) and self.encodings.site_names(
            layer, Side.WEIGHTS
        ):
            yield self.weight_sqnr_db(layer, bits)
        if question.side.includes_role(Side.ACTIVATIONS):
            yield self._activation_sqnr_db(layer, bits)

    def weight_sqnr_db(self, layer: str, bits: int) -> float:
        """Return the SQNR of a layer's weight."""
        if (layer, bits) not in self._weights:
            (site,) = self.encodings.site_names(layer, Side.WEIGHTS)
            graph = self.encodings.network.graph
            weight = graph.stored_tensor(str(graph[layer].weight)).detach()
            rounded = self.encodings.encodings_at_bits([site], bits)[site].fake_quantize(weight)
            self._weights[layer, bits] = sqnr_db(weight, rounded)
        return self._weights[layer, bits]

    def _activation_sqnr_db(self, layer: str, bits: int) -> float | None:
        (site,) = self.encodings.site_names(layer, Side.ACTIVATIONS)
        statistics = self._calibrated.statistics.get(site)
        if statistics is None or statistics.count == 0:
            return None
        encoding = self.encodings.encodings_at_bits([site], bits)[site]
        return fit_statistics_encoding(statistics, encoding, QuantSpec(bits)).sqnr_db
