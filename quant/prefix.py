"""Run a graph only as far as a node, batch by batch: what a layer receives and gives."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx


class _Reached(Exception):  # noqa: N818  no error, a way out of the interpreter
    """The node to stop at has been reached."""


class _Until(fx.Interpreter):
    """Runs a graph up to a node and remembers that node's arguments or value."""

    def __init__(self, module: fx.GraphModule, stop: str, *, inclusive: bool) -> None:
        super().__init__(module)
        self.stop = stop
        self.inclusive = inclusive
        self.found: Any = None

    def run_node(self, n: fx.Node) -> Any:
        if n.name != self.stop:
            return super().run_node(n)
        if self.inclusive:
            self.found = super().run_node(n)
        else:
            self.found = self.fetch_args_kwargs_from_env(n)[0][0]
        raise _Reached


@torch.inference_mode()
def _run(module: fx.GraphModule, stop: str, inputs: Tensor, *, inclusive: bool) -> Tensor:
    interpreter = _Until(module, stop, inclusive=inclusive)
    try:
        interpreter.run(inputs)
    except _Reached:
        found: Tensor = interpreter.found
        return found
    raise KeyError(f"The graph has no node {stop!r}.")


def input_of(module: fx.GraphModule, node: str, inputs: Tensor) -> Tensor:
    """Return the first argument that `node` gets for a batch of network inputs."""
    return _run(module, node, inputs, inclusive=False)


def output_of(module: fx.GraphModule, node: str, inputs: Tensor) -> Tensor:
    """Return the value of `node` for a batch of network inputs."""
    return _run(module, node, inputs, inclusive=True)


def outputs_of(module: fx.GraphModule, node: str, batches: list[Tensor]) -> Iterator[Tensor]:
    """Yield the value of `node` for each batch; one batch's activations are held at a time."""
    for batch in batches:
        yield output_of(module, node, batch)
