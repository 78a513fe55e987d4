"""The error of one layer with the float network's input, times the layer's gradients."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.sensitivity.screening.kernels import ErrorProducts, Levels, levels_of_encodings
from analysis.sensitivity.sweep import Question
from analysis.site_encodings import SiteEncodings
from quant.engine.gradients import Backward, Local
from quant.simulation.plan import Side

FLOAT_BYTES = 4
Key = tuple[int, Side]


@dataclass(frozen=True, eq=False, slots=True)
class _Plan:
    """The plan for a layer's questions; `keys` in the order of the answers.

    At the widths `weighed` shifts of the weight meet the weight's gradient; at the widths `again`
    the layer runs again, and the outcome is compared unquantized (WEIGHTS), quantized (BOTH), or
    both. `floats` are the counterparts of the float output.
    """

    keys: tuple[Key, ...]
    weighed: tuple[int, ...]
    again: Mapping[int, set[Side]]
    both: Mapping[int, Levels]
    floats: Levels | None


class LocalProducts:
    """The errors behind questions, layer by layer, times the gradients at the layer.

    A shift of weights alone meets the gradient at the weights if the product is cheap; otherwise
    the layer runs again with the shift. Quantized weights are computed once and stored within
    `memory_bytes`; beyond the limit they are computed for each batch. `runs` counts the runs of a
    layer's multiplications for an image.
    """

    def __init__(
        self,
        backward: Backward,
        encodings: SiteEncodings,
        questions: Iterable[Question],
        memory_bytes: int,
    ) -> None:
        self._backward, self._encodings = backward, encodings
        self._free_input_letters = memory_bytes
        self._packed: dict[tuple[str, int], Tensor] = {}
        self._shifts: dict[str, Tensor] = {}
        self._bits: dict[str, dict[int, set[Side]]] = {}
        self._plans: dict[str, _Plan] = {}
        self.runs: dict[str, int] = {}
        for question in questions:
            sides = self._bits.setdefault(question.layer, {}).setdefault(question.bits, set())
            sides.add(question.side)

    def question_keys(self, layer: str) -> tuple[Key, ...]:
        """Return bits and side of each question about a visited layer."""
        return self._plans[layer].keys

    def products_of_layer(self, local: Local) -> Tensor | None:
        """Return (S, P, N) for the questions about a layer, in the order of `keys`.

        An entry is the product of one of P gradients with the layer's error on one of N images.
        None for a layer without questions, or with an output that no axis divides by images.
        """
        name = local.layer.name
        if name not in self._bits or images_first(local.output, local) is None:
            return None
        if name not in self._plans:
            self._plans[name] = self._plan_for_layer(local)
        plan = self._plans[name]
        self.runs[name] = len(plan.again) + len(local.gradients) * bool(plan.weighed)
        parts = list(self._product_parts(local, plan))
        return torch.cat(parts) if parts else None

    def _product_parts(self, local: Local, plan: _Plan) -> Iterator[Tensor]:
        if plan.weighed and local.weigh is not None:
            weighed = torch.stack(local.weigh(self._weight_shifts(local, plan.weighed)), 1)
            yield weighed.unflatten(2, (local.images, -1)).sum(3)
        if not plan.again and plan.floats is None:
            return
        output = _arranged(local.output, local)
        products = ErrorProducts(output, [_arranged(one, local) for one in local.gradients])
        for bits, sides in plan.again.items():
            if local.run is None:
                raise RuntimeError(f"{local.layer.name} has no weight to run again with.")
            moved = _arranged(local.run(self._pack_quantized_weight(local, bits)), local)
            if Side.WEIGHTS in sides:
                yield products.products_of_move(moved)
            if Side.BOTH in sides:
                yield products.products_of_encodings(moved, plan.both[bits])
        if plan.floats is not None:
            yield products.products_of_encodings(output, plan.floats)

    def _plan_for_layer(self, local: Local) -> _Plan:
        asked = self._bits[local.layer.name]
        weighed: list[int] = []
        again: dict[int, set[Side]] = {}
        still: list[Key] = []
        for bits, sides in asked.items():
            moving = sides & {Side.WEIGHTS, Side.BOTH} if local.run is not None else set()
            # for a layer that runs again anyway, the weights alone cost nothing more
            if moving == {Side.WEIGHTS} and local.weigh is not None:
                weighed.append(bits)
            elif moving:
                again[bits] = moving
            left = sides - moving - {Side.WEIGHTS}
            still += [(bits, side) for side in (Side.ACTIVATIONS, Side.BOTH) if side in left]
        order = (Side.WEIGHTS, Side.BOTH)
        moved = [(bits, side) for bits, sides in again.items() for side in order if side in sides]
        return _Plan(
            keys=(*((bits, Side.WEIGHTS) for bits in weighed), *moved, *still),
            weighed=tuple(weighed),
            again=again,
            both={
                bits: self._input_levels(local, [bits]) for bits, side in moved if side is Side.BOTH
            },
            floats=self._input_levels(local, [bits for bits, _ in still]) if still else None,
        )

    def _input_levels(self, local: Local, widths: Sequence[int]) -> Levels:
        sites = self._encodings.site_names(local.layer.name, Side.ACTIVATIONS)
        return levels_of_encodings(
            [self._encodings.encodings_at_bits(sites, bits)[sites[0]] for bits in widths]
        )

    def _pack_quantized_weight(self, local: Local, bits: int) -> Tensor:
        """Return a layer's quantized weight in the packed shape of the layer's kernel."""
        key = (local.layer.name, bits)
        if key in self._packed:
            return self._packed[key]
        _, (weight,) = self._weight_at_widths(local, (bits,))
        found = self._backward.prepare_weight(local.layer, weight)
        if self._fits_in_memory(found):
            self._packed[key] = found
        return found

    def _weight_shifts(self, local: Local, bits: Sequence[int]) -> Tensor:
        """Return the changes of a layer's weight by S widths, of shape (S, ...)."""
        name = local.layer.name
        if name in self._shifts:
            return self._shifts[name]
        stored, weights = self._weight_at_widths(local, bits)
        found = torch.stack(weights).sub_(stored)
        if self._fits_in_memory(found):
            self._shifts[name] = found
        return found

    def _weight_at_widths(self, local: Local, widths: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Return a layer's weight, and the weight quantized at the widths, in one shape."""
        layer = local.layer
        sites = self._encodings.site_names(layer.name, Side.WEIGHTS)
        stored = self._encodings.network.graph.stored_tensor(str(layer.weight)).detach()
        encodings = [self._encodings.encodings_at_bits(sites, bits)[sites[0]] for bits in widths]
        return stored, [encoding.fake_quantize(stored) for encoding in encodings]

    def _fits_in_memory(self, made: Tensor) -> bool:
        """Whether memory has room for a tensor of any shape; the answer reserves the room."""
        size = FLOAT_BYTES * made.numel()
        if size > self._free_input_letters:
            return False
        self._free_input_letters -= size
        return True


def images_first(values: Tensor, local: Local) -> Tensor | None:
    """Return a layer's values with the images along axis 0, (N, ...); None if no axis holds them.

    The axis that grows with the batch holds the images: the second for a sequence (L, N, E), the
    first for windows (N * k, ...), which become (N, k, ...).
    """
    for axis, size in enumerate(local.layer.shape):
        if values.shape[axis] == local.images * size:
            found = values if size == 1 else values.unflatten(axis, (local.images, size))
            return found.movedim(axis, 0) if axis else found
    return None


def _arranged(values: Tensor, local: Local) -> Tensor:
    found = images_first(values, local)
    return values if found is None else found
