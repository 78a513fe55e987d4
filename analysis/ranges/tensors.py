"""The tensors of one network with the fit of their encodings; the book caches every fit."""

from dataclasses import dataclass, field, replace

from analysis.calibration import Calibrated
from analysis.ranges.distributions import (
    Distribution,
    activation_distributions,
    weight_distributions,
)
from analysis.ranges.encoding_fit import Fit, fit_statistics_encoding, fit_weight_encoding
from analysis.ranges.findings import ExaminedTensor, examine_tensor_fit
from quant.config import QuantConfig
from quant.encoding import Encoding, encode_range
from quant.errors import CalibrationError
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import is_input_name
from quant.ranges.batch_norm_moments import Moments, propagate_moments
from quant.ranges.estimators import encode_statistics
from quant.simulation.plan import Side, Site, plan_sites
from quant.spec import Estimator, QuantSpec


@dataclass(eq=False)
class RangeBook:
    """Distributions and fits of a graph's tensors; activations need statistics in `calibrated`.

    `open_range_book` builds a book from a graph and the result of calibration.
    """

    graph: FloatGraph
    calibrated: Calibrated
    weights: dict[str, Distribution]
    activations: dict[str, Distribution]
    moments: dict[str, Moments]
    _fits: dict[tuple[str, QuantSpec, str | None], Fit] = field(default_factory=dict)

    def distributions_by_layer(self, side: Side) -> dict[str, Distribution]:
        """Return the distributions of one side by layer, in execution order."""
        return self.weights if side is Side.WEIGHTS else self.activations

    def examine_all_tensors(self, config: QuantConfig, side: Side) -> list[ExaminedTensor]:
        """Return every tensor of one side with the fit of the configured encoding.

        Raises:
            QuantError: a rule matches no layer, or the configured estimator cannot choose a range.
        """
        distributions = self.distributions_by_layer(side)
        return [
            examine_tensor_fit(
                distributions[site.layer],
                None if site.spec.is_float else self.fit_at_site(site, site.spec),
            )
            for site in plan_sites(self.graph, config)
            if site.side is side and site.layer in distributions
        ]

    def fit_at_site(self, site: Site, spec: QuantSpec) -> Fit:
        """Return the fit of the encoding of `spec` to the tensor at a site.

        Raises:
            CalibrationError: the estimator needs statistics that the site lacks.
        """
        key = (site.name, spec, site.shared_with)
        if key not in self._fits:
            self._fits[key] = self._fit_site(site, spec)
        return self._fits[key]

    def range_estimators(self, site: Site) -> list[Estimator]:
        """Return the estimators that can choose the range of a site."""
        result = [Estimator.MIN_MAX, Estimator.PERCENTILE, Estimator.MSE]
        if site.side is Side.ACTIVATIONS:
            if self.calibrated.statistics[self._source_layer(site)].rows is not None:
                result.append(Estimator.CROSS_ENTROPY)
            if site.node in self.moments and site.shared_with is None:
                result.append(Estimator.BATCH_NORM)
        return result

    def _fit_site(self, site: Site, spec: QuantSpec) -> Fit:
        if site.side is Side.WEIGHTS:
            layer = self.graph[site.layer]
            return fit_weight_encoding(
                self.graph.stored_tensor(str(layer.weight)), spec, layer.channel_axis
            )
        encoding = self._activation_encoding(site, spec)
        return fit_statistics_encoding(self.calibrated.statistics[site.layer], encoding, spec)

    def _activation_encoding(self, site: Site, spec: QuantSpec) -> Encoding:
        """Return the activation's encoding, chosen as in `quant_graph.quantize_graph`."""
        source = self.calibrated.statistics[self._source_layer(site)]
        if spec.estimator is Estimator.BATCH_NORM:
            if is_input_name(site.layer):
                return encode_statistics(source, replace(spec, estimator=Estimator.MIN_MAX))
            if site.node not in self.moments:
                raise CalibrationError(
                    f"A data-free range must follow from batch norms; layer {site.layer!r} does "
                    "not. Choose mse, percentile or min-max for it."
                )
            return encode_range(*self.moments[site.node].range_of_channels(), spec)
        if spec.estimator is Estimator.CROSS_ENTROPY and source.rows is None:
            spec = replace(spec, estimator=Estimator.MSE)
        return encode_statistics(source, spec)

    @staticmethod
    def _source_layer(site: Site) -> str:
        """Return the layer with the statistics behind the site's encoding."""
        return site.shared_with or site.layer


def open_range_book(graph: FloatGraph, calibrated: Calibrated | None) -> RangeBook:
    """Return the book of a graph; without calibration the book holds weights only."""
    collected = calibrated or Calibrated()
    return RangeBook(
        graph=graph,
        calibrated=collected,
        weights=weight_distributions(graph),
        activations=activation_distributions(collected.statistics),
        moments=propagate_moments(graph) if collected.statistics else {},
    )
