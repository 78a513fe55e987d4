"""Score a simulated network beside its float original: the one place that loops over data."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from analysis.evaluation.measures import Interval, paired_interval, proportion_interval
from analysis.evaluation.output_error import OutputTally
from analysis.evaluation.per_image import compare
from analysis.evaluation.user_metric import MetricScore, MetricTally, UserMetric
from analysis.network import Network, forward, forward_all
from quant.errors import QuantError
from quant.inputs import Inputs
from quant.progress import Progress, Steps
from quant.simulation.quant_graph import QuantGraph

KEPT_DISAGREEMENTS = 48


class LabelledBatch(Protocol):
    """Images (N, ...), their labels (N,) or None, and their places in the data.

    A batch may have `targets` too, which metrics of the user's compare outputs with.
    """

    @property
    def inputs(self) -> Inputs:
        """The images as the network takes them."""

    @property
    def labels(self) -> Tensor | None:
        """The right classes, if known."""

    @property
    def indices(self) -> tuple[int, ...]:
        """The place of each image in the whole data."""


class Data(Protocol):
    """Images that can be read in batches, any number of times."""

    def __len__(self) -> int:
        """Return the number of images."""

    def batches(self, size: int) -> Iterator[LabelledBatch]:
        """Yield all images, `size` at a time."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An image on which the float and the quantized network answer differently."""

    index: int
    label: int | None
    float_class: int
    quantized_class: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Float and quantized network on the same images; shares of 1, intervals of 95 %.

    Top-1 figures are None where the data has no labels; agreement (same top-1 class as the float
    network) and the output's SQNR in dB take their place. `top1_drop` is float minus quantized.
    Where the first output is no row of classes, `classes` is False and agreement says little:
    `cosine` of the outputs and the user's `metric` stand beside the SQNR, or what kept the metric
    from being measured, `metric_problem`.
    `kl` is the mean KL divergence of the softmax in nats, None where outputs are no classes.
    """

    samples: int
    labelled: bool
    agreement: float
    agreement_ci95: Interval
    sqnr_db: float
    float_top1: float | None = None
    float_top1_ci95: Interval | None = None
    quantized_top1: float | None = None
    quantized_top1_ci95: Interval | None = None
    top1_drop: float | None = None
    top1_drop_ci95: Interval | None = None
    disagreements: tuple[Disagreement, ...] = ()
    cosine: float | None = None
    classes: bool = True
    metric: MetricScore | None = None
    metric_problem: str = ""
    kl: float | None = None


class _ScoreTally:
    """Running counts; nothing in it grows with the number of images but what a metric holds."""

    def __init__(self, metric: UserMetric | None = None) -> None:
        self.apart = OutputTally()
        self.metric = None if metric is None else MetricTally(metric)
        self.metric_problem = ""
        self.samples = self.agreed = 0
        self.float_hits = self.quantized_hits = self.lost = self.won = 0
        self.divergence = 0.0
        self.classes = True
        self.labelled = True
        self.disagreements: list[Disagreement] = []

    def add(
        self, batch: LabelledBatch, references: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> None:
        """Take in the outputs of both networks for one batch; the first may be logits."""
        self.apart.add(references, outputs)
        self._ask_metric(batch, references, outputs)
        reference, quantized = references[0], outputs[0]
        self.samples += len(reference)
        self.classes &= reference.dim() == 2
        if self.classes:
            self.divergence += float(compare(reference, quantized, None)["kl"].sum())
        before, after = reference.argmax(-1), quantized.argmax(-1)
        differs = (before != after).reshape(len(reference), -1).any(1)
        self.agreed += int((~differs).sum())
        if batch.labels is None or before.dim() != 1 or reference.shape[-1] == 1:
            self.labelled = False
        else:
            self._score(batch.labels, before, after)
        for position in differs.nonzero().flatten().tolist():
            if len(self.disagreements) < KEPT_DISAGREEMENTS and before.dim() == 1:
                label = None if batch.labels is None else int(batch.labels[position])
                self.disagreements.append(
                    Disagreement(
                        batch.indices[position], label, int(before[position]), int(after[position])
                    )
                )

    def _ask_metric(
        self, batch: LabelledBatch, references: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> None:
        """Put the user's metric to a batch; what it cannot do is told, and the rest goes on."""
        if self.metric is None or self.metric_problem:
            return
        try:
            self.metric.add(references, outputs, getattr(batch, "targets", batch.labels))
        except ValueError as error:
            self.metric_problem = str(error)

    def _measured(self) -> tuple[MetricScore | None, str]:
        """Return the metric's score, or what stood in its way."""
        if self.metric is None or self.metric_problem:
            return None, self.metric_problem
        try:
            return self.metric.result(), ""
        except ValueError as error:
            return None, str(error)

    def _score(self, labels: Tensor, before: Tensor, after: Tensor) -> None:
        right_before, right_after = before == labels, after == labels
        self.float_hits += int(right_before.sum())
        self.quantized_hits += int(right_after.sum())
        self.lost += int((right_before & ~right_after).sum())
        self.won += int((~right_before & right_after).sum())

    def result(self) -> Evaluation:
        """Return the figures with their intervals."""
        n = self.samples
        metric, problem = self._measured()
        unlabelled = Evaluation(
            samples=n,
            labelled=False,
            agreement=self.agreed / n,
            agreement_ci95=proportion_interval(self.agreed, n),
            sqnr_db=self.apart.sqnr_db,
            disagreements=tuple(self.disagreements),
            cosine=self.apart.cosine,
            metric=metric,
            metric_problem=problem,
            kl=self.divergence / n if self.classes else None,
        )
        if not self.labelled:
            return unlabelled
        return replace(
            unlabelled,
            labelled=True,
            float_top1=self.float_hits / n,
            float_top1_ci95=proportion_interval(self.float_hits, n),
            quantized_top1=self.quantized_hits / n,
            quantized_top1_ci95=proportion_interval(self.quantized_hits, n),
            top1_drop=(self.float_hits - self.quantized_hits) / n,
            top1_drop_ci95=paired_interval(self.lost, self.won, n),
        )


