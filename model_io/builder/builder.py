"""A network from a user's Python function: `path.py:function`.

The module runs the named file. Allowed are files on the user's own machine, named by hand: on the
command line, or as a path in the page of a local server. An upload must never reach the module.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from torch import nn

from model_io.builder.user_modules import load_file
from model_io.errors import ModelError


def build_network(builder: str) -> nn.Module:
    """Return the network that the function builds, in eval mode.

    Args:
        builder: a file and a function without arguments, such as "nets/mine.py:my_net".

    Raises:
        ModelError: file or function is missing, the code fails, or the result is no network.
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


def load_builder_function(text: str, what: str) -> Callable[..., object]:
    """Run a user's file and return the function that "path.py:function" names.

    Args:
        text: file and function.
        what: the name for sentences, such as "A builder".

    Raises:
        ModelError: file or function is missing, or the file fails.
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
    named: Callable[..., object] = found
    return named


def _import_private_module(path: Path, what: str) -> ModuleType:
    """Return the file as a private module, which neither shadows a module nor is shadowed."""
    if not path.is_file():
        raise ModelError(f"{what}'s file must exist, got {path.name}; check its path.")
    try:
        return load_file(path)
    except Exception as error:
        raise ModelError(
            f"{path.name} must run without errors, got {type(error).__name__}: {error}."
        ) from error
