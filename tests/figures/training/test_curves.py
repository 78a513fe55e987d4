"""The curves of a training: the interval is a band without points, widths stand as areas."""

import pytest

from figures.training.changes import layer_width_figure, width_share_figure
from figures.training.curves import score_curve
from quant.training.state.trained_state import CurvePoint


def point(step: int, score: float, **measures: float) -> CurvePoint:
    return CurvePoint(step, float(step), 1.0, 1.0, score, 1e-3, measures)


def test_the_band_is_the_interval_of_the_watched_images() -> None:
    figure = score_curve([point(0, 0.5), point(10, 0.9)], 100, {"float": 0.95})
    band, line = figure.data
    assert band.mode == "lines"
    assert list(line.y) == [50.0, 90.0]
    assert max(band.y) == pytest.approx(90 + 1.96 * (0.9 * 0.1 / 100) ** 0.5 * 100)
    assert "90.0 %" in figure.layout.title.text


def test_widths_over_the_steps_add_up_to_all_channels() -> None:
    widths = {"share_1_bits": 0.75, "share_2_bits": 0.25, "mean_bits": 1.25, "bits of fc": 1.25}
    points = [
        point(0, 0.5, **{**widths, "share_1_bits": 1.0, "share_2_bits": 0.0}),
        point(10, 0.9, **widths),
    ]
    figure = width_share_figure(points)
    assert figure is not None
    assert [sum(trace.y[place] for trace in figure.data) for place in (0, 1)] == [100.0, 100.0]
    assert "1.25 bits a weight" in figure.layout.title.text
    layers = layer_width_figure(points)
    assert layers is not None
    assert list(layers.data[0].z[0]) == [1.25, 1.25]
    assert width_share_figure([point(0, 0.5)]) is None
    assert layer_width_figure([]) is None
