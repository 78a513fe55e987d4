"""Results made by hand for the tests of analysis and figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from accelerator.report import CostReport, Energy, LayerCost
from accelerator.workload import OpKind
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.intervals import paired_interval, proportion_interval
from analysis.evaluation.measures import Interval
from analysis.evaluation.user_metric import MetricScore
from analysis.runs.run_store import Run


def layer_cost(layer: str, energy: Energy | float = 10.0, **changes: Any) -> LayerCost:
    """A convolution in 8 bits that gets what it asked for; a number is energy of DRAM in pJ."""
    cost = LayerCost(
        layer=layer,
        kind=OpKind.CONV,
        macs=1000,
        energy=energy if isinstance(energy, Energy) else Energy(dram_pj=energy),
        cycles=100,
        latency_s=1e-6,
        bound="compute",
        dram_weight_bits=800,
        dram_input_bits=0,
        dram_output_bits=0,
        sram_bits=1600,
        requested_weight_bits=8,
        requested_activation_bits=8,
        compute_weight_bits=8,
        compute_activation_bits=8,
        stored_weight_bits=8.0,
        stored_activation_bits=8,
        passes=1,
        utilization=0.5,
        on_host=False,
        warnings=(),
    )
    return replace(cost, **changes)


def report(*layers: LayerCost, **changes: Any) -> CostReport:
    """The report of these layers; its energy and latency are their sums."""
    total = Energy()
    for layer in layers:
        total = total + layer.energy
    made = CostReport(
        machine="toy",
        workload="net",
        layers=layers,
        energy=total,
        latency_s=sum(layer.latency_s for layer in layers),
        cycles=sum(layer.cycles for layer in layers),
        macs=sum(layer.macs for layer in layers),
        bops=64 * sum(layer.macs for layer in layers),
        weight_bytes=2048,
        peak_activation_bytes=1024,
        peak_activation_step="a",
        peak_tensors=("input", "a"),
        peak_macs_per_s=1e10,
        ridge_macs_per_byte=20.0,
        illustrative=False,
        notes=(),
    )
    return replace(made, **changes)


def evaluation(lost: int = 0, won: int = 0, samples: int = 1000, hits: int = 900) -> Evaluation:
    """What follows when so many of the images were lost and won against the float network."""
    kept = hits - lost + won
    return Evaluation(
        samples=samples,
        labelled=True,
        agreement=1 - (lost + won) / samples,
        agreement_ci95=proportion_interval(samples - lost - won, samples),
        sqnr_db=20.0,
        float_top1=hits / samples,
        float_top1_ci95=proportion_interval(hits, samples),
        quantized_top1=kept / samples,
        quantized_top1_ci95=proportion_interval(kept, samples),
        top1_drop=(lost - won) / samples,
        top1_drop_ci95=paired_interval(lost, won, samples),
    )


def unlabelled(agreed: int, samples: int = 1000) -> Evaluation:
    """An evaluation on data without labels."""
    return Evaluation(
        samples=samples,
        labelled=False,
        agreement=agreed / samples,
        agreement_ci95=proportion_interval(agreed, samples),
        sqnr_db=20.0,
    )


def metric_score(
    name: str, before: float, after: float, ends: tuple[float, float], *, share: bool = True
) -> MetricScore:
    """A score of a metric of which more is better; `ends` are those of the change."""
    return MetricScore(
        name=name,
        higher_is_better=True,
        float_value=before,
        quantized_value=after,
        change=round(after - before, 9),
        change_ci95=Interval(*ends),
        share=share,
    )


def run(name: str, cost: CostReport, score: Evaluation | None = None, **changes: Any) -> Run:
    """A run with fixed identity of model and data."""
    made = Run(
        name=name,
        model="net",
        model_digest="m",
        data="images",
        data_digest="d",
        config={"default": {}},
        calibration_images=8,
        evaluation=score or evaluation(),
        cost=cost,
        layer_sqnr_db={layer.layer: 30.0 for layer in cost.layers},
        versions={"torch": "2"},
        seed=0,
        seconds=1.5,
    )
    return replace(made, **changes)


@dataclass(frozen=True)
class ToyBatch:
    """A batch of `ToyData`."""

    inputs: Tensor
    labels: Tensor | None
    indices: tuple[int, ...]


@dataclass(frozen=True)
class ToyData:
    """Images held in memory."""

    inputs: Tensor
    labels: Sequence[int] | None = None
    name: str = "toy"
    digest: str = "digest of toy"

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, size: int) -> Iterator[ToyBatch]:
        """Yield all images, `size` at a time."""
        for start in range(0, len(self), size):
            piece = self.inputs[start : start + size]
            labels = None if self.labels is None else self.labels[start : start + size]
            yield ToyBatch(
                piece,
                None if labels is None else torch.tensor(labels),
                tuple(range(start, start + len(piece))),
            )
