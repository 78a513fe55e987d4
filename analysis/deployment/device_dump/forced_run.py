"""The simulated network with recorded tensors in place: each layer sees what the device saw."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from quant.inputs import Inputs, tensors_of_batch
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph
from quant.simulation.quantizer import Quantizer

Choose = Callable[[str, Tensor], Tensor | None]
"""Takes a site and the simulated tensor (N, ...); returns the recorded one, or None."""
Override = Mapping[fx.Node, Callable[..., Any]]
"""What some nodes compute instead, from the same arguments."""


class ForcedRun:
    """A run in which recorded tensors replace the simulated ones before the next layer reads them.

    So the error of a layer does not reach the layers behind, and each layer can be judged alone.

    Attributes:
        raw: by site the values (N, ...) before the quantizer and the clip in the quantizer.
        predicted: by site the simulated values (N, ...), from the recorded values before.
        device: by site the recorded values (N, ...).
    """

    def __init__(self, quantized: QuantGraph, inputs: Inputs, choose: Choose) -> None:
        self.quantized = quantized
        self.raw: dict[str, Tensor] = {}
        self.predicted: dict[str, Tensor] = {}
        self.device: dict[str, Tensor] = {}
        self.node_of: dict[str, fx.Node] = {}
        self._interpreter = fx.Interpreter(quantized.module, garbage_collect_values=False)
        self._values: dict[fx.Node, Any] = {}
        self._choose = choose
        self._run(inputs)

    @torch.inference_mode()
    def _run(self, inputs: Inputs) -> None:
        nodes = self.quantized.module.graph.nodes
        placeholders = [node for node in nodes if node.op == "placeholder"]
        self._values = dict(zip(placeholders, tensors_of_batch(inputs), strict=True))
        self._interpreter.env = self._values
        for node in nodes:
            if node.op in {"placeholder", "output"}:
                continue
            site = self._site_of(node)
            if site is not None:
                self.raw[site] = self._values[node.all_input_nodes[0]].clone()
            value = self._interpreter.run_node(node)
            if site is not None:
                self.node_of[site] = node
                self.predicted[site] = value
                found = self._choose(site, value)
                if found is not None:
                    self.device[site] = found
                    value = found.clone()  # an operation may write into its argument
            self._values[node] = value

    def _site_of(self, node: fx.Node) -> str | None:
        """Return the activation's site of a quantizer's node; None for other nodes."""
        if node.op != "call_module":
            return None
        module = self.quantized.module.get_submodule(str(node.target))
        if isinstance(module, Quantizer) and module.site.side is Side.ACTIVATIONS:
            return module.site.name
        return None

    def segment(self, site: str) -> list[fx.Node]:
        """Return the nodes between recorded tensors and the quantizer of a site, in order."""
        wanted: set[fx.Node] = set()
        waiting = list(self.node_of[site].all_input_nodes)
        while waiting:
            node = waiting.pop()
            if node in wanted or node.op == "placeholder" or self._is_recorded(node):
                continue
            wanted.add(node)
            waiting += node.all_input_nodes
        return [node for node in self.quantized.module.graph.nodes if node in wanted]

    def _is_recorded(self, node: fx.Node) -> bool:
        site = self._site_of(node)
        return site is not None and site in self.device

    def unrecorded_before(self, site: str) -> list[str]:
        """Return the sites in the segment of a site, in order: none of their tensors is known."""
        found = [self._site_of(node) for node in self.segment(site)]
        return [one for one in found if one is not None]

    @torch.inference_mode()
    def run_again(self, site: str, override: Override) -> Tensor:
        """Return what stands before a site's quantizer where some nodes compute something else.

        `override` may name placeholders and nodes of the segment; the tensor has shape (N, ...).
        """
        env = {
            node: value.clone() if isinstance(value, Tensor) else value
            for node, value in self._values.items()
            if node.op == "placeholder" or self._is_recorded(node)
        }
        for node, value in env.items():
            if node.op == "placeholder" and node in override:
                env[node] = override[node](value)
        self._interpreter.env = env
        for node in self.segment(site):
            if node in override:
                arguments = fx.node.map_arg(node.args, env.__getitem__)
                keywords = fx.node.map_arg(node.kwargs, env.__getitem__)
                env[node] = override[node](*arguments, **keywords)
            else:
                env[node] = self._interpreter.run_node(node)
        found: Tensor = env[self.node_of[site].all_input_nodes[0]]
        return found