def evaluate(
    network: Network, quantized: QuantGraph, data: Data, metric: UserMetric | None = None
) -> Steps[Evaluation]:
    """Run both networks over all images of `data`, batch by batch.

    `metric` is one of the user's own; where it fails, `metric_problem` says how.

    Raises:
        QuantError: there is no image, or a label is no output of the network.
    """
    tally = _ScoreTally(metric)
    total = len(data)
    if total == 0:
        raise QuantError("A score needs images; the data has none. Choose other data.")
    for batch in data.batches(network.batch_size):
        if network.classifies:
            check_labels(batch.labels, network.outputs)
        reference = forward_all(network.graph, network.graph.batch, batch.inputs)
        simulated = forward_all(quantized, network.graph.batch, batch.inputs)
        tally.add(batch, reference, simulated)
        yield Progress(tally.samples / total, f"Scoring: {tally.samples} of {total} images")
    return replace(tally.result(), classes=network.classifies)


def check_labels(labels: Tensor | None, outputs: int) -> None:
    """Raise QuantError unless every label is one of the network's outputs."""
    if labels is None:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= outputs:
        raise QuantError(
            f"Labels must lie between 0 and {outputs - 1}, the network's outputs; got "
            f"{low if low < 0 else high}. Choose data made for this model."
        )


@dataclass(frozen=True, slots=True)
class FloatScore:
    """The float network alone: top-1 with its interval, on `samples` images."""

    samples: int
    top1: float
    top1_ci95: Interval


def score_float(network: Network, data: Data) -> Steps[FloatScore | None]:
    """Return the float network's top-1, or None where the data has no labels or no image."""
    hits = samples = 0
    for batch in data.batches(network.batch_size):
        if batch.labels is None or not network.classifies:
            return None
        check_labels(batch.labels, network.outputs)
        logits = forward(network.graph, network.graph.batch, batch.inputs)
        hits += int((logits.argmax(1) == batch.labels).sum())
        samples += len(logits)
        yield Progress(samples / len(data), f"Float network: {samples} of {len(data)} images")
    if samples == 0:
        return None
    return FloatScore(samples, hits / samples, proportion_interval(hits, samples))
