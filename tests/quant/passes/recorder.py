"""What every node receives and gives, by torch's own interpreter."""

from typing import Any

import torch
from torch import Tensor, fx


class Recorder(fx.Interpreter):
    """Runs a graph and keeps a copy of what every node receives first and gives."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.received: dict[str, Any] = {}
        self.given: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        arguments = self.fetch_args_kwargs_from_env(n)[0]
        if arguments and isinstance(arguments[0], Tensor):
            self.received[n.name] = arguments[0].clone()
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.given[n.name] = value.clone()
        return value


@torch.no_grad()
def recorded(module: fx.GraphModule, inputs: Tensor) -> Recorder:
    """Return what every node received and gave for a batch."""
    recorder = Recorder(module)
    recorder.run(inputs)
    return recorder
