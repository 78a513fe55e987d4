"""Load a `.pt2` file of torch.export without trust in the content."""

import io
import json
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.pt2_archive import PT2ArchiveWriter

from model_io.errors import ModelError, UnsafeFileError
from model_io.input_specs import InputSpec
from model_io.pt2.archive import (
    CONSTANTS_CONFIG,
    MAX_JSON_BYTES,
    PROGRAM,
    REMEDY,
    SAMPLE_INPUTS,
    WEIGHTS_CONFIG,
    Archive,
    open_pt2_archive,
)
from model_io.pt2.check_memory import check_memory
from model_io.pt2.check_program import check_program_json, check_program_values, parse_json_object
from model_io.pt2.check_tensors import check_tensor_bounds
from plain_files.read_json import JsonObject
from quant.torch_state import exclusive_torch


@dataclass(frozen=True)
class Exported:
    """A loaded program and the inputs.

    Attributes:
        program: the program of torch.export.
        module: computes the network: `program.module()`.
        input_shape: shape of one item of the first input, without the batch axis.
        batch: the batch size of the export, or None for a free batch.
        inputs: the inputs.
    """

    program: ExportedProgram
    module: nn.Module
    input_shape: tuple[int, ...]
    batch: int | None
    inputs: tuple[InputSpec, ...]


def load_exported_program(path: Path, shown: str) -> Exported:
    """Return the program in the `.pt2` at `path`; no part of the file ever runs.

    torch.export.load reads a new archive, written here from the raw bytes of the tensors and from
    JSON with checked strings. The new archive holds no pickle, no guard and no library.

    Args:
        path: the file.
        shown: the name of the file in sentences.

    Raises:
        ModelError: the file is no program of torch.export, or inputs are no batches of tensors.
        UnsafeFileError: content that could run code or exhaust memory.
    """
    buffer, inputs, batch = _check_archive(path, shown)
    try:
        with exclusive_torch():
            loaded = torch.export.load(buffer)
            module = loaded.module()
            check_memory(module, inputs, batch)
    except UnsafeFileError:
        raise
    except Exception as error:  # noqa: BLE001 (torch raises anything on an inconsistent graph)
        raise ModelError(
            f"{shown} must hold a consistent program, got one that torch cannot load "
            f"({type(error).__name__}: {_first_error_line(error)}). {REMEDY}"
        ) from None
    return Exported(loaded, module, inputs[0].shape, batch, inputs)


def _check_archive(path: Path, shown: str) -> tuple[io.BytesIO, tuple[InputSpec, ...], int | None]:
    """Return (new archive, inputs, batch size or None for a free batch)."""
    archive = open_pt2_archive(path, shown)
    with archive.file:
        program = check_program_json(archive.read_member(PROGRAM, MAX_JSON_BYTES))
        inputs, batch = _program_inputs(program, shown)
        return _rewrite_archive(archive, program), inputs, batch


def _rewrite_archive(archive: Archive, program: JsonObject) -> io.BytesIO:
    """Return a new archive made of checked parts alone."""
    buffer = io.BytesIO()
    with PT2ArchiveWriter(buffer) as writer:
        for config_name, prefix in ((WEIGHTS_CONFIG, "weight"), (CONSTANTS_CONFIG, "tensor")):
            config = _check_tensor_config(archive, config_name, prefix)
            folder = config_name.rpartition("/")[0]
            for name in sorted({entry["path_name"] for entry in config.values()}):
                writer.write_bytes(f"{folder}/{name}", archive.read_member(f"{folder}/{name}"))
            writer.write_string(config_name, json.dumps({"config": config}))
        writer.write_string(PROGRAM, json.dumps(program))
        writer.write_bytes(SAMPLE_INPUTS, b"")
    buffer.seek(0)
    return buffer


def _check_tensor_config(archive: Archive, name: str, prefix: str) -> dict[str, JsonObject]:
    """Return the table of tensors: raw, on the CPU, and inside the stored bytes."""
    table = parse_json_object(archive.read_member(name, MAX_JSON_BYTES))
    config = table.get("config")
    if not isinstance(config, dict) or not all(isinstance(e, dict) for e in config.values()):
        raise ModelError(f"{name} must list tensors, got something else. {REMEDY}")
    for entry in config.values():
        if entry.get("use_pickle") is not False:
            raise UnsafeFileError(
                f"Tensors must be stored as raw bytes, got a pickled one ({entry.get('path_name')}"
                "), and unpickling can run code. Convert tensor subclasses to plain tensors before "
                "torch.export.export."
            )
    check_program_values({"config": config})
    folder = name.rpartition("/")[0]
    for path, entry in config.items():
        member = archive.members.get(f"{folder}/{entry.get('path_name')}")
        if member is None or not str(entry["path_name"]).startswith(prefix):
            raise ModelError(f"{path} must have its bytes in the file, got none. {REMEDY}")
        check_tensor_bounds(path, entry.get("tensor_meta"), member.file_size)
    return config


_KINDS = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 12: "bool"}
"""Numbers by which a program spells the types of whole numbers; all others are real here."""


def _program_inputs(program: JsonObject, shown: str) -> tuple[tuple[InputSpec, ...], int | None]:
    """Return (inputs, batch size or None for a free batch)."""
    graph_module = program["graph_module"]
    try:
        specs = [
            spec["user_input"]["arg"]
            for spec in graph_module["signature"]["input_specs"]
            if "user_input" in spec
        ]
        names = [arg["as_tensor"]["name"] for arg in specs if "as_tensor" in arg]
        metas = [graph_module["graph"]["tensor_values"][name] for name in names]
        sizes = [[size.get("as_int") for size in meta["sizes"]] for meta in metas]
        kinds = [_KINDS.get(meta["dtype"], "float32") for meta in metas]
    except (KeyError, TypeError, AttributeError, IndexError):
        specs, names, sizes, kinds = [], [], [], []
    if not specs or len(names) != len(specs):
        raise ModelError(
            f"A network must take tensors, got {len(specs)} inputs in {shown}, "
            f"{len(names)} of them tensors; wrap it in a module whose forward takes tensors alone, "
            "and export that."
        )
    batches = {_batch_size(given, shown) for given in sizes}
    if len(batches) > 1:
        raise ModelError(
            "All inputs must have the batch as their first axis, of one size, got the sizes "
            f"{', '.join('any' if size is None else str(size) for size in batches)} in {shown}; "
            "export the network so that all inputs are batched."
        )
    found = zip(names, sizes, kinds, strict=True)
    return tuple(
        InputSpec(name, tuple(given[1:]), kind) for name, given, kind in found
    ), batches.pop()


def _batch_size(sizes: list[int | None], shown: str) -> int | None:
    """Return the first size of an input, None for a free batch; other sizes must be fixed."""
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes[1:]):
        raise ModelError(
            f"Only the batch axis, the first, may be of any size, got sizes {sizes} (None: any) in "
            f"{shown}; export with fixed sizes for the other axes."
        )
    return sizes[0]


def _first_error_line(error: Exception) -> str:
    """Return the first line of an error without paths of the machine."""
    line = next(chain(str(error).splitlines(), [""]))
    return re.sub(r"/\S+/", "", line)[:160]
