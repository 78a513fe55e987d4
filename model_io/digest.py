"""Digests of files and of tensors: equal digests mean equal models."""

import hashlib
from pathlib import Path

import torch
from torch import nn


def module_state_digest(module: nn.Module) -> str:
    """Return a SHA-256 of a module: class, and name, type and values of the tensors."""
    total = hashlib.sha256(type(module).__qualname__.encode())
    for name, tensor in module.state_dict().items():
        total.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        total.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
