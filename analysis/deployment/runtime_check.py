"""The simulation compared with a real runtime: agreement, differing layers, latency."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from torch import Tensor

from analysis.evaluation.evaluate import Data
from analysis.evaluation.forwards import LabelledBatch, check_label_range
from analysis.evaluation.intervals import proportion_interval
from analysis.evaluation.layer_sqnr import record_layer_outputs
from analysis.evaluation.measures import Interval, sqnr_db
from analysis.evaluation.output_error import OutputTally
from analysis.network import Network, Runnable, forward_all_outputs
from quant.errors import QuantError
from quant.inputs import Inputs, arrange_batch, sample_count, split_batch
from quant.progress import Progress, Steps
from quant.simulation.quant_graph import QuantGraph

LAYER_IMAGES = 16
MAX_PARTINGS = 48
WARM_UP = 5
NETWORKS = ("float", "simulated", "executed", "plain")


class RunnableFile(Protocol):
    """An exported network in a runtime (`model_io.runtime.executed_model`)."""

    @property
    def floats(self) -> Runnable:
        """The float file."""

    @property
    def integers(self) -> Runnable:
        """The quantized file, with integer kernels where the runtime has kernels."""

    @property
    def plain(self) -> Runnable:
        """The quantized file, node by node in float32."""

    @property
    def integer_layers(self) -> frozenset[str]:
        """The layers that run in integers."""

    @property
    def threads(self) -> int:
        """The threads of a run."""

    def layer_values(self, inputs: Inputs) -> Mapping[str, Tensor]:
        """Return the quantized output of each layer, of shape (N, ...), computed node by node."""


@dataclass(frozen=True, slots=True)
class RuntimeAgreement:
    """The distance of a runtime's outputs from the simulation; top-1 agreement for classifiers."""

    sqnr_db: float
    top1: float | None = None
    top1_ci95: Interval | None = None


@dataclass(frozen=True, slots=True)
class Top1Score:
    """The share of correct classes with its 95 % interval."""

    top1: float
    top1_ci95: Interval


