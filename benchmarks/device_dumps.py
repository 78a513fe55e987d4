"""How well a planted difference is located and explained: devices in float64, one fault each.

    python -m benchmarks.device_dumps

A simulated device runs the quantized network in float64 with quantizers of its own, so that sums
are exact as on integers, and has one fault in one layer. Its dump goes through the command's road.
The bar: all 40 faults located, the reason right for at least 80 %.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from analysis.deployment.device_dump.compare_dump import DumpComparison, compare_dump
from analysis.deployment.device_dump.match_tensors import match_tensors
from data_io.bundled import BUNDLED_DATA
from data_io.dump_files import DumpedTensor
from quant.config import QuantConfig, uniform_config
from quant.encoding import Encoding
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import is_input_name
from quant.inputs import tensors_of_batch
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.simulation.quantizer import Quantizer
from quant.spec import ScaleKind
from sample_models.registry import SAMPLES
from tests.networks import CASES

IMAGES = 4
BAR = 0.8
FAULTS = 40
LEAST_CHANGED = 1e-4
"""The share of a tensor that a fault must change to be one."""
KINDS = (
    "rounding",
    "other scale",
    "missing clip",
    "fused operation",
    "saturating accumulator",
    "per-tensor weights",
    "int32 bias",
    "other zero point",
    "channel order",
    "bias",
)
Codes = Callable[[Tensor], Tensor]
ROUND: dict[str, Codes] = {
    "even": torch.round,
    "up": lambda steps: torch.floor(steps + 0.5),
    "away": lambda steps: torch.sign(steps) * torch.floor(steps.abs() + 0.5),
    "down": torch.floor,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What a device does otherwise in one layer; `variant` chooses among the ways to err."""

    kind: str
    layer: str
    variant: int = 0


