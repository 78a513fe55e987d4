"""A network from a Python function of the user's own: `path.py:function`.

This runs the named file. It is meant for files on the user's own machine, named by hand (the
command line, a path typed into a page that runs locally); an upload must never come here.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from model_io.builder.user_modules import load_file
from model_io.errors import ModelError


def build_network(builder: str) -> nn.Module:
    """Return the network that the function makes, in eval mode.

    Args:
        builder: a file and a function in it that takes no arguments, as "nets/mine.py:my_net".

    Raises:
        ModelError: no such file or function, an error in either, or no network returned.
    """
    make = load_builder_function(builder, "A builder")
    file, _, function = builder.rpartition(":")
    path = Path(file)
    try:
        model = make()
    except Exception as error:
        raise ModelError(
            f"{path.name}:{function} must return a network when called without arguments, got "
            f"{type(error).__name__}: {error}."
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{path.name}:{function} must return a torch.nn.Module, got {type(model).__name__}; "
            "return the network itself."
        )
    return model.eval()


def load_builder_function(text: str, what: str) -> Callable[..., Any]:
    """Return the function that "path.py:function" names; the file is run.

    Args:
        text: a file and a function in it.
        what: what sentences call it, such as "A builder".

    Raises:
        ModelError: no such file or function, or an error while the file runs.
    """
    file, separator, function = text.rpartition(":")
    path = Path(file)
    if not separator or path.suffix != ".py" or not function.isidentifier():
        raise ModelError(
            f"{what} must be written path.py:function, got {text!r}; name the file and the "
            "function in it."
        )
    found = getattr(_import_private_module(path, what), function, None)
    if not callable(found):
        raise ModelError(
            f"{path.name} must define the function {function}, got none of that name; check the "
            "spelling."
        )
    named: Callable[..., Any] = found
    return named


def _import_private_module(path: Path, what: str) -> ModuleType:
    """Return the file as a module that shadows no other and is shadowed by no other."""
    if not path.is_file():
        raise ModelError(f"{what}'s file must exist, got {path.name}; check its path.")
    try:
        return load_file(path)
    except Exception as error:
        raise ModelError(
            f"{path.name} must run without errors, got {type(error).__name__}: {error}."
        ) from error
