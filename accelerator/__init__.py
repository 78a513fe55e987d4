"""The analytic cost model: energy, latency and memory of a quantized network on a machine."""

from accelerator.estimate import estimate
from accelerator.machine import Machine, load_machine, load_preset, parse_machine, presets
from accelerator.prices import scale_technology
from accelerator.report import CostReport, Energy, LayerCost
from accelerator.workload import Gemm, Op, OpKind, TensorInfo, Workload

__all__ = [
    "CostReport",
    "Energy",
    "Gemm",
    "LayerCost",
    "Machine",
    "Op",
    "OpKind",
    "TensorInfo",
    "Workload",
    "estimate",
    "load_machine",
    "load_preset",
    "parse_machine",
    "presets",
    "scale_technology",
]