class Device(fx.Interpreter):
    """The quantized network in float64, with a fault; `dump` are the recorded tensors."""

    def __init__(self, quantized: QuantGraph, fault: Fault) -> None:
        super().__init__(quantized.module)
        self.quantized, self.fault = quantized, fault
        self.layer = quantized.graph[fault.layer]
        self.dump: dict[str, NDArray[Any]] = {}
        self._node: fx.Node | None = None

    def run_node(self, n: fx.Node) -> Any:
        """Remember the node that runs."""
        self._node = n
        return super().run_node(n)

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Return a stored tensor in float64."""
        found = super().get_attr(target, args, kwargs)
        return found.double() if isinstance(found, Tensor) and found.is_floating_point() else found

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Compute an operation; the faulty layer's otherwise."""
        if self._node is not None and self._node.name == self.layer.node:
            return self._faulty(target, args, kwargs)
        return super().call_function(target, args, kwargs)

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Put a tensor on codes, and record the result."""
        del kwargs
        quantizer = self.quantized.module.get_submodule(str(target))
        assert isinstance(quantizer, Quantizer)
        if quantizer.site.side is Side.WEIGHTS:
            return self._weight(quantizer, args[0])
        low, high = quantizer.clip or (None, None)
        values = args[0] if low is high is None else args[0].clamp(low, high)
        faulty = quantizer.site.layer == self.fault.layer
        kind, variant = (self.fault.kind, self.fault.variant) if faulty else ("", 0)
        if quantizer.encoding is not None and kind != "fused operation":
            values = _on_codes(values, quantizer.encoding, kind, variant)
        if kind == "channel order":
            values = values.flip(1) if variant % 2 else values.roll(1, 1)
        self.dump[quantizer.site.name] = values.float().numpy()
        return values

    def _weight(self, quantizer: Quantizer, weight: Tensor) -> Tensor:
        encoding = quantizer.encoding
        if encoding is None:
            return weight
        if quantizer.site.layer == self.fault.layer and self.fault.kind == "per-tensor weights":
            scale = weight.abs().max() / encoding.qmax
            return (weight / scale).round().clamp(encoding.qmin, encoding.qmax) * scale
        return encoding.dequantize(encoding.quantize(weight.float())).double()

    def _accumulator_step(self) -> Tensor:
        """Return the scale of the input times that of the weight, (C,)."""
        name = self.layer.inputs[0]
        source = next(
            quantizer
            for quantizer in self.quantized.quantizers.values()
            if quantizer.site.node == name and quantizer.site.side is Side.ACTIVATIONS
        )
        weight = self.quantized.quantizers[f"{self.layer.name} weight"].encoding
        assert source.encoding is not None
        assert weight is not None
        return source.encoding.scale.double() * weight.scale.double().flatten()

    def _faulty(self, target: Any, args: Any, kwargs: Any) -> Any:
        bias = args[2] if len(args) > 2 else None
        if self.fault.kind == "int32 bias" and bias is not None:
            step = self._accumulator_step()
            args = (*args[:2], torch.round(bias / step) * step, *args[3:])
        if self.fault.kind == "bias" and bias is not None:
            args = (*args[:2], torch.zeros_like(bias), *args[3:])
        result = super().call_function(target, args, kwargs)
        if self.fault.kind == "saturating accumulator":
            step = self._accumulator_step().reshape(-1, *(1,) * (result.dim() - 2))
            step = step if result.dim() > 2 else step.flatten()
            return (result / step).clamp(-(2.0**15), 2.0**15 - 1) * step
        return result


def _on_codes(values: Tensor, encoding: Encoding, kind: str, variant: int) -> Tensor:
    """Return values (N, ...), float64, on an encoding, with a fault of the quantizer."""
    scale, zero_point = encoding.scale.double(), encoding.zero_point.double()
    if kind == "other scale":
        scale = scale * (1.25, 0.9, 1.02, 2.0)[variant]
    rounding = ROUND[("up", "down", "away", "down")[variant] if kind == "rounding" else "even"]
    if kind == "other zero point" and variant % 2:
        zero_point = zero_point + 3
    codes = rounding(values / scale) + zero_point
    kept = codes.clamp(encoding.qmin, encoding.qmax)
    if kind == "missing clip":
        levels = encoding.qmax - encoding.qmin + 1
        wrapped = torch.remainder(codes - encoding.qmin, levels) + encoding.qmin
        kept = codes if variant % 2 else wrapped
    if kind == "other zero point" and variant % 2 == 0:
        kept = (kept + 1 + variant).clamp(encoding.qmin, encoding.qmax)
    return (kept - zero_point) * scale


def record(quantized: QuantGraph, inputs: Tensor, fault: Fault) -> dict[str, NDArray[Any]]:
    """Return the tensors that a device with a fault records, by layer, float32 (N, ...)."""
    device = Device(quantized, fault)
    with torch.inference_mode():
        device.run(*(part.double() for part in tensors_of_batch(inputs)))
    return device.dump


def compare_record(
    quantized: QuantGraph, inputs: Tensor, dump: dict[str, NDArray[Any]]
) -> DumpComparison:
    """Compare a dump with the simulation as the command does."""
    tensors = [DumpedTensor(name, values) for name, values in dump.items()]
    match = match_tensors(tensors, quantized.graph.layers, {}, len(inputs))
    return drain_steps(compare_dump(quantized, match, inputs))


def quantized_network(graph: FloatGraph, inputs: Tensor, config: QuantConfig) -> QuantGraph:
    """Return a network with calibrated encodings."""
    folded = FoldBatchNorm()(graph)
    statistics = drain_steps(Calibrate(len(inputs))(folded, iter([inputs])))
    return quantize_graph(folded, config, statistics)


def plant(
    quantized: QuantGraph, inputs: Tensor, kind: str, variant: int
) -> tuple[Fault, dict[str, NDArray[Any]]] | None:
    """Return a fault that changes what its layer records, and the dump; None where none does.

    The search begins at another layer for each variant.
    """
    layers = [layer for layer in quantized.graph.layers if not is_input_name(layer.name)]
    whole = record(quantized, inputs, Fault("", layers[-1].name))
    in_operation = kind in {"saturating accumulator", "per-tensor weights", "int32 bias", "bias"}
    start = len(layers) * (variant + 1) // 5
    for layer in (*layers[start:], *layers[:start]):
        if in_operation and layer.weight is None:
            continue
        if kind in {"int32 bias", "bias"} and layer.bias is None:
            continue
        fault = Fault(kind, layer.name, variant)
        try:
            dump = record(quantized, inputs, fault)
        except (StopIteration, AssertionError):
            continue
        if (dump[layer.name] != whole[layer.name]).mean() > LEAST_CHANGED:
            return fault, dump
    return None


def power_of_two(config: QuantConfig) -> QuantConfig:
    """Return a configuration with scales that are powers of two: many values lie between codes."""
    default = config.default
    return replace(
        config,
        default=replace(
            default,
            weight=replace(default.weight, scale=ScaleKind.POWER_OF_TWO),
            activation=replace(default.activation, scale=ScaleKind.POWER_OF_TWO),
        ),
    )


def networks() -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Yield four trained networks and one of random weights, with images."""
    for name in (
        "fashion-mobilenet",
        "fashion-resnet",
        "fashion-mobilenet-imbalanced",
        "letter-mlp",
    ):
        sample = SAMPLES[name]
        data = BUNDLED_DATA[sample.dataset].train().first(64)
        (batch,) = data.batches(64)
        yield name, sample.build_network(), tensors_of_batch(batch.inputs)[0]
    case = CASES["kitchen"]
    yield "kitchen", case.model(), case.inputs(64)


def main() -> None:
    """Plant ten kinds of faults in five networks, 40 in all, and print what was found of each."""
    rows: list[tuple[str, str, bool, bool]] = []
    begun = time.monotonic()
    for place, (name, module, images) in enumerate(networks()):
        graph = capture_graph(module, tuple(images.shape[1:]))
        for kind in KINDS:
            config = uniform_config(8, 8)
            config = power_of_two(config) if kind == "rounding" else config
            quantized = quantized_network(graph, images, config)
            planted = plant(quantized, images[:IMAGES], kind, place % 4)
            if len(rows) == FAULTS:
                break
            if planted is None:
                print(f"{name}: {kind} cannot be planted")
                continue
            fault, dump = planted
            found = compare_record(quantized, images[:IMAGES], dump)
            first = found.first
            there = first is not None and first.layer == fault.layer
            reason = first.reason if first is not None else None
            known = there and reason is not None and reason.reason == kind
            rows.append((name, kind, there, known))
            told = f"{'located' if there else 'LOST'}, {'right' if known else 'WRONG'}"
            print(f"{time.monotonic() - begun:.0f} s {name}, {fault}: {told}. {found.sentence}")
    located, right = sum(row[2] for row in rows), sum(row[3] for row in rows)
    print(Counter(row[1] for row in rows if not row[3]))
    met = located == len(rows) and right >= BAR * len(rows)
    print(f"{len(rows)} faults, {located} located, {right} explained: {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
