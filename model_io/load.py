"""Load a model by what the user names: a sample, a `.pt2` file, or weights with a builder."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from model_io.builder import build
from model_io.errors import ModelError, UnsafeFileError
from model_io.exported import load_exported
from model_io.onnx import load_onnx
from model_io.weights import load_weights
from sample_models.registry import SAMPLES, sample

UPLOADS = (".pt2",)
"""What may come from another machine: formats that are read without running anything."""
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt")


class Origin(StrEnum):
    """Where a model came from."""

    SAMPLE = "sample"
    EXPORTED = "torch.export file"
    BUILDER = "builder"


@dataclass(frozen=True)
class LoadedModel:
    """A float network in eval mode, and what is known of it.

    Attributes:
        name: what to call it on a page: the sample's name or the file's, without folders.
        module: maps inputs (N, *input_shape) to outputs.
        input_shape: of one input, without the batch axis; empty where nobody told it.
        batch: the one batch size it takes, or None where any will do.
        digest: SHA-256 of what it computes with; equal digests mean equal models.
        origin: where it came from.
        program: what torch.export wrote, where the model came as that; capturing it needs no
            second export.
    """

    name: str
    module: nn.Module
    input_shape: tuple[int, ...]
    batch: int | None
    digest: str
    origin: Origin
    program: ExportedProgram | None = None

    def example(self, batch: int = 2) -> Tensor:
        """Return zeros in the shape of a batch of inputs; `batch` is ignored where it is fixed.

        Raises:
            ModelError: the input shape is not known.
        """
        if not self.input_shape:
            raise ModelError(
                f"An example needs the input's shape, got none for {self.name}; give it as "
                "channels, height, width."
            )
        return torch.zeros(self.batch or batch, *self.input_shape)


def load_model(
    source: str | Path,
    builder: str | None = None,
    input_shape: tuple[int, ...] = (),
) -> LoadedModel:
    """Return the model that `source` names.

    Args:
        source: a sample's name, a `.pt2` file, or a `.safetensors` file.
        builder: "path.py:function" that makes the network for a `.safetensors` file. The function
            is run: name only code of your own, and never pass on what an upload brought.
        input_shape: of one input, (C, H, W); for builders only, the other sources know theirs.

    Raises:
        ModelError: nothing of that name, a format that is not read, or content that does not fit.
        UnsafeFileError: a file that could run code; nothing of it was run.
    """
    if str(source) in SAMPLES:
        return load_sample(str(source))
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise _pickle_refusal(path)
    if suffix not in _LOADERS or not path.is_file():
        raise ModelError(
            f"A model must be a sample ({', '.join(SAMPLES)}), a .pt2 file or a .safetensors file "
            f"with a builder, got {path.name!r}, which is none of them or is not there."
        )
    return _LOADERS[suffix](path, builder, input_shape)


def load_upload(path: Path, name: str) -> LoadedModel:
    """Return the model in an uploaded file, which can run nothing on this machine.

    Args:
        path: where the upload was put.
        name: the name that the user gave the file; decides the format.

    Raises:
        ModelError: a format that cannot be read safely, or content that does not fit.
        UnsafeFileError: a file that could run code; nothing of it was run.
    """
    shown = Path(name.replace("\\", "/"))
    if shown.suffix.lower() in _PICKLES:
        raise _pickle_refusal(shown)
    if shown.suffix.lower() == ".onnx":
        load_onnx(shown)
    if shown.suffix.lower() not in UPLOADS:
        raise ModelError(
            f"An upload must be one of {', '.join(UPLOADS)}, got {shown.name!r}; export the "
            "network with torch.export.save."
        )
    return _load_pt2(path, None, (), shown.name)


def load_sample(name: str) -> LoadedModel:
    """Return one of the networks that come with the project."""
    entry = sample(name)
    module = entry.build()
    return LoadedModel(name, module, entry.input_shape, None, state_digest(module), Origin.SAMPLE)


def state_digest(module: nn.Module) -> str:
    """Return a SHA-256 over the module's class and the names, types and values of its tensors."""
    total = hashlib.sha256(type(module).__qualname__.encode())
    for name, tensor in module.state_dict().items():
        total.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        total.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _load_pt2(
    path: Path, builder: str | None, input_shape: tuple[int, ...], name: str = ""
) -> LoadedModel:
    """Load a torch.export file."""
    del input_shape  # the file knows it
    if builder is not None:
        raise ModelError(
            f"A builder belongs to .safetensors files, got one for {path.name}; leave it out."
        )
    exported = load_exported(path, name or path.name)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return LoadedModel(
        name=Path(name or path.name).stem,
        module=exported.module,
        input_shape=exported.input_shape,
        batch=exported.batch,
        digest=digest,
        origin=Origin.EXPORTED,
        program=exported.program,
    )


def _load_safetensors(path: Path, builder: str | None, input_shape: tuple[int, ...]) -> LoadedModel:
    """Build a network and fill it."""
    if builder is None:
        raise ModelError(
            f"Weights alone are no network, got {path.name} without a builder; name the function "
            "that makes the network as path.py:function, or export it with torch.export.save."
        )
    module = build(builder)
    load_weights(module, path)
    code = Path(builder.rpartition(":")[0]).read_bytes() + builder.rpartition(":")[2].encode()
    digest = hashlib.sha256(code + state_digest(module).encode()).hexdigest()
    return LoadedModel(path.stem, module, input_shape, None, digest, Origin.BUILDER)


def _load_onnx(path: Path, builder: str | None, input_shape: tuple[int, ...]) -> LoadedModel:
    """Refuse an ONNX file."""
    del builder, input_shape
    load_onnx(path)


def _pickle_refusal(path: Path) -> UnsafeFileError:
    """Return the error for files that are pickles."""
    return UnsafeFileError(
        f"A model file must not be a pickle, got {path.name}: opening a pickle can run any code. "
        "Save the weights with safetensors.torch.save_file(model.state_dict(), ...), or the whole "
        "network with torch.export.save(torch.export.export(model, (example,)), 'model.pt2')."
    )


_LOADERS: dict[str, Callable[[Path, str | None, tuple[int, ...]], LoadedModel]] = {
    ".pt2": _load_pt2,
    ".safetensors": _load_safetensors,
    ".onnx": _load_onnx,
}
