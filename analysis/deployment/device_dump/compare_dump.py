"""A device's recorded tensors beside the simulation: the first different layer, and the reason."""

from dataclasses import dataclass

from torch import Tensor

from analysis.deployment.device_dump.forced_run import ForcedRun
from analysis.deployment.device_dump.layer_case import NEAR_TIE, LayerCase, step_of
from analysis.deployment.device_dump.match_tensors import DumpMatch, real_readings
from analysis.deployment.device_dump.prediction import TriedReason
from analysis.deployment.device_dump.reasons import EXPLAINED, try_reasons
from quant.errors import QuantError
from quant.inputs import Inputs
from quant.progress import Progress, Steps
from quant.simulation.quant_graph import QuantGraph

FEWEST_TIES = 3
"""Differing values near the middle between two codes that a reason must explain (our choice)."""


@dataclass(frozen=True, slots=True)
class LayerDivergence:
    """A layer whose recorded tensor is not what the simulation makes of the recorded inputs.

    Attributes:
        layer: the name of the layer.
        tensor: the name of the tensor in the dump.
        elements: numbers in the tensor.
        differing: the share of them that are more than half a step apart.
        largest_steps: the largest difference, in steps of the encoding.
        ties_only: whether all differing values lie near the middle between two codes.
        unrecorded: layers between the recorded ones before and this one; the cause may lie there.
        tried: the reasons, the best first.
    """

    layer: str
    tensor: str
    elements: int
    differing: float
    largest_steps: float
    ties_only: bool
    unrecorded: tuple[str, ...]
    tried: tuple[TriedReason, ...]

    @property
    def reason(self) -> TriedReason | None:
        """The probable reason; None where no reason explains nearly all."""
        best = self.tried[0] if self.tried else None
        return best if best is not None and best.explained >= EXPLAINED else None


@dataclass(frozen=True, slots=True)
class DumpComparison:
    """A dump beside the simulation.

    `divergences` come in the order of execution; each layer is judged on the inputs that the device
    had. `agreeing` are the recorded layers that do not differ, `missing` the layers without a
    tensor, `unmatched` the tensors without a layer. `near_ties` counts values that differ by one
    step because float32 and integers fall on different sides.
    """

    images: int
    divergences: tuple[LayerDivergence, ...]
    agreeing: tuple[str, ...]
    missing: tuple[str, ...]
    unmatched: tuple[str, ...]
    near_ties: int

    @property
    def first(self) -> LayerDivergence | None:
        """The first layer that differs."""
        return self.divergences[0] if self.divergences else None

    @property
    def sentence(self) -> str:
        """The finding, in one or two sentences."""
        recorded = len(self.agreeing) + len(self.divergences)
        if self.first is None:
            return f"All {recorded} recorded layers agree with the simulation."
        first = self.first
        text = (
            f"The first layer that differs is {first.layer} ({first.differing:.2%} of its values, "
            f"by at most {first.largest_steps:.4g} steps)"
        )
        if first.unrecorded:
            text += f", or one before it that is not recorded ({', '.join(first.unrecorded[-4:])})"
        if first.reason is None:
            return f"{text}. None of {len(first.tried)} reasons explains it."
        share = f"{first.reason.explained:.1%}"
        return f"{text}. Probably {first.reason.reason}: {first.reason.detail} (explains {share})."


def compare_dump(quantized: QuantGraph, match: DumpMatch, inputs: Inputs) -> Steps[DumpComparison]:
    """Compare recorded tensors with the simulation of `inputs` (N, ...), layer by layer.

    Raises:
        QuantError: a tensor has another number of images than the inputs.
    """
    yield Progress(0.0, "Running the simulation on what the device recorded")
    run = ForcedRun(quantized, inputs, lambda site, value: _nearest(quantized, match, site, value))
    layers = {layer.name: layer for layer in quantized.graph.layers}
    divergences, agreeing, near = [], [], 0
    for place, (site, device) in enumerate(run.device.items()):
        yield Progress(place / len(run.device), f"Comparing {site}")
        case = LayerCase(
            run,
            layers[site],
            quantized.quantizers[site],
            run.raw[site],
            device,
            step_of(quantized.quantizers[site].encoding, run.predicted[site]),
        )
        found, ties = _compare_layer(case, run.predicted[site], match.tensors[site].name)
        near += ties
        if found is None:
            agreeing.append(site)
        else:
            divergences.append(found)
    return DumpComparison(
        images=len(next(iter(run.device.values()))),
        divergences=tuple(divergences),
        agreeing=tuple(agreeing),
        missing=tuple(name for name in layers if name not in run.device),
        unmatched=match.unmatched,
        near_ties=near,
    )


def _nearest(quantized: QuantGraph, match: DumpMatch, site: str, value: Tensor) -> Tensor | None:
    """Return the reading of a recorded tensor nearest to the simulated one, of shape (N, ...)."""
    tensor = match.tensors.get(site)
    if tensor is None:
        return None
    readings = real_readings(tensor, quantized.quantizers[site].encoding)
    fitting = [one for one in readings if one.shape == value.shape]
    if not fitting:
        got = [tuple(one.shape) for one in readings] or "codes of a tensor that stays float"
        raise QuantError(
            f"The tensor {tensor.name[:80]} must have the shape {tuple(value.shape)} of {site}; "
            f"got {got}. Record as many images as are compared."
        )
    return min(fitting, key=lambda one: float((one - value).abs().nan_to_num(1e30).sum()))


def _compare_layer(
    case: LayerCase, predicted: Tensor, name: str
) -> tuple[LayerDivergence | None, int]:
    """Return the divergence of a layer with values (of shape (N, ...)), or None, and near ties."""
    differs = case.differs(predicted)
    if not bool(differs.any()):
        return None, 0
    steps = ((case.device - predicted) / case.step).abs()
    ties = 0
    ties_only = False
    if case.encoding is not None:
        distance = case.distance_to_tie()
        near = differs & (steps < 1.5) & (distance < NEAR_TIE)
        ties, ties_only = int(near.sum()), case.on_codes and bool((near == differs).all())
        if ties_only and ties < FEWEST_TIES:
            return None, ties
    tried = try_reasons(case)
    if ties_only and (not tried or tried[0].explained < EXPLAINED):
        return None, ties
    return (
        LayerDivergence(
            layer=case.layer.name,
            tensor=name,
            elements=predicted.numel(),
            differing=float(differs.double().mean()),
            largest_steps=float(steps.nan_to_num(1e30).max()),
            ties_only=ties_only,
            unrecorded=tuple(case.run.unrecorded_before(case.layer.name)),
            tried=tuple(tried),
        ),
        ties,
    )
