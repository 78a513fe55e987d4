"""Open an ONNX file: limit the bytes, parse, inline the functions, read the versions."""

from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import FunctionProto, ModelProto, NodeProto
from onnx.inliner import inline_local_functions

from model_io.errors import ModelError, UnsafeFileError
from model_io.onnx_import.reading.check_wire import check_wire_format

MAX_BYTES = 2 * 1024**3
"""The most that a file, or all its tensors together, may hold; protobuf's own limit."""
MAX_NODES = 20_000
"""Of the network, functions written out; the largest networks in use have some thousand."""
OPSETS = range(9, 26)
"""Versions of the standard whose operators the tables here were written for."""
STANDARD = ("", "ai.onnx")
FunctionKey = tuple[str, str, str]
"""Domain, name and overload of a function."""
REMEDY = "Export it again, as one file with torch.onnx.export or tf2onnx."


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A parsed file.

    Attributes:
        model: the model without functions.
        opset: version of the standard operators.
        shown: the name of the file in sentences.
        folder: the folder for tensors beside the file; None for an upload, which has no folder.
    """

    model: ModelProto
    opset: int
    shown: str
    folder: Path | None


def open_onnx_file(path: Path, shown: str, *, alone: bool) -> OnnxFile:
    """Parse the file at `path`.

    Args:
        path: the file.
        shown: the name of the file in sentences.
        alone: whether the file came without a folder, like an upload.

    Raises:
        ModelError: no ONNX model, a cut file, or an unsupported version.
        UnsafeFileError: the file would fill the memory.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UnsafeFileError(
            f"{shown} must hold at most {MAX_BYTES} bytes, got {size}. Export a smaller network."
        )
    data = path.read_bytes()
    if not data:
        raise ModelError(f"{shown} must be an ONNX file, got an empty one. {REMEDY}")
    check_wire_format(data, shown)
    model = _parse_model(data, shown)
    return OnnxFile(
        _inline_functions(model, shown),
        _standard_opset(model, shown),
        shown,
        None if alone else path.parent,
    )


def _parse_model(data: bytes, shown: str) -> ModelProto:
    """Return the message, or raise in plain words."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError):
        raise ModelError(
            f"{shown} must be an ONNX file, got something else or a damaged one. {REMEDY}"
        ) from None
    if not model.graph.node:
        raise ModelError(f"{shown} must hold a graph with nodes, got none. {REMEDY}")
    return model


def _standard_opset(model: ModelProto, shown: str) -> int:
    """Return the version of the standard operators."""
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD]
    if len(versions) != 1 or versions[0] not in OPSETS:
        raise ModelError(
            f"{shown} must use the standard operators of version {OPSETS[0]} to {OPSETS[-1]}, got "
            f"{', '.join(map(str, versions)) or 'none'}. Export with an opset in between, or use "
            "onnx.version_converter.convert_version."
        )
    return int(versions[0])


def _inline_functions(model: ModelProto, shown: str) -> ModelProto:
    """Return the model with the nodes of a function at every call of the function."""
    if len(model.graph.node) > MAX_NODES:
        raise _too_many_nodes_error(shown)
    if not model.functions:
        return model
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    sizes: dict[FunctionKey, int] = {}
    if (
        sum(_expanded_node_count(node, functions, sizes, (), shown) for node in model.graph.node)
        > MAX_NODES
    ):
        raise _too_many_nodes_error(shown)
    try:
        return inline_local_functions(model)
    except Exception as error:  # noqa: BLE001 (the library raises anything)
        raise ModelError(
            f"{shown} must hold functions that can be written out, got an error "
            f"({type(error).__name__}). Export with torch.onnx.export(..., dynamo=False)."
        ) from None


def _expanded_node_count(
    node: NodeProto,
    functions: dict[FunctionKey, FunctionProto],
    sizes: dict[FunctionKey, int],
    callers: tuple[FunctionKey, ...],
    shown: str,
) -> int:
    """Return the number of nodes behind a node; a function that calls itself raises an error.

    A call counts as a node, so that functions without nodes cannot multiply.
    """
    key = (node.domain, node.op_type, node.overload)
    if key not in functions:
        inner = [a.g for a in node.attribute if a.HasField("g")]
        return 1 + sum(
            _expanded_node_count(n, functions, sizes, callers, shown) for g in inner for n in g.node
        )
    if key in callers or len(callers) > 50:
        raise ModelError(
            f"A function in {shown} must not call itself, got {node.op_type[:60]!r} that does. "
            f"{REMEDY}"
        )
    if key not in sizes:
        inside = functions[key].node
        sizes[key] = 1 + sum(
            _expanded_node_count(n, functions, sizes, (*callers, key), shown) for n in inside
        )
    return sizes[key]


def _too_many_nodes_error(shown: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{shown} must hold at most {MAX_NODES} nodes, got more. Export the network alone."
    )
