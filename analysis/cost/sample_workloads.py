"""Workloads of the sample networks at 8 bits, stored, so that they need no network.

`python -m benchmarks.sample_workloads` writes the file again after a sample has changed.
"""

import json
from collections.abc import Collection
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any, cast

from accelerator.validation.networks import TINY, network_table
from accelerator.workload import Op, OpKind, TensorInfo, Workload

FILE = Path(__file__).with_suffix(".json")
Stored = dict[str, dict[str, object]]


@cache
def sample_workloads() -> dict[str, Workload]:
    """Return the workload of an image for each sample network, by its name."""
    stored = cast("Stored", json.loads(FILE.read_text(encoding="utf-8")))
    return {name: _workload_of(name, table) for name, table in stored.items()}


def candidate_workloads(measured: Collection[str]) -> dict[str, Workload]:
    """Return published and sample networks that were not measured, at 8 bits."""
    tables = {name: network_table(name) for name in TINY} | sample_workloads()
    return {name: table for name, table in tables.items() if name not in measured}


def store_workload(workload: Workload) -> dict[str, object]:
    """Return a workload as plain values without an op's defaults."""
    defaults = {field.name: field.default for field in fields(Op)}
    ops = [
        {
            name: getattr(op, name)
            for name, default in defaults.items()
            if default is MISSING or getattr(op, name) != default
        }
        for op in workload.ops
    ]
    tensors = [[one.name, one.elements, one.bits] for one in workload.tensors]
    ends = {"inputs": workload.inputs, "outputs": workload.outputs}
    return {"ops": ops, "tensors": tensors, **ends}


def _workload_of(name: str, stored: dict[str, object]) -> Workload:
    table = cast("dict[str, Any]", stored)
    ops = tuple(
        Op(**row | {"kind": OpKind(row["kind"]), "inputs": tuple(row["inputs"])})
        for row in table["ops"]
    )
    tensors = tuple(TensorInfo(*row) for row in table["tensors"])
    return Workload(name, ops, tensors, tuple(table["inputs"]), tuple(table["outputs"]))
