"""The place of the ONNX import."""

from pathlib import Path
from typing import NoReturn

from model_io.errors import ModelError


def load_onnx(path: Path) -> NoReturn:
    """Refuse: there is no ONNX import yet.

    Raises:
        ModelError: always.
    """
    raise ModelError(
        f"A model must be a .pt2 file or safetensors with a builder, got {path.name}: ONNX import "
        "is not built yet (issue 6). Export the network with torch.export.save instead."
    )
