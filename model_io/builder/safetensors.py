"""Weights from a safetensors file into a network: the file holds tensors and no code."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from model_io.errors import ModelError

_SHOWN = 3


def load_safetensors_weights(model: nn.Module, path: Path) -> None:
    """Copy the tensors in the file at `path` into `model`.

    Raises:
        ModelError: no safetensors file, or names, shapes or types that do not fit the network.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError):
        raise ModelError(
            f"{path.name} must be a safetensors file, got other or damaged data; write it with "
            "safetensors.torch.save_file(model.state_dict(), ...)."
        ) from None
    wanted = model.state_dict()
    problems = [
        _name_difference("lacks", [k for k in wanted if k not in tensors]),
        _name_difference("has unknown", [k for k in tensors if k not in wanted]),
        _name_difference("has other shapes in", _mismatched_shapes(wanted, tensors)),
    ]
    if told := [problem for problem in problems if problem]:
        raise ModelError(
            f"{path.name} must hold exactly the tensors of the network ({len(wanted)}), got a file "
            f"that {'; '.join(told)}. Choose the builder that these weights were trained with."
        )
    model.load_state_dict(tensors)


def _mismatched_shapes(wanted: dict[str, Tensor], tensors: dict[str, Tensor]) -> list[str]:
    """Return the names of tensors with a wrong shape; the text of a name includes both shapes."""
    return [
        f"{key} ({_shape_text(tensors[key])}, the network has {_shape_text(tensor)})"
        for key, tensor in wanted.items()
        if key in tensors and tensors[key].shape != tensor.shape
    ]


def _shape_text(tensor: Tensor) -> str:
    """Return a shape as text, such as 64 x 3 x 3 x 3."""
    return " x ".join(map(str, tensor.shape)) or "one number"


def _name_difference(verb: str, names: list[str]) -> str:
    """Return "lacks 5 tensors, such as a, b, c", or an empty text without names."""
    if not names:
        return ""
    rest = ", ..." if len(names) > _SHOWN else ""
    return f"{verb} {len(names)}: {', '.join(names[:_SHOWN])}{rest}"
