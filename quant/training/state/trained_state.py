"""The result of a training: weights, encodings and record, in a file that survives a restart."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from plain_files.read_json import parse_json
from quant.encoding import Encoding
from quant.graph.float_graph import ChannelNormal, FloatGraph
from quant.simulation.plan import Site
from quant.simulation.quant_graph import QuantGraph
from quant.training.settings import TrainingError, TrainingSettings, settings_from_dict

FORMAT = 1


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One look at a training: after `step` steps, `seconds` after the start.

    `loss` is the mean over the steps since the last look (None before the first), `watch_loss` and
    `watch_score` (share of right or agreeing answers; None without classes) belong to the watched
    images, `rate` is the relative rate. `measures` are special to a method, such as alpha.
    """

    step: int
    seconds: float
    loss: float | None
    watch_loss: float | None
    watch_score: float | None
    rate: float
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """The course of a training: settings, curve, and images.

    `images` counts trained images, repeated images repeatedly. `best_step` is the step of the kept
    state. `changed` is the share of weights with another whole number than before.
    """

    settings: TrainingSettings
    steps: int
    seconds: float
    images: int
    best_step: int
    curve: tuple[CurvePoint, ...] = ()
    changed: float | None = None
    stopped_early: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class TrainedState:
    """The weights and encodings of a training.

    `tensors` are weights and biases by name in the graph, `encodings` are by site. `normals` hold
    the known outputs of layers with trained batch norms, by node.
    """

    tensors: Mapping[str, Tensor]
    encodings: Mapping[str, Encoding]
    record: TrainingRecord
    normals: Mapping[str, ChannelNormal] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A SHA-256 over weights and encodings: equal digests mean equal networks."""
        total = hashlib.sha256()
        for name, tensor in sorted(self._tensors_by_name().items()):
            total.update(name.encode())
            total.update(tensor.detach().contiguous().numpy().tobytes())
        return total.hexdigest()

    def _tensors_by_name(self) -> dict[str, Tensor]:
        found = {f"tensor/{name}": tensor for name, tensor in self.tensors.items()}
        for site, one in self.encodings.items():
            found[f"scale/{site}"], found[f"zero_point/{site}"] = one.scale, one.zero_point
            found[f"limits/{site}"] = torch.tensor([one.qmin, one.qmax])
            if one.channel_bits is not None:
                found[f"bits/{site}"] = one.channel_bits
        for node, normal in self.normals.items():
            found[f"mean/{node}"], found[f"std/{node}"] = normal.mean, normal.std
        return found

    def trained_graph(self, graph: FloatGraph) -> FloatGraph:
        """Return a copy of the trained float graph with the learned weights.

        Raises:
            TrainingError: the graph is another graph.
        """
        result = graph.copy_graph()
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                try:
                    held = result.stored_tensor(name)
                except AttributeError:
                    held = None
                if held is None or held.shape != tensor.shape:
                    raise TrainingError(
                        "A trained state belongs to the network that was trained; this one has no "
                        f"tensor {name} of the shape {tuple(tensor.shape)}. Open that network, "
                        "with the same repairs."
                    )
                held.copy_(tensor)
        result.normals.update(self.normals)
        return result

    def simulate_trained(self, graph: FloatGraph, sites: tuple[Site, ...]) -> QuantGraph:
        """Return the trained network with the product's quantizers at the sites.

        Raises:
            TrainingError: the graph is another graph.
        """
        result = QuantGraph(self.trained_graph(graph), sites)
        for name, encoding in self.encodings.items():
            result.quantizers[name].set_encoding(encoding)
        return result

    def save(self, path: Path) -> None:
        """Write the state; a reader finds the old file or the whole new file."""
        write_tensors(
            path,
            self._tensors_by_name(),
            {"kind": "trained", "record": record_to_plain(self.record)},
        )


def load_trained_state(path: Path) -> TrainedState:
    """Read a state written by `TrainedState.save`.

    Raises:
        TrainingError: the file is missing, or is not a trained state.
    """
    tensors, plain = read_tensors(path)
    if plain.get("kind") != "trained":
        raise TrainingError(f"{path.name} must be a trained state of this product; it is not.")
    found: dict[str, Encoding] = {}
    for name in tensors:
        kind, _, site = name.partition("/")
        if kind == "scale":
            qmin, qmax = tensors[f"limits/{site}"].tolist()
            zero_point, bits = tensors[f"zero_point/{site}"], tensors.get(f"bits/{site}")
            found[site] = Encoding(tensors[name], zero_point, qmin, qmax, bits)
    held = {n.removeprefix("tensor/"): t for n, t in tensors.items() if n.startswith("tensor/")}
    normals = {
        node: ChannelNormal(tensors[f"mean/{node}"], tensors[name])
        for name in tensors
        if name.startswith("std/") and (node := name.removeprefix("std/"))
    }
    return TrainedState(held, found, record_from_plain(plain["record"]), normals)


def trained_state_from_bytes(content: bytes) -> TrainedState:
    """Read a state from the content of a file written by `TrainedState.save`.

    Raises:
        TrainingError: the content is no trained state.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training"
        path.write_bytes(content)
        return load_trained_state(path)


def record_to_plain(record: TrainingRecord) -> dict[str, object]:
    """Return a record as JSON values."""
    return asdict(record)


def record_from_plain(raw: dict[str, Any]) -> TrainingRecord:
    """Return the record given by `record_to_plain`."""
    curve = tuple(CurvePoint(**point) for point in raw["curve"])
    return TrainingRecord(
        **{**raw, "settings": settings_from_dict(raw["settings"]), "curve": curve}
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], plain: Mapping[str, object]) -> None:
    """Write tensors of any shape and JSON values to a file, whole or not at all.

    The file survives a kill at any time: written under another name, forced to the disk, and
    renamed.
    """
    metadata = {"format": str(FORMAT), "content": json.dumps(plain)}
    # each tensor as memory of its own in one order; their layouts are restored by their owners
    dense = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = tensors_to_bytes(dense, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors, in the stored shapes, and the JSON values of `write_tensors`.

    Raises:
        TrainingError: the file is missing or cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            content = parse_json(metadata["content"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(
            f"{path.name} must be a state of a training; it cannot be read ({error}). Train again."
        ) from None
    if metadata.get("format") != str(FORMAT):
        raise TrainingError(
            f"{path.name} was written by another version of this product. Train again."
        )
    return tensors, content
