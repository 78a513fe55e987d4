"""Score a simulated network beside the float original: the only module with a loop over data."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from analysis.evaluation.forwards import (
    BothForwards,
    LabelledBatch,
    StoredOutputs,
    check_label_range,
    run_in_order,
)
from analysis.evaluation.image_answers import AnswerTally, ImageAnswers, pack_bits
from analysis.evaluation.intervals import paired_interval, proportion_interval
from analysis.evaluation.measures import Interval
from analysis.evaluation.output_error import OutputTally
from analysis.evaluation.per_image import compare_image_outputs
from analysis.evaluation.tasks.changed_pictures import ChangedPictures, TaskAnswer
from analysis.evaluation.tasks.task_metric import TaskMetric, TaskTally
from analysis.evaluation.user_metric import MetricScore, MetricTally, UserMetric
from analysis.network import Network, forward_first_output
from quant.errors import QuantError
from quant.inputs import rows_of_output
from quant.progress import Progress, Steps
from quant.simulation.quant_graph import QuantGraph

MAX_DISAGREEMENTS = 48
Metric = UserMetric | TaskMetric
"""A metric of the user's own, or that of a task."""
ScoreLook = Callable[[int, Callable[[], "Evaluation"]], bool]
"""Whether a score may stop, by the number of images and the score so far."""


