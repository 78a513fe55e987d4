"""Load a model by name: a sample, a file, or weights with a builder."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from model_io.builder.builder import build_network
from model_io.builder.safetensors import load_safetensors_weights
from model_io.digest import file_digest, module_state_digest
from model_io.errors import ModelError, UnsafeFileError
from model_io.input_specs import InputSpec, name_inputs
from model_io.loaded_model import LoadedModel, ModelOrigin
from model_io.pt2.load_pt2 import load_exported_program
from sample_models.registry import SAMPLES, sample_named

Wish = tuple[int, ...] | tuple[InputSpec, ...]
"""What a user says of the inputs: the shape of the only one, or a description of each."""
UPLOADS = (".pt2", ".onnx")
"""What may come from another machine: formats that are read without running anything."""
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt")


def load_model(
    source: str | Path,
    builder: str | None = None,
    input_shape: Wish = (),
) -> LoadedModel:
    """Return the model that `source` names.

    Args:
        source: the name of a sample, or a `.pt2`, `.onnx` or `.safetensors` file.
        builder: "path.py:function" that builds the network of a `.safetensors` file. The function
            runs: name only your own code, and never the content of an upload.
        input_shape: shape of one input, (C, H, W), or a description of the inputs; for builders,
            and for ONNX files with open sizes. Other sources know the inputs.

    Raises:
        ModelError: the name is unknown, the format is unsupported, or the content does not fit.
        UnsafeFileError: the file could run code; QuantScope ran no part of the file.
    """
    if str(source) in SAMPLES:
        return load_sample_model(str(source))
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise _pickle_refusal_error(path)
    if suffix not in _LOADERS or not path.is_file():
        raise ModelError(
            f"A model must be a sample ({', '.join(SAMPLES)}), a .pt2 or .onnx file or a "
            f".safetensors file with a builder, got {path.name!r}, which is none of them or is not "
            "there."
        )
    return _LOADERS[suffix](path, builder, input_shape)


def load_uploaded_model(path: Path, name: str, input_shape: Wish = ()) -> LoadedModel:
    """Return the model in an uploaded file; no part of the upload runs on the machine.

    Args:
        path: path of the stored upload.
        name: the user's name of the file; the ending decides the format.
        input_shape: shape of one input, for ONNX files with open sizes.

    Raises:
        ModelError: QuantScope cannot read the format safely, or the content does not fit.
        UnsafeFileError: the file could run code; QuantScope ran no part of the file.
    """
    shown = Path(name.replace("\\", "/"))
    if shown.suffix.lower() in _PICKLES:
        raise _pickle_refusal_error(shown)
    if shown.suffix.lower() not in UPLOADS:
        raise ModelError(
            f"An upload must be one of {', '.join(UPLOADS)}, got {shown.name!r}; export the "
            "network with torch.export.save or torch.onnx.export."
        )
    if shown.suffix.lower() == ".onnx":
        return _import_onnx_file(path, input_shape, shown.name, alone=True)
    return _load_pt2_model(path, None, (), shown.name)


def load_sample_model(name: str) -> LoadedModel:
    """Return a sample network of the project."""
    entry = sample_named(name)
    module = entry.build_network()
    return LoadedModel(
        name, module, entry.input_shape, None, module_state_digest(module), ModelOrigin.SAMPLE
    )


def _load_pt2_model(
    path: Path, builder: str | None, input_shape: Wish, name: str = ""
) -> LoadedModel:
    """Load a torch.export file."""
    del input_shape  # the file knows it
    if builder is not None:
        raise ModelError(
            f"A builder belongs to .safetensors files, got one for {path.name}; leave it out."
        )
    exported = load_exported_program(path, name or path.name)
    return LoadedModel(
        name=Path(name or path.name).stem,
        module=exported.module,
        input_shape=exported.input_shape,
        batch=exported.batch,
        digest=file_digest(path),
        origin=ModelOrigin.EXPORTED,
        program=exported.program,
        inputs=exported.inputs,
    )


def _load_safetensors_model(path: Path, builder: str | None, input_shape: Wish) -> LoadedModel:
    """Build a network and load the weights."""
    if builder is None:
        raise ModelError(
            f"Weights alone are no network, got {path.name} without a builder; name the function "
            "that makes the network as path.py:function, or export it with torch.export.save."
        )
    module = build_network(builder)
    load_safetensors_weights(module, path)
    code = Path(builder.rpartition(":")[0]).read_bytes() + builder.rpartition(":")[2].encode()
    digest = hashlib.sha256(code + module_state_digest(module).encode()).hexdigest()
    inputs = tuple(one for one in input_shape if isinstance(one, InputSpec))
    shape = inputs[0].shape if inputs else tuple(n for n in input_shape if isinstance(n, int))
    own = name_inputs(module, inputs)
    return LoadedModel(path.stem, module, shape, None, digest, ModelOrigin.BUILDER, inputs=own)


def _load_onnx_model(path: Path, builder: str | None, input_shape: Wish) -> LoadedModel:
    """Import an ONNX file; tensors can lie in files beside the ONNX file."""
    if builder is not None:
        raise ModelError(
            f"A builder belongs to .safetensors files, got one for {path.name}; leave it out."
        )
    return _import_onnx_file(path, input_shape, path.name, alone=False)


def _import_onnx_file(path: Path, input_shape: Wish, shown: str, *, alone: bool) -> LoadedModel:
    """Import an ONNX file, an upload `alone`."""
    from model_io.onnx_import.load_onnx import load_onnx_network  # noqa: PLC0415  100 MB that other files do not need

    imported = load_onnx_network(path, input_shape, shown, alone=alone)
    # tensors beside the file and open sizes belong to the computation
    held = module_state_digest(imported.module)
    shapes = [one.shape for one in imported.inputs]
    said = shapes[0] if len(shapes) == 1 else shapes
    digest = hashlib.sha256(f"{file_digest(path)}{held}{said}".encode())
    return LoadedModel(
        name=Path(shown).stem,
        module=imported.module,
        input_shape=imported.input_shape,
        batch=imported.batch,
        digest=digest.hexdigest(),
        origin=ModelOrigin.ONNX,
        report=imported.report,
        encodings=imported.encodings,
        places=imported.places,
        inputs=imported.inputs,
    )


def _pickle_refusal_error(path: Path) -> UnsafeFileError:
    """Return the error for pickle files."""
    return UnsafeFileError(
        f"A model file must not be a pickle, got {path.name}: opening a pickle can run any code. "
        "Save the weights with safetensors.torch.save_file(model.state_dict(), ...), or the whole "
        "network with torch.export.save(torch.export.export(model, (example,)), 'model.pt2')."
    )


_LOADERS: dict[str, Callable[[Path, str | None, Wish], LoadedModel]] = {
    ".pt2": _load_pt2_model,
    ".safetensors": _load_safetensors_model,
    ".onnx": _load_onnx_model,
}
