"""The numbers behind the figures of the page Ranges, as tables."""

import pandas as pd

from analysis.ranges.distributions import Channels, Distribution
from analysis.ranges.encoding_fit import Fit
from analysis.ranges.findings import ExaminedTensor
from figures.ranges.by_layer import half_encoding_step


def overview_table(examined: list[ExaminedTensor]) -> pd.DataFrame:
    """Return a row for each tensor: range, channels, moments, and the effect of the encoding."""
    rows = []
    for item in examined:
        found, channels, fit = item.distribution, item.distribution.channels, item.fit
        rows.append(
            {
                "layer": item.layer_name,
                "role": found.side.noun,
                "values": found.count,
                "zeros": found.zeros,
                "min": found.low,
                "max": found.high,
                "std": found.std,
                "kurtosis": found.kurtosis,
                "channels": len(channels.low) if channels else None,
                "widest_over_median": channels.widest_to_median_ratio if channels else None,
                "half_step_of_one_grid": half_encoding_step(item),
                "bits": fit.spec.bits if fit else 32,
                "sqnr_db": fit.sqnr_db if fit else None,
                "clipped_share": fit.clipped_share if fit else None,
                "codes_used": fit.codes_used if fit else None,
                "bits_lost": item.bits_lost,
                "reasons": " ".join(finding.sentence for finding in item.findings),
            }
        )
    return pd.DataFrame(rows)


def suspect_table(found: list[ExaminedTensor]) -> pd.DataFrame:
    """Return a row for each suspect: layer, cost of the worst reason in bits, the reasons."""
    return pd.DataFrame(
        [
            {
                "layer": item.layer_name,
                "bits": item.bits_lost,
                "reason": item.findings[0].sentence,
                "all_reasons": " ".join(finding.sentence for finding in item.findings),
            }
            for item in found
        ]
    )


def histogram_table(distribution: Distribution) -> pd.DataFrame:
    """Return a row a bar, bars of outliers included: from, to, number of values."""
    bars = distribution.histogram_bars()
    return pd.DataFrame({"from": bars.edges[:-1], "to": bars.edges[1:], "values": bars.counts})


def channel_table(channels: Channels, fit: Fit | None) -> pd.DataFrame:
    """Return a row for each channel: the range, and the ends and the SQNR of the encoding."""
    table = pd.DataFrame(
        {
            "channel": range(len(channels.low)),
            "min": channels.low,
            "inner_low": channels.inner_low,
            "mean": channels.mean,
            "inner_high": channels.inner_high,
            "max": channels.high,
        }
    )
    if fit is None:
        return table
    one = len(fit.low) == 1
    table["grid_low"] = fit.low[0] if one else fit.low
    table["grid_high"] = fit.high[0] if one else fit.high
    table["step"] = fit.scale[0] if one else fit.scale
    if fit.channel_sqnr_db is not None:
        table["sqnr_db"] = fit.channel_sqnr_db
    return table
