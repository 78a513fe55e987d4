"""The analytic cost model: energy, latency and memory of a quantized network on a machine."""

from accelerator.estimate import estimate_workload
from accelerator.machine import Machine, load_machine, load_preset, parse_machine, preset_names
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
    "estimate_workload",
    "load_machine",
    "load_preset",
    "parse_machine",
    "preset_names",
    "scale_technology",
]
