"""A metric from a user's Python function: `path.py:function`.

The module runs the named file, like `builder`. Allowed are files on the user's own machine, named
by hand. An upload or a visitor of a shared server must never reach the module.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_io.builder.builder import load_builder_function
from model_io.errors import ModelError


@dataclass(frozen=True)
class FileMetric:
    """A function (outputs, targets) in a file: a number for each image, or one for the whole data.

    Attributes:
        name: the name of the function.
        higher_is_better: the attribute of the function with the same name; True by default.
        function: the callable.
        file: the path of the file.
    """

    name: str
    higher_is_better: bool
    function: Callable[..., object]
    file: Path

    def __call__(self, outputs: object, targets: object) -> object:
        """Return the result of the function for outputs of shape (N, ...) and targets, as numbers.

        Raises:
            ModelError: the function fails; the sentence names the function and the line.
        """
        try:
            found = self.function(outputs, targets)
            return found.detach().cpu().numpy() if hasattr(found, "detach") else found
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [f.lineno for f in frames if Path(f.filename).name == self.file.name]
            line = f" in line {own[-1]}" if own else ""
            text = (str(error).splitlines() or [""])[0][:200]
            raise ModelError(
                f"{self.file.name}:{self.name} must give a number for each image from its outputs "
                f"and targets, got {type(error).__name__}{line}: {text}. Correct the function."
            ) from error


def load_file_metric(text: str) -> FileMetric:
    """Return the metric that "path.py:function" names.

    Raises:
        ModelError: file or function is missing, or the file fails.
    """
    function = load_builder_function(text, "A metric")
    file, _, name = text.rpartition(":")
    better = getattr(function, "higher_is_better", True)
    return FileMetric(name, bool(better), function, Path(file))
