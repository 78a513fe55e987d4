"""What each choice of bits costs on a machine, as sums over knobs: from the cost model itself."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from accelerator.estimate import Scene, cost_op, set_scene
from accelerator.machine import Machine, Storage
from accelerator.memory import count_constants, find_lifetimes, save_in_place
from accelerator.report import CostReport
from accelerator.widths import choose_widths, mode_chooser, store_activation
from accelerator.workload import GEMM_KINDS, WEIGHT_KINDS, Op, Workload
from analysis.bit_knobs import Knob
from analysis.bit_sums import Array, Scope, Sum, add_sums
from analysis.bit_wiring import Part, find_wiring, with_bits
from analysis.experiment import cost
from analysis.network import Network
from analysis.quantities import Quantity
from analysis.workload import Entropies, weight_entropies
from quant.config import QuantConfig

PRICED = (Quantity.ENERGY, Quantity.LATENCY)  # these need the whole cost model
Stays = tuple[frozenset[str], bool]
Choice = Sequence[int]  # the option of each knob


class BitCosts:
    """Prices choices for one network and machine; tables are kept between questions.

    Energy, latency, weight size and BOPs add up over operations, each of which depends on the
    bits of its weight, its inputs and its output: their tables hold what the cost model says,
    the slower of compute and memory included. Only which activations stay on chip, and whether
    all weights do, depends on the whole network: a table holds for the `around` choice, and
    `report` gives the truth. Peak memory is one sum for each step, the largest of which counts.
    `entropies` are measured once, for machines that compress weights, and may be shared.
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
        self.wiring = find_wiring(network.graph, config, [knob.parts for knob in knobs])
        self.entropies: Entropies = {} if entropies is None else entropies
        self._measure_entropies()
        self._specs = config.resolve(network.graph.layers)
        self._chooser = mode_chooser(machine)
        self._sums: dict[tuple[Quantity, Stays | None], tuple[Sum, ...]] = {}
        self._kept: dict[Any, dict[Quantity, float]] = {}

    def _measure_entropies(self) -> None:
        if self.machine.weight_storage is not Storage.ENTROPY:
            return
        for place in range(max(len(knob.bits) for knob in self.knobs)):
            choice = [min(place, len(knob.bits) - 1) for knob in self.knobs]
            weight_entropies(self.network.graph, self.configuration(choice), self.entropies)

    def configuration(self, choice: Choice) -> QuantConfig:
        """Return the configuration with the bits chosen."""
        bits: dict[Part, int] = {}
        for knob, option in zip(self.knobs, choice, strict=True):
            bits.update(dict.fromkeys(knob.parts, knob.bits[option]))
        return with_bits(self.config, self.network.graph, bits)

    def report(self, choice: Choice) -> CostReport:
        """Return the true estimate of a choice."""
        return cost(self.network, self.configuration(choice), self.machine, self.entropies)

    def sums(self, quantity: Quantity, around: Choice) -> tuple[Sum, ...]:
        """Return a quantity as sums whose largest counts; one but for the peak memory."""
        key = (quantity, self.scene(around) if quantity in PRICED else None)
        if key not in self._sums:
            self._sums[key] = tuple(self._add_up(quantity, around))
        return self._sums[key]

    def scene(self, around: Choice) -> Stays:
        """Return what stays on chip: activations by name, and whether the weights do."""
        scene = self._scene(around)
        return scene.residents, scene.weights_resident

    def _add_up(self, quantity: Quantity, around: Choice) -> Iterator[Sum]:
        if quantity is Quantity.MEMORY:
            yield from self._memory()
            return
        scene = self._scene(around)
        ops = enumerate(self.wiring.workload.ops)
        yield add_sums([self._table(position, op, quantity, scene) for position, op in ops])

    def _scene(self, around: Choice) -> Scene:
        """Return what stays on chip where the whole network is chosen as in `around`."""
        workload = self._workload(around)
        widths = [choose_widths(op, self.machine, self._chooser) for op in workload.ops]
        pairs = zip(workload.ops, widths, strict=True)
        weights = sum(op.shape_weights * width.stored_weight for op, width in pairs)
        return set_scene(workload, self.machine, weights, find_lifetimes(workload, self.machine))

    def _workload(self, choice: Choice) -> Workload:
        bits = self._bits(range(len(self.knobs)), choice)
        ops = enumerate(self.wiring.workload.ops)
        tensors = self.wiring.workload.tensors
        return replace(
            self.wiring.workload,
            ops=tuple(self._op(position, op, bits) for position, op in ops),
            tensors=tuple(replace(t, bits=bits[self.wiring.tensors[t.name]]) for t in tensors),
        )

    def _bits(self, scope: Sequence[int], options: Choice) -> dict[int, int]:
        return {k: self.knobs[k].bits[o] for k, o in zip(scope, options, strict=True)}

    def _op(self, position: int, op: Op, bits: dict[int, int]) -> Op:
        """Return the operation with widths; those of knobs that it does not depend on stay."""
        wiring = self.wiring
        weight = bits.get(wiring.weights[position], op.weight_bits)
        return replace(
            op,
            weight_bits=weight,
            activation_bits=bits.get(wiring.activations[position], op.activation_bits),
            output_bits=bits.get(wiring.outputs[position], op.output_bits),
            weight_entropy=self._entropy(op, weight),
        )

    def _entropy(self, op: Op, bits: int) -> float | None:
        if op.kind not in WEIGHT_KINDS or not self.entropies:
            return None
        return self.entropies.get((op.name, replace(self._specs[op.name].weight, bits=bits)))

    def _scope(self, position: int, op: Op, quantity: Quantity) -> Scope:
        """Return the knobs that an operation's cost depends on."""
        wiring = self.wiring
        found = {wiring.weights[position]} if op.kind in GEMM_KINDS or op.multiply else set()
        if quantity is not Quantity.SIZE:
            found.add(wiring.activations[position])
        if quantity in PRICED:
            found |= {wiring.tensors[name] for name in (*op.inputs, op.output)}
        return tuple(sorted(found))

    def _table(self, position: int, op: Op, quantity: Quantity, scene: Scene) -> Sum:
        if quantity not in PRICED and op.kind not in GEMM_KINDS:
            return Sum()
        scope = self._scope(position, op, quantity)
        shape = [len(self.knobs[knob].bits) for knob in scope]
        table: Array = np.empty(shape)
        for options in np.ndindex(*shape):
            bits = self._bits(scope, options)
            wide = self._op(position, op, bits)
            if quantity in PRICED:
                table[options] = self._price(position, wide, bits, scene)[quantity]
            else:
                table[options] = self._count(wide, quantity)
        return Sum(tables={scope: table})

    def _count(self, op: Op, quantity: Quantity) -> float:
        if quantity is Quantity.BOPS:
            return op.macs * op.weight_bits * op.activation_bits
        stored = choose_widths(op, self.machine, self._chooser).stored_weight
        return op.shape_weights * stored / 8 + count_constants(op)

    def _price(
        self, position: int, op: Op, bits: dict[int, int], scene: Scene
    ) -> dict[Quantity, float]:
        names = (*op.inputs, op.output)
        stays = tuple(name in scene.residents for name in names)
        key = (position, tuple(bits.values()), stays, scene.weights_resident)
        if key not in self._kept:
            if op.kind not in GEMM_KINDS:  # products take all their widths from the op itself
                near = {
                    name: replace(scene.tensors[name], bits=bits[self.wiring.tensors[name]])
                    for name in names
                }
                scene = replace(scene, tensors=near)
            priced = cost_op(op, choose_widths(op, self.machine, self._chooser), scene)
            self._kept[key] = {
                Quantity.ENERGY: priced.energy_pj,
                Quantity.LATENCY: priced.latency_s,
            }
        return self._kept[key]

    def _memory(self) -> Iterator[Sum]:
        """Yield the bytes alive at each step, less what elementwise operations save in place."""
        workload = self.wiring.workload
        lives = find_lifetimes(workload, self.machine)
        elements = {tensor.name: tensor.elements for tensor in workload.tensors}
        for step, op in enumerate(workload.ops):
            alive = [
                Sum({self.wiring.tensors[life.name]: self._stored(life.name, elements)})
                for life in lives
                if life.first <= step <= life.last
            ]
            if self.machine.eltwise_in_place:
                alive.append(self._saved(step, op))
            yield add_sums(alive)

    def _stored(self, name: str, elements: dict[str, int]) -> Array:
        widths = self.knobs[self.wiring.tensors[name]].bits
        stored = [store_activation(bits, self.machine) for bits in widths]
        return elements[name] * np.array(stored) / 8.0

    def _saved(self, step: int, op: Op) -> Sum:
        names = (*op.inputs, op.output)
        scope = tuple(sorted({self.wiring.tensors[name] for name in names}))
        shape = [len(self.knobs[knob].bits) for knob in scope]
        table: Array = np.zeros(shape)
        for options in itertools.product(*map(range, shape)):
            choice = [0] * len(self.knobs)
            for knob, option in zip(scope, options, strict=True):
                choice[knob] = option
            workload = self._workload(choice)
            table[options] = -save_in_place(op, step, find_lifetimes(workload, self.machine)) / 8
        return Sum(tables={scope: table})
