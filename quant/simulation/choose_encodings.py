"""Choose the encoding of a site from the weight or from statistics."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch

from quant.encoding import Encoding, encode_range
from quant.errors import CalibrationError
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import is_input_name
from quant.ranges.batch_norm_moments import Moments
from quant.ranges.estimators import encode_all_statistics, encode_statistics, encode_weight
from quant.ranges.statistics import Statistics
from quant.simulation.plan import Side, Site
from quant.spec import Estimator, QuantSpec


def encode_weight_site(graph: FloatGraph, site: Site) -> Encoding:
    """Return the encoding of a weight's site."""
    layer = graph[site.layer]
    return encode_weight(graph.stored_tensor(str(layer.weight)), site.spec, layer.channel_axis)


def search_activation_sites(
    sites: Iterable[Site], calibration: Mapping[str, Statistics]
) -> dict[str, Encoding]:
    """Return the encodings of activation sites that a search finds in known statistics.

    The encodings equal those of `encode_activation_site`. A joint search over the sites of a spec
    is several times faster than separate searches.
    """
    alike: dict[QuantSpec, list[str]] = defaultdict(list)
    for site in sites:
        own = site.side is Side.ACTIVATIONS and site.shared_with is None and not site.spec.is_float
        if own and site.limits is None and site.name in calibration:
            spec = spec_with_estimator(site, calibration[site.name])
            if spec.estimator is Estimator.MSE:
                alike[spec].append(site.name)
    return {
        name: encoding
        for spec, names in alike.items()
        for name, encoding in zip(
            names, encode_all_statistics([calibration[name] for name in names], spec), strict=True
        )
    }


def encode_activation_site(
    site: Site,
    calibration: Mapping[str, Statistics],
    input_range: tuple[float, float] | None = None,
    moments: Mapping[str, Moments] | None = None,
) -> Encoding:
    """Return the encoding of an activation's site without a shared encoding (see `quantize_graph`).

    `moments` (`propagate_moments`) serve the estimator batch-norm.

    Raises:
        CalibrationError: the site needs statistics and has none.
    """
    moments = moments or {}
    if site.limits is not None:
        low, high = (torch.tensor(limit) for limit in site.limits)
        return encode_range(low, high, site.spec)
    if is_input_name(site.layer) and input_range and site.name not in calibration:
        low, high = (torch.tensor(limit) for limit in input_range)
        return encode_range(low, high, site.spec)
    if site.spec.estimator is Estimator.BATCH_NORM and not is_input_name(site.layer):
        if site.node not in moments:
            raise CalibrationError(
                f"A data-free range must follow from batch norms; layer {site.layer!r} does not. "
                "Choose mse, percentile or min-max for it and calibrate on some data."
            )
        return encode_range(*moments[site.node].range_of_channels(), site.spec)
    if site.name not in calibration:
        raise CalibrationError(
            f"Layer {site.layer!r} has no statistics; a range needs some. Calibrate first."
        )
    statistics = calibration[site.name]
    return encode_statistics(statistics, spec_with_estimator(site, statistics))


def spec_with_estimator(site: Site, statistics: Statistics) -> QuantSpec:
    """Return the spec of a site with the estimator for known statistics."""
    spec = site.spec
    if spec.estimator is Estimator.BATCH_NORM and is_input_name(site.layer):
        return replace(spec, estimator=Estimator.MIN_MAX)
    if spec.estimator is Estimator.CROSS_ENTROPY and statistics.rows is None:
        # chosen for the whole network, it means the logits; the paper pairs it with MSE
        return replace(spec, estimator=Estimator.MSE)
    return spec
