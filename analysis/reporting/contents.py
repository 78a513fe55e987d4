"""The parts of a report as plain values; None means not measured."""

from dataclasses import dataclass

from accelerator.machine import Machine
from accelerator.report import CostReport
from analysis.evaluation.told_score import ToldScore
from analysis.ranges.findings import ExaminedTensor
from analysis.reporting.flow_page import FlowPage
from analysis.reporting.trade_off import TradeOff
from analysis.runs.run_store import Run
from analysis.sensitivity.sweep import Sensitivity


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts of the network; shapes are shapes of one image.

    `as_float` and `at_8_bits` are costs on the run's machine, for comparison.
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    layers: int
    weighted: int
    parameters: int
    macs: int
    as_float: CostReport
    at_8_bits: CostReport


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """The configuration of one layer; bits are None without a weight.

    `weight` and `output` are the other settings in words. `grid_of` names the layer that owns the
    output's shared encoding, or "".
    """

    layer: str
    kind: str
    weight_bits: int | None
    weight: str
    output_bits: int
    output: str
    encoding_owner: str = ""


@dataclass(frozen=True, slots=True)
class Repairs:
    """The effect of each repair of a recipe: scores of one measure, plain quantization first."""

    titles: tuple[str, ...]
    scores: tuple[ToldScore, ...]
    verdicts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportOrigin:
    """The command-line options for the model and the images; None needs no option.

    `preprocess` is JSON, `machine` the name of a preset or of a file.
    """

    model: str
    machine: str
    builder: str | None = None
    input_shape: tuple[int, ...] = ()
    inputs: str = ""
    data: str | None = None
    preprocess: str = ""
    samples: int | None = None
    calibration: int = 256
    seed: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Report:
    """The contents of a report about one run.

    `noise` holds the noise energy at the output of each layer alone, at the bits of the layer, as a
    share of the output's energy (sensitivity). `others` are runs of the model on equal images and
    an equal machine. `author` and `note` are a person's words for the first page; `flow` is
    the diagnosis of the run's model on the run's images.
    """

    run: Run
    machine: Machine | None
    model: ModelFacts | None
    choices: tuple[LayerChoice, ...]
    sensitivity: Sensitivity | None
    noise: dict[str, float]
    suspects: tuple[ExaminedTensor, ...] | None
    repairs: Repairs | None
    front: TradeOff | None
    others: tuple[Run, ...]
    origin: ReportOrigin | None
    notes: tuple[str, ...]
    missing: tuple[str, ...]
    created: str
    author: str = ""
    note: str = ""
    flow: FlowPage | None = None