@dataclass(frozen=True, slots=True)
class Parting:
    """An image with different answers of the simulation and the integer kernels."""

    index: int
    label: int | None
    simulated_class: int
    executed_class: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Median seconds of alternating runs of the float and the quantized file on the machine."""

    float_s: float
    executed_s: float
    runs: int
    batch: int
    threads: int

    @property
    def quantized_speedup(self) -> float:
        """Float time divided by quantized time."""
        return self.float_s / self.executed_s


@dataclass(frozen=True, slots=True)
class ExecutionCheck:
    """The simulation compared with the exported file in a runtime, on equal images.

    Attributes:
        samples: the number of images.
        executed: agreement of the file, with integer kernels, with the simulation.
        plain: agreement of the file, node by node in float32, with the simulation.
        scores: top-1 of the networks "float", "simulated", "executed" and "plain"; empty without
            labels.
        layer_sqnr_db: the SQNR of the executed output against the simulation, by layer, node by
            node, including errors of the layers before.
        worst_layer: the layer with the lowest SQNR; None if the layers are equal.
        partings: the first images with different answers of simulation and integer kernels.
        integer_layers: the layers that run in integers.
        latency: latency of one batch.
    """

    samples: int
    executed: RuntimeAgreement
    plain: RuntimeAgreement
    scores: dict[str, Top1Score]
    layer_sqnr_db: dict[str, float]
    worst_layer: str | None
    partings: tuple[Parting, ...]
    integer_layers: tuple[str, ...]
    latency: Latency


@dataclass(eq=False)
class _CheckTally:
    """Counts over batches."""

    classifies: bool
    samples: int = 0
    labelled: bool = True
    hits: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NETWORKS, 0))
    agreed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NETWORKS, 0))
    outputs: dict[str, OutputTally] = field(
        default_factory=lambda: {name: OutputTally() for name in ("executed", "plain")}
    )
    partings: list[Parting] = field(default_factory=list)

    def add_batch(
        self, batch: LabelledBatch, outputs_by_network: Mapping[str, tuple[Tensor, ...]]
    ) -> None:
        self.samples += sample_count(batch.inputs)
        for name, tally in self.outputs.items():
            tally.add_outputs(outputs_by_network["simulated"], outputs_by_network[name])
        self.labelled = self.labelled and batch.labels is not None and self.classifies
        if not self.classifies:
            return
        classes = {name: outputs[0].argmax(-1) for name, outputs in outputs_by_network.items()}
        expected = classes["simulated"]
        for name, predicted in classes.items():
            self.agreed[name] += int((predicted == expected).sum())
            if self.labelled and batch.labels is not None:
                self.hits[name] += int((predicted == batch.labels).sum())
        for place in (classes["executed"] != expected).nonzero().flatten().tolist():
            if len(self.partings) < MAX_PARTINGS:
                label = None if batch.labels is None else int(batch.labels[place])
                self.partings.append(
                    Parting(
                        batch.indices[place],
                        label,
                        int(expected[place]),
                        int(classes["executed"][place]),
                    )
                )

    def runtime_agreement(self, name: str) -> RuntimeAgreement:
        """Return the agreement of a network with the simulation."""
        found = self.outputs[name].sqnr_db
        if not self.classifies:
            return RuntimeAgreement(found)
        agreed = self.agreed[name]
        return RuntimeAgreement(
            found, agreed / self.samples, proportion_interval(agreed, self.samples)
        )

    def top1_scores(self) -> dict[str, Top1Score]:
        """Return the top-1 by network, or nothing without labels."""
        if not self.labelled:
            return {}
        return {
            name: Top1Score(hits / self.samples, proportion_interval(hits, self.samples))
            for name, hits in self.hits.items()
        }


def check_file_execution(
    network: Network, quantized: QuantGraph, executed: RunnableFile, data: Data, runs: int = 50
) -> Steps[ExecutionCheck]:
    """Run the simulation and the exported file over the images of `data`, then time the file.

    `runs` is the number of timed runs of each file, in turns, with one image (or the network's
    fixed batch).

    Raises:
        QuantError: `data` has no image, or a label is no output of the network.
    """
    total = len(data)
    if total == 0:
        raise QuantError("A check needs data; got none. Choose other data.")
    graphs: dict[str, Runnable] = {
        "float": network.graph,
        "simulated": quantized,
        "executed": executed.integers,
        "plain": executed.plain,
    }
    tally = _CheckTally(network.is_classifier)
    for batch in data.batches(network.forward_batch_size):
        check_label_range(batch.labels, network.output_count)
        fixed = network.graph.batch
        tally.add_batch(
            batch, {n: forward_all_outputs(g, fixed, batch.inputs) for n, g in graphs.items()}
        )
        done = 0.8 * tally.samples / total
        yield Progress(done, f"Executing: {tally.samples} of {total} {network.noun}s")
    first = next(iter(data.batches(network.forward_batch_size))).inputs
    yield Progress(0.8, "Comparing layer by layer")
    layers = layer_agreement_db(network, quantized, executed, first)
    latency = yield from _measure_latency(network, executed, first, runs)
    return ExecutionCheck(
        tally.samples,
        tally.runtime_agreement("executed"),
        tally.runtime_agreement("plain"),
        tally.top1_scores(),
        layers,
        _least_agreeing_layer(layers),
        tuple(tally.partings),
        tuple(sorted(executed.integer_layers)),
        latency,
    )


def layer_agreement_db(
    network: Network, quantized: QuantGraph, executed: RunnableFile, inputs: Inputs
) -> dict[str, float]:
    """Return the SQNR in dB of each layer's output in the file, against the simulation.

    Only a few of `inputs`, of shape (N, ...), run, because memory holds the activations at once.
    """
    few = split_batch(inputs, network.graph.batch or LAYER_IMAGES)[0]
    if network.graph.batch is not None:
        few = arrange_batch(few, network.graph.batch)
    simulated, run_values = (
        record_layer_outputs(network, quantized, few),
        executed.layer_values(few),
    )
    return {
        name: sqnr_db(simulated[name], run_values[name].reshape(simulated[name].shape))
        for name in simulated
    }


def _least_agreeing_layer(layers: Mapping[str, float]) -> str | None:
    worst = min(layers, key=lambda name: layers[name])
    return None if layers[worst] == float("inf") else worst


def _measure_latency(
    network: Network, executed: RunnableFile, inputs: Inputs, runs: int
) -> Steps[Latency]:
    """Time both files in turns, so that other load on the machine affects both equally."""
    batch = network.graph.batch or 1
    one = arrange_batch(split_batch(inputs, batch)[0], batch)
    seconds: dict[str, list[float]] = {"float": [], "executed": []}
    for run in range(runs + WARM_UP):
        for name, graph in (("float", executed.floats), ("executed", executed.integers)):
            start = time.perf_counter()
            graph.run(one)
            seconds[name].append(time.perf_counter() - start)
        yield Progress(0.85 + 0.15 * run / (runs + WARM_UP), f"Timing: run {run + 1}")
    medians = {name: median(times[WARM_UP:]) for name, times in seconds.items()}
    return Latency(medians["float"], medians["executed"], runs, batch, executed.threads)
