"""The cost of a choice of bits on a machine, as sums over knobs, computed by the cost model."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import fields, replace
from operator import attrgetter

import numpy as np

from accelerator.dram.residency import count_stored_bits
from accelerator.estimate import OpCost, Scene, price_op, set_scene
from accelerator.machine import Machine, Residency, Storage
from accelerator.memory import (
    bits_saved_in_place,
    count_constant_bytes,
    find_tensor_lifetimes,
)
from accelerator.report import CostReport
from accelerator.widths import Widths, choose_widths, make_mode_chooser, stored_activation_bits
from accelerator.workload import FLOAT_BITS, GEMM_KINDS, WEIGHT_KINDS, Op, Workload
from analysis.cost.estimate import estimate_config_cost
from analysis.cost.quantity import Quantity
from analysis.cost.workload import Entropies, weight_entropies
from analysis.evaluation.measures import Array
from analysis.mixed_precision.cost_terms import (
    Limit,
    Sum,
    add_cost_sums,
    alive_byte_sums,
    room_limits,
)
from analysis.mixed_precision.dependencies import FIXED, find_width_origins
from analysis.network import Network
from quant.assignment import Knob, config_with_bits
from quant.config import QuantConfig
from quant.simulation.plan import Side

PRICED = (Quantity.ENERGY, Quantity.LATENCY)  # both need the whole cost model
Stays = tuple[frozenset[str], frozenset[str]]  # activations, and layers' weights, on chip
Choice = Sequence[int]  # the index of the option for each knob
Asked = tuple[int, int, int, float | None]
_priced_fields = attrgetter(*(field.name for field in fields(Widths) if field.name != "warnings"))
NAMES_AND_WIDTHS = {
    *("name", "inputs", "output", "weight_bits", "weight_groups", "activation_bits"),
    *("output_bits", "weight_entropy"),
}
_shape_fields = attrgetter(*(f.name for f in fields(Op) if f.name not in NAMES_AND_WIDTHS))


class BitCosts:
    """Prices choices for one network and machine; tables are cached between questions.

    Energy, latency, weight size and BOPs add up over operations; an operation depends on the bits
    of the weight, inputs and output. The tables hold the results of the cost model, including the
    slower of compute and memory. Only two facts depend on the whole network: the activations on
    chip, and the layers with resident weights. Sums are exact for one `stays`; `on_chip_limits`
    yields the limits on choices with equal `stays`; `cost_report` returns the full estimate. Peak
    memory is one sum per step. `entropies` caches the entropies of weights for machines that
    compress weights.
    """

    def __init__(
        self,
        network: Network,
        config: QuantConfig,
        machine: Machine,
        knobs: Sequence[Knob],
        entropies: Entropies | None = None,
    ) -> None:
        self.network, self.config, self.machine = network, config, machine
        self.knobs = tuple(knobs)
        self.wiring = find_width_origins(network.graph, config, [knob.parts for knob in knobs])
        self.entropies: Entropies = {} if entropies is None else entropies
        self._measure_entropies()
        self._specs = config.resolve_layers(network.graph.layers)
        self._chooser = make_mode_chooser(machine)
        self._sums: dict[tuple[Quantity, Stays | None], tuple[Sum, ...]] = {}
        self._prices: dict[Hashable, dict[Quantity, float]] = {}
        self._shapes = [self._shape_of_operation(op) for op in self.wiring.workload.ops]
        self._product_widths: dict[Hashable, tuple[Widths, Hashable]] = {}
        self._priced_ops: dict[Hashable, Op] = {}

    def _measure_entropies(self) -> None:
        if self.machine.weight_storage is not Storage.ENTROPY:
            return
        for place in range(max(len(knob.bits) for knob in self.knobs)):
            choice = [min(place, len(knob.bits) - 1) for knob in self.knobs]
            weight_entropies(self.network.graph, self.config_of_choice(choice), self.entropies)

    def config_of_choice(self, choice: Choice) -> QuantConfig:
        """Return the configuration of a choice."""
        cells = [
            c
            for k, option in zip(self.knobs, choice, strict=True)
            for c in k.cells_at_option(option)
        ]
        bits = {part: width for part, width, _ in cells}
        grains = {layer: grain for (layer, side), _, grain in cells if side is Side.WEIGHTS}
        return config_with_bits(self.config, self.network.graph, bits, grains)

    def cost_report(self, choice: Choice) -> CostReport:
        """Return the full estimate for a choice."""
        return estimate_config_cost(
            self.network, self.config_of_choice(choice), self.machine, self.entropies
        )

    def quantity_sums(self, quantity: Quantity, stays: Stays) -> tuple[Sum, ...]:
        """Return a quantity as sums; the largest sum counts, and only peak memory has several."""
        key = (quantity, stays if quantity in PRICED else None)
        if key not in self._sums:
            self._sums[key] = tuple(self._add_up_quantity(quantity, stays))
        return self._sums[key]

    def residents_on_chip(self, choice: Choice) -> Stays:
        """Return the residents on chip under a choice."""
        scene = self._scene_of_choice(choice)
        return scene.residents, scene.weights_resident

    def on_chip_limits(self, stays: Stays) -> Iterator[Limit]:
        """Yield the limits on choices under which `stays` fit on chip together."""
        residents, layers = stays
        lives = find_tensor_lifetimes(self.wiring.workload, self.machine)
        free = float(self.machine.buffers.resident_activation_bytes)
        yield from room_limits(self._stored_bytes_sums(), lives, residents, free)
        if layers and self.machine.weights_resident is Residency.AUTO:
            size = self._sum_weighted_operations(
                lambda _, op: self._stored_bits_per_value(op) if op.name in layers else 0
            )
            yield Limit(size, 8.0 * self.machine.weight_room_bytes)

    def _add_up_quantity(self, quantity: Quantity, stays: Stays) -> Iterator[Sum]:
        if quantity is Quantity.MEMORY:
            yield from self._alive_memory_sums()
        elif quantity is Quantity.BOPS:
            yield self._sum_weighted_operations(
                lambda _, op: op.macs * op.weight_bits * op.activation_bits
            )
        elif quantity is Quantity.SIZE:
            yield self._sum_weighted_operations(self._weight_size_bytes)
        else:
            scene = self._scene_of_choice([0] * len(self.knobs))
            scene = replace(scene, residents=stays[0], weights_resident=stays[1])
            ops = enumerate(self.wiring.workload.ops)
            yield add_cost_sums(
                [self._operation_cost_table(place, op, quantity, scene) for place, op in ops]
            )

    def _scene_of_choice(self, choice: Choice) -> Scene:
        workload = self._workload_of_choice(choice)
        widths = [self._operand_widths(op) for op in workload.ops]
        return set_scene(
            workload, self.machine, widths, find_tensor_lifetimes(workload, self.machine)
        )

    def _stored_bits_per_value(self, op: Op) -> int:
        return count_stored_bits(op, self._operand_widths(op))

    def _operand_widths(self, op: Op) -> Widths:
        return choose_widths(op, self.machine, self._chooser)

    def _workload_of_choice(self, choice: Choice) -> Workload:
        chosen = dict(enumerate(choice))
        bits = self._bits_by_origin(chosen)
        ops = enumerate(self.wiring.workload.ops)
        tensors = self.wiring.workload.tensors
        return replace(
            self.wiring.workload,
            ops=tuple(self._operation_at_widths(position, op, chosen) for position, op in ops),
            tensors=tuple(
                replace(t, bits=bits.get(self.wiring.tensors[t.name], t.bits)) for t in tensors
            ),
        )

    def _bits_by_origin(self, options: dict[int, int]) -> dict[int, int]:
        return {knob: self.knobs[knob].bits[option] for knob, option in options.items()}

    def _operation_at_widths(self, position: int, op: Op, options: dict[int, int]) -> Op:
        """Return the operation with the widths of a choice; other widths stay."""
        weight, activation, output, entropy = self._asked_bits(position, op, options)
        return replace(
            op,
            weight_bits=weight,
            weight_groups=(),
            activation_bits=activation,
            output_bits=output,
            weight_entropy=entropy,
        )

    def _asked_bits(self, position: int, op: Op, options: dict[int, int]) -> Asked:
        """Return the bits of weight, activation and output under a choice, and the entropy."""
        wiring = self.wiring
        bits = self._bits_by_origin(options)
        weight = wiring.weights[position]
        return (
            bits.get(weight, op.weight_bits),
            bits.get(wiring.activations[position], op.activation_bits),
            bits.get(wiring.outputs[position], op.output_bits),
            self._compressed_bits(op, weight, options.get(weight)),
        )

    def _shape_of_operation(self, op: Op) -> Hashable:
        """Return what the cost of an operation depends on beside widths and what is on chip."""
        sizes = {tensor.name: tensor.elements for tensor in self.wiring.workload.tensors}
        return (_shape_fields(op), *(sizes[name] for name in (*op.inputs, op.output)))

    def _widths_of_product(
        self, place: int, op: Op, options: dict[int, int]
    ) -> tuple[Widths, Hashable]:
        """Return the widths of a matrix product, and the part of them that its cost depends on."""
        asked = self._asked_bits(place, op, options)
        key = (op.kind, op.accumulator_bits, asked)
        if key not in self._product_widths:
            wide = self._operation_at_widths(place, op, options)
            widths = self._operand_widths(wide)
            floats = (wide.is_float, wide.output_bits >= FLOAT_BITS)
            self._product_widths[key] = widths, (*_priced_fields(widths), *floats)
        return self._product_widths[key]

    def _compressed_bits(self, op: Op, knob: int, option: int | None) -> float | None:
        """Return the bits per weight after compression; granularity changes the result."""
        stored = op.kind in WEIGHT_KINDS or op.table_elements
        if not stored or not self.entropies or option is None:
            return None
        cells = {
            part: (bits, grain) for part, bits, grain in self.knobs[knob].cells_at_option(option)
        }
        bits, grain = cells[op.name, Side.WEIGHTS]
        spec = self._specs[op.name].weight.with_bits(bits)
        return self.entropies.get((op.name, replace(spec, granularity=grain or spec.granularity)))

    def _sum_weighted_operations(self, count: Callable[[int, Op], float]) -> Sum:
        """Return a sum over operations with weights; `count` depends on operand widths only."""
        terms = []
        for place, op in enumerate(self.wiring.workload.ops):
            if op.kind in GEMM_KINDS or op.table_elements:
                scope = _sorted_knobs({self.wiring.weights[place], self.wiring.activations[place]})
                shape = [len(self.knobs[knob].bits) for knob in scope]
                table: Array = np.empty(shape)
                for options in np.ndindex(*shape):
                    chosen = dict(zip(scope, options, strict=True))
                    table[options] = count(place, self._operation_at_widths(place, op, chosen))
                terms.append(_table_as_sum(scope, table))
        return add_cost_sums(terms)

    def _weight_size_bytes(self, place: int, op: Op) -> float:
        del place
        return op.shape_weights * self._operand_widths(op).stored_weight / 8 + count_constant_bytes(
            op
        )

    def _operation_cost_table(self, place: int, op: Op, quantity: Quantity, scene: Scene) -> Sum:
        """Return the cost of an operation for the widths of operands and output."""
        wiring = self.wiring
        two = op.kind in GEMM_KINDS or op.multiply or op.table_elements
        origins = {wiring.weights[place]} if two else set()
        origins |= {wiring.tensors[name] for name in (*op.inputs, op.output)}
        scope = _sorted_knobs(origins | {wiring.activations[place]})
        shape = [len(self.knobs[knob].bits) for knob in scope]
        table: Array = np.empty(shape)
        for options in np.ndindex(*shape):
            chosen = dict(zip(scope, options, strict=True))
            table[options] = self._price_operation(place, op, chosen, scene)[quantity]
        return _table_as_sum(scope, table)

    def _price_operation(
        self, place: int, op: Op, options: dict[int, int], scene: Scene
    ) -> dict[Quantity, float]:
        """Return energy in pJ and latency in s; operations of one shape are priced once."""
        names = (*op.inputs, op.output)
        on_chip = [name in scene.residents for name in names]
        where = (self._shapes[place], *on_chip, op.name in scene.weights_resident)
        if op.kind in GEMM_KINDS:
            # a machine computes several of the widths asked for in one mode, at one cost
            widths, priced = self._widths_of_product(place, op, options)
            key: Hashable = (where, priced)
            if key not in self._prices:
                wide = self._float_or_integer_product(place, op, options)
                self._prices[key] = _quantities_of(price_op(wide, widths, scene))
            return self._prices[key]
        bits, held = self._bits_by_origin(options), scene.tensors
        stored = [bits.get(self.wiring.tensors[name], held[name].bits) for name in names]
        key = (where, *stored, self._asked_bits(place, op, options))
        if key not in self._prices:
            near = {n: replace(held[n], bits=b) for n, b in zip(names, stored, strict=True)}
            wide = self._operation_at_widths(place, op, options)
            cost = price_op(wide, self._operand_widths(wide), replace(scene, tensors=near))
            self._prices[key] = _quantities_of(cost)
        return self._prices[key]

    def _float_or_integer_product(self, place: int, op: Op, options: dict[int, int]) -> Op:
        """Return a product that is float, and has a float output, as the widths asked for say.

        `price_op` takes all other widths from `Widths`.
        """
        weight, activation, output, _ = self._asked_bits(place, op, options)
        key = (place, *(bits >= FLOAT_BITS for bits in (weight, activation, output)))
        if key not in self._priced_ops:
            self._priced_ops[key] = self._operation_at_widths(place, op, options)
        return self._priced_ops[key]

    def _stored_bytes_sums(self) -> dict[str, Sum]:
        """Return the stored bytes of each activation."""
        sizes = {}
        for tensor in self.wiring.workload.tensors:
            knob = self.wiring.tensors[tensor.name]
            if knob == FIXED:
                size = tensor.elements * stored_activation_bits(tensor.bits, self.machine) / 8
                sizes[tensor.name] = Sum(constant=size)
                continue
            stored = [stored_activation_bits(bits, self.machine) for bits in self.knobs[knob].bits]
            sizes[tensor.name] = Sum({knob: tensor.elements * np.array(stored) / 8.0})
        return sizes

    def _alive_memory_sums(self) -> Iterator[Sum]:
        """Yield the bytes alive at each step, minus the bytes saved by in-place operations."""
        lives = find_tensor_lifetimes(self.wiring.workload, self.machine)
        alive = alive_byte_sums(self._stored_bytes_sums(), lives)
        for step, op in enumerate(self.wiring.workload.ops):
            saved = self._bytes_saved_inplace(step, op) if self.machine.eltwise_in_place else Sum()
            yield add_cost_sums([alive.get(step, Sum()), saved])

    def _bytes_saved_inplace(self, step: int, op: Op) -> Sum:
        scope = _sorted_knobs({self.wiring.tensors[name] for name in (*op.inputs, op.output)})
        shape = [len(self.knobs[knob].bits) for knob in scope]
        table: Array = np.zeros(shape)
        for options in np.ndindex(*shape):
            choice = [0] * len(self.knobs)
            for knob, option in zip(scope, options, strict=True):
                choice[knob] = option
            lives = find_tensor_lifetimes(self._workload_of_choice(choice), self.machine)
            table[options] = -bits_saved_in_place(op, step, lives) / 8
        return _table_as_sum(scope, table)


def _quantities_of(cost: OpCost) -> dict[Quantity, float]:
    return {Quantity.ENERGY: cost.energy.total_pj, Quantity.LATENCY: cost.latency_s}


def _sorted_knobs(knobs: set[int]) -> tuple[int, ...]:
    """Return the knobs among origin numbers, sorted."""
    return tuple(sorted(knobs - {FIXED}))


def _table_as_sum(scope: tuple[int, ...], table: Array) -> Sum:
    """Return a table as a sum; a table without axes is a constant."""
    return Sum(tables={scope: table}) if scope else Sum(constant=float(table))
