"""The score against the number of calibration images, over draws of images.

Ranges of each draw come from the one pass over the calibration images; the score takes a forward of
the scored images for each draw, so it is asked for on its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.calibration_size.chunk_statistics import ChunkedCalibration, calibrate_in_chunks
from analysis.calibration_size.size_curve import chunk_counts, draws
from analysis.evaluation.evaluate import Evaluation, evaluate_network
from analysis.study import Study
from data_io.dataset import Dataset
from quant.config import QuantConfig
from quant.errors import CalibrationError
from quant.progress import Steps, part_of_progress
from quant.simulation.quant_graph import quantize_graph

SCORED_DRAWS = 3
SCORED_IMAGES = 200
CALIBRATION_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class SizeScore:
    """The scores of draws of `images` calibration images, in shares of 1 or a metric's unit."""

    images: int
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over draws."""
        return sum(self.scores) / len(self.scores)


@dataclass(frozen=True, slots=True)
class ScoreCurve:
    """Scores at growing numbers of calibration images, and that of the float network.

    `name` is the metric: top-1, that of the task, or the agreement with float without labels.
    """

    name: str
    points: tuple[SizeScore, ...]
    float_score: float
    scored_images: int
    higher_is_better: bool = True
    share: bool = True
    noun: str = "image"


def measure_size_scores(study: Study, config: QuantConfig) -> Steps[ScoreCurve]:
    """Return the score of draws of calibration images, by ranges from one pass.

    Raises:
        CalibrationError: there are too few images, or none are chosen.
    """
    if study.calibration is None:
        raise CalibrationError("Ranges need calibration data; got none. Choose data.")
    chunked = yield from part_of_progress(
        calibrate_in_chunks(study.network, study.calibration), 0.0, CALIBRATION_SHARE
    )
    data = study.scored_images.first(SCORED_IMAGES)
    counts = [*chunk_counts(chunked.chunks), chunked.chunks]
    total = SCORED_DRAWS * (len(counts) - 1) + 1
    done, points, last = 0, [], None
    for count in counts:
        scores = []
        for chosen in _distinct_draws(chunked, count):
            span = [CALIBRATION_SHARE + 0.8 * (done + one) / total for one in (0, 1)]
            steps = _score_of_draw(study, config, chunked, chosen, data)
            last = yield from part_of_progress(steps, span[0], span[1])
            scores.append(_quantized_score(last))
            done += 1
        points.append(SizeScore(count * chunked.chunk_images, tuple(scores)))
    if last is None:
        raise CalibrationError("The curve needs calibration data; got none. Choose data.")
    return replace(_curve_of_points(last, points, len(data)), noun=study.network.noun)


def _distinct_draws(chunked: ChunkedCalibration, count: int) -> list[list[int]]:
    if count == chunked.chunks:
        return [list(range(count))]
    return list(draws(chunked.chunks, count))[:SCORED_DRAWS]


def _score_of_draw(
    study: Study,
    config: QuantConfig,
    chunked: ChunkedCalibration,
    chosen: Sequence[int],
    data: Dataset,
) -> Steps[Evaluation]:
    statistics = {name: site.subset(chosen) for name, site in chunked.sites.items()}
    quantized = quantize_graph(study.network.graph, config, statistics, study.input_range)
    return (yield from evaluate_network(study.network, quantized, data, study.metric))


def _quantized_score(score: Evaluation) -> float:
    if score.metric is not None:
        return score.metric.quantized_value
    return score.agreement if score.quantized_top1 is None else score.quantized_top1


def _curve_of_points(score: Evaluation, points: Sequence[SizeScore], images: int) -> ScoreCurve:
    if score.metric is not None:
        metric = score.metric
        return ScoreCurve(
            metric.name,
            tuple(points),
            metric.float_value,
            images,
            metric.higher_is_better,
            metric.share,
        )
    if score.float_top1 is not None:
        return ScoreCurve("top-1", tuple(points), score.float_top1, images)
    return ScoreCurve("agreement with float", tuple(points), 1.0, images)