class Data(Protocol):
    """Images for repeated reading in batches."""

    def __len__(self) -> int:
        """Return the number of images."""

    def batches(self, size: int) -> Iterator[LabelledBatch]:
        """Yield the images in batches of `size`."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An image with different answers of the float and the quantized network."""

    index: int
    label: int | None
    float_class: int
    quantized_class: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of the float and the quantized network on equal images.

    Accuracies are shares of 1, intervals are 95 % confidence intervals. `top1_drop` is float minus
    quantized. Without labels the top-1 fields are None; `agreement` (the share of images with the
    top-1 class of the float network) and the SQNR of the output in dB replace top-1. `classes` is
    False if the first output is no row of classes; then `agreement` says little, and the `cosine`
    similarity of the outputs and the user's `metric` stand beside the SQNR. `metric_problem` is the
    error that stopped the metric. `kl` is the mean KL divergence of the softmax in nats, None
    without classes. `answers` holds the right answers image by image, `task_answers` the boxes or
    masks that changed most. `overflow` tells of outputs of the quantized network that are NaN or
    infinite; they count as 0.
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
    overflow: str = ""
    kl: float | None = None
    sqnr_ci95: Interval | None = None
    answers: ImageAnswers | None = None
    task_answers: tuple[TaskAnswer, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user beside the scores; often empty."""
        return (self.overflow,) if self.overflow else ()


class _ScoreTally:
    """Running counts; memory grows with the images only for a metric of the whole data."""

    def __init__(self, metric: Metric | None = None) -> None:
        self.output_error = OutputTally()
        self.metric: MetricTally | TaskTally | None = None
        self.changed: ChangedPictures | None = None
        if isinstance(metric, TaskMetric):
            self.metric, self.changed = TaskTally(metric), ChangedPictures(metric)
        elif metric is not None:
            self.metric = MetricTally(metric)
        self.metric_problem = ""
        self.samples = self.agreed = 0
        self.float_hits = self.quantized_hits = self.lost = self.won = 0
        self.divergence = 0.0
        self.classes = True
        self.labelled = True
        self.disagreements: list[Disagreement] = []
        self.flags: dict[str, list[Tensor]] = {"agrees": [], "float_right": [], "right": []}
        self.answers = AnswerTally()

    def add_batch(
        self, batch: LabelledBatch, references: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> None:
        """Add the outputs of both networks for one batch, of shape (N, ...)."""
        self.output_error.add_outputs(references, outputs)
        self._add_to_metric(batch, references, outputs)
        reference, quantized = rows_of_output(references[0]), rows_of_output(outputs[0])
        self.samples += len(reference)
        self.classes &= references[0].dim() == 2
        if self.classes:
            self.divergence += float(compare_image_outputs(reference, quantized, None)["kl"].sum())
        before, after = reference.argmax(-1), quantized.argmax(-1)
        differs = (before != after).reshape(len(reference), -1).any(1)
        self.agreed += int((~differs).sum())
        self.flags["agrees"].append(~differs)
        if self.classes:
            self.answers.add_answers(batch.indices, batch.labels, reference, quantized)
        if batch.labels is None or before.dim() != 1 or reference.shape[-1] == 1:
            self.labelled = False
        else:
            self._count_hits(batch.labels, before, after)
        for position in differs.nonzero().flatten().tolist():
            if len(self.disagreements) < MAX_DISAGREEMENTS and before.dim() == 1:
                label = None if batch.labels is None else int(batch.labels[position])
                self.disagreements.append(
                    Disagreement(
                        batch.indices[position], label, int(before[position]), int(after[position])
                    )
                )

    def _add_to_metric(
        self, batch: LabelledBatch, references: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> None:
        """Give outputs of shape (N, ...) to the metric; an error stops the metric alone."""
        if self.metric is None or self.metric_problem:
            return
        try:
            self.metric.add_outputs(references, outputs, getattr(batch, "targets", batch.labels))
            if self.changed is not None:
                self.changed.add_outputs(batch.indices, references, outputs)
        except ValueError as error:
            self.metric_problem = str(error)

    def _metric_result(self) -> tuple[MetricScore | None, str]:
        """Return the metric's score, or None and the error of the metric."""
        if self.metric is None or self.metric_problem:
            return None, self.metric_problem
        try:
            return self.metric.metric_result(), ""
        except ValueError as error:
            return None, str(error)

    def _count_hits(self, labels: Tensor, before: Tensor, after: Tensor) -> None:
        right_before, right_after = before == labels, after == labels
        self.float_hits += int(right_before.sum())
        self.quantized_hits += int(right_after.sum())
        self.lost += int((right_before & ~right_after).sum())
        self.won += int((~right_before & right_after).sum())
        self.flags["float_right"].append(right_before)
        self.flags["right"].append(right_after)

    def _packed_answers(self) -> ImageAnswers:
        """Return the answers image by image; without labels, no right answers."""
        names = ("agrees", "float_right", "right") if self.labelled else ("agrees",)
        flags = ImageAnswers(*(pack_bits(torch.cat(self.flags[name]).numpy()) for name in names))
        told = self.answers.packed_answers(labelled=self.labelled) if self.classes else {}
        return replace(flags, **told)

    def score_so_far(self, noun: str) -> str:
        """Return the score so far in words; `noun` is the word for what was scored."""
        n, classes = self.samples, self.classes
        if classes and self.labelled:
            top1, reference = self.quantized_hits / n, self.float_hits / n
            return f"top-1 {100 * top1:.1f} % (float {100 * reference:.1f} %) on {n} {noun}s"
        if classes:
            return f"the float answer for {100 * self.agreed / n:.1f} % of {n} {noun}s"
        sqnr_db = self.output_error.sqnr_db
        if sqnr_db == math.inf:
            return f"no error of the output on {n} {noun}s"
        return f"SQNR of the output {sqnr_db:.1f} dB on {n} {noun}s"

    def evaluation_result(self) -> Evaluation:
        """Return the scores with intervals."""
        n = self.samples
        metric, problem = self._metric_result()
        unlabelled = Evaluation(
            samples=n,
            labelled=False,
            agreement=self.agreed / n,
            agreement_ci95=proportion_interval(self.agreed, n),
            sqnr_db=self.output_error.sqnr_db,
            disagreements=tuple(self.disagreements),
            cosine=self.output_error.mean_cosine,
            metric=metric,
            metric_problem=problem,
            kl=self.divergence / n if self.classes else None,
            sqnr_ci95=self.output_error.sqnr_ci95,
            answers=self._packed_answers(),
            task_answers=() if self.changed is None else self.changed.most_changed(),
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


def evaluate_network(
    network: Network,
    quantized: QuantGraph,
    data: Data,
    metric: Metric | None = None,
    stored: StoredOutputs | None = None,
    look: ScoreLook | None = None,
) -> Steps[Evaluation]:
    """Run both networks over the images of `data`, batch by batch.

    `metric` is of a user or a task; an error of the metric goes to `metric_problem`. With
    `stored`, an interrupted score resumes, with a result equal to the last bit. `look` may stop it.

    Raises:
        QuantError: `data` has no image, or a label is no output of the network.
    """
    tally = _ScoreTally(metric)
    total = len(data)
    if total == 0:
        raise QuantError("A score needs data; got none. Choose other data.")
    forwards = BothForwards(network, quantized, stored)
    batches = enumerate(data.batches(network.forward_batch_size))

    def score() -> Evaluation:
        found = tally.evaluation_result()
        overflow = forwards.overflow_sentence(tally.samples)
        return replace(found, classes=network.is_classifier, overflow=overflow)

    try:
        for place, batch, (reference, simulated), is_new in run_in_order(forwards, batches):
            if stored is not None and is_new:
                stored.keep_outputs(place, reference, simulated)
            tally.add_batch(batch, reference, forwards.numbers_of_batch(batch.inputs, simulated))
            text = f"Scoring: {tally.samples} of {total} {network.noun}s"
            yield Progress(tally.samples / total, text, tally.score_so_far(network.noun))
            if look is not None and look(tally.samples, score):
                break
    finally:
        if stored is not None:
            stored.flush_outputs()
    return score()


@dataclass(frozen=True, slots=True)
class FloatScore:
    """Top-1 of the float network with the 95 % interval, on `samples` images."""

    samples: int
    top1: float
    top1_ci95: Interval


def score_float_network(network: Network, data: Data) -> Steps[FloatScore | None]:
    """Return the top-1 of the float network, or None without labels, classes or images."""
    hits, samples, noun = 0, 0, network.noun
    for batch in data.batches(network.forward_batch_size):
        if batch.labels is None or not network.is_classifier:
            return None
        check_label_range(batch.labels, network.output_count)
        logits = forward_first_output(network.graph, network.graph.batch, batch.inputs)
        hits += int((logits.argmax(1) == batch.labels).sum())
        samples += len(logits)
        known = f"top-1 of the float network {100 * hits / samples:.1f} % on {samples} {noun}s"
        text = f"Float network: {samples} of {len(data)} {noun}s"
        yield Progress(samples / len(data), text, known)
    if samples == 0:
        return None
    return FloatScore(samples, hits / samples, proportion_interval(hits, samples))
