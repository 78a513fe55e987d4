"""Write products with a stored tensor other than x @ W as linear layers or convolutions.

An einsum, a bilinear layer, W @ x and a product per expert are sums over axes of an input and axes
of a stored tensor. In a linear layer the stored tensor is a weight with output channels. Axes kept
by both operands, such as the experts, become the groups of a convolution.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from string import ascii_letters

from torch import Tensor, fx
from torch.fx.node import Argument

from quant.graph.node_facts import facts_of_node, shape_from_facts, write_node_facts
from quant.graph.operators import operator_name
from quant.graph.spelling.edits import Draft, aten, path_for_weight, schema_arguments
from quant.graph.spelling.equations import Equation, equation_of_einsum, equation_of_matmul

_MATMULS = ("aten.matmul.default", "aten.bmm.default", "aten.mm.default", "aten.mv.default")
_SUMS = ("aten.baddbmm.default", "aten.addmm.default")
_SPREADS = ("aten.expand.default", "aten.reshape.default", "aten.clone.default")


def spell_stored_products(draft: Draft) -> None:
    """Turn products with stored tensors into linear layers and grouped convolutions."""
    for node in list(draft.graph.nodes):
        name = operator_name(node)
        if name in _SUMS:
            _spell_bias_sum(draft, node)
        elif name == "aten.bilinear.default":
            _spell_bilinear_product(draft, node)
        elif name == "aten.tensordot.default":
            _spell_tensordot_product(draft, node)
        elif name == "aten.einsum.default":
            equation, operands = node.args[:2]
            if isinstance(operands, list | tuple) and len(operands) == 2:
                _spell_product(draft, node, equation_of_einsum(str(equation), operands), operands)
        elif name == "aten.inner.default":
            _spell_inner_product(draft, node)
        elif name in _MATMULS:
            _spell_product(draft, node, equation_of_matmul(node.args[:2]), node.args[:2])
    draft.graph.eliminate_dead_code()


def _spell_bias_sum(draft: Draft, node: fx.Node) -> None:
    """Write bias + a @ b as a product and a sum; a vector bias is a linear layer already."""
    found = schema_arguments(node)
    bias, first, second = (node.args[place] for place in range(3))
    if facts_of_node(node).shape is None:
        return
    product = aten.bmm.default if "baddbmm" in operator_name(node) else aten.mm.default
    shape = shape_from_facts(node)
    new = draft.insert_call(node, product, (first, second), shape)
    write_node_facts(new, replace(facts_of_node(new), free=facts_of_node(node).free))
    product_value: Argument = new
    if (alpha := found.get("alpha", 1)) != 1:
        product_value = draft.insert_call(node, aten.mul.Tensor, (new, alpha), shape)
    if (beta := found.get("beta", 1)) != 1 and isinstance(bias, fx.Node):
        bias = _scaled_bias(draft, node, bias, beta)
    draft.replace_node(node, draft.insert_call(node, aten.add.Tensor, (product_value, bias), shape))
    _spell_product(draft, new, equation_of_matmul((first, second)), (first, second))


def _scaled_bias(draft: Draft, node: fx.Node, bias: fx.Node, beta: float) -> fx.Node:
    """Return a bias times a number; of a stored bias the product is stored."""
    held = draft.stored_real_tensor(bias)
    if held is not None:
        return draft.insert_constant(node, f"{path_for_weight(node)}_bias", held * beta)
    return draft.insert_call(node, aten.mul.Tensor, (bias, beta), shape_from_facts(bias))


def _spell_bilinear_product(draft: Draft, node: fx.Node) -> None:
    """Write x1 W x2 as a linear layer of x1, multiplied with x2."""
    first, second, weight, bias = (*node.args, None)[:4]
    held = draft.stored_real_tensor(weight)
    if held is None or not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
        return
    outputs, left, right = held.shape
    shape = shape_from_facts(node)
    rows = shape[:-1]
    turned = held.permute(0, 2, 1).reshape(outputs * right, left)
    stored = draft.insert_constant(node, f"{path_for_weight(node)}_pairs", turned)
    flat = draft.insert_call(node, aten.linear.default, (first, stored), (*rows, outputs * right))
    split = draft.insert_call(
        node, aten.unflatten.int, (flat, -1, [outputs, right]), (*rows, outputs, right)
    )
    column = draft.insert_call(node, aten.unsqueeze.default, (second, -1), (*rows, right, 1))
    met = draft.insert_call(node, aten.matmul.default, (split, column), (*rows, outputs, 1))
    last = draft.insert_call(node, aten.squeeze.dim, (met, -1), shape)
    if bias is not None:
        last = draft.insert_call(node, aten.add.Tensor, (last, bias), shape)
    draft.replace_node(node, last)


def _spell_tensordot_product(draft: Draft, node: fx.Node) -> None:
    first, second, left, right = node.args[:4]
    if not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
        return
    a = list(ascii_letters[: len(shape_from_facts(first))])
    b = list(ascii_letters[26 : 26 + len(shape_from_facts(second))])
    for one, other in zip(left, right, strict=True):  # type: ignore[arg-type]
        b[int(other)] = a[int(one)]
    kept = [letter for letter in (*a, *b) if not (letter in a and letter in b)]
    equation = Equation("".join(a), "".join(b), "".join(kept))
    _spell_product(draft, node, equation, (first, second))


def _spell_product(
    draft: Draft, node: fx.Node, equation: Equation | None, operands: Sequence[Argument]
) -> None:
    """Replace a product by a linear layer or a convolution if an operand is stored."""
    if equation is None or facts_of_node(node).shape is None:
        return
    first, second = operands
    first, left = _without_spread_axes(draft, first, equation.first)
    second, right = _without_spread_axes(draft, second, equation.second)
    equation = Equation(left, right, equation.result)
    if draft.stored_real_tensor(first) is not None:
        first, second, equation = second, first, equation.exchange_operands()
    held = draft.stored_real_tensor(second)
    data = first if isinstance(first, fx.Node) and first.op != "get_attr" else None
    if held is None or data is None or facts_of_node(data).shape is None:
        return
    shape = shape_from_facts(data)
    if len(shape) != len(equation.first) or held.dim() != len(equation.second):
        return
    held, equation = _without_single_axes(held, equation)
    axes = _Axes.axes_of_equation(equation)
    if axes is None or _spreads_input(equation, shape, held):
        return
    place = facts_of_node(data).free
    if axes.groups and (
        not axes.free or (place is not None and equation.first[place] in axes.groups)
    ):
        return  # no axis is left for the batch
    _Rewrite(draft, node, equation, axes, data, held).write_product()


def _without_single_axes(held: Tensor, equation: Equation) -> tuple[Tensor, Equation]:
    """Return a stored tensor of shape (1, ...) without axes of one place that the input has too.

    Such an axis is spread over the input's, which may be the batch.
    """
    shared = set(equation.first) & set(equation.result)
    kept = [
        axis
        for axis, letter in enumerate(equation.second)
        if held.shape[axis] != 1 or letter not in shared
    ]
    letters = "".join(equation.second[axis] for axis in kept)
    return held.reshape([held.shape[axis] for axis in kept]), replace(equation, second=letters)


def _spreads_input(equation: Equation, shape: Sequence[int], held: Tensor) -> bool:
    """Tell whether an axis of both differs in size; `held` has the shape of the second."""
    sizes = dict(zip(equation.first, shape, strict=True))
    stored = zip(equation.second, held.shape, strict=True)
    return any(sizes.get(letter, size) != size for letter, size in stored)


def _without_spread_axes(draft: Draft, operand: Argument, letters: str) -> tuple[Argument, str]:
    """Return a stored operand without new axes, such as a batch axis made by expand.

    Decompositions also join new axes: the places along new axes stay equal.
    """
    source, shapes = operand, list[tuple[int, ...]]()
    while isinstance(source, fx.Node) and operator_name(source) in _SPREADS:
        shapes.append(tuple(shape_from_facts(source)))
        source = source.args[0]
    held = draft.stored_real_tensor(source)
    if held is None or any(shape[len(shape) - held.dim() :] != held.shape for shape in shapes):
        return operand, letters
    return source, letters[len(letters) - held.dim() :]


def _spell_inner_product(draft: Draft, node: fx.Node) -> None:
    """Write a sum over the last axes of both operands."""
    first, second = node.args[:2]
    if not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
        return
    left, right = (len(shape_from_facts(one)) for one in (first, second))
    if left and right:
        a, b = ascii_letters[1:left], ascii_letters[26 : 25 + right]
        _spell_product(draft, node, Equation(f"{a}a", f"{b}a", a + b), (first, second))


@dataclass(frozen=True, slots=True)
class _Axes:
    """The letters of a product: of the input alone, of the stored tensor alone, and shared."""

    free: str
    outputs: str
    summed: str
    groups: str

    @staticmethod
    def axes_of_equation(equation: Equation) -> "_Axes | None":
        """Return the letters of an equation; None for an equation of another kind."""
        a, b, c = equation.first, equation.second, equation.result
        if any(len(set(term)) < len(term) for term in (a, b, c)) or not set(c) <= set(a + b):
            return None
        if any(letter not in a + c for letter in b) or any(letter not in b + c for letter in a):
            return None  # summed in one operand alone
        shared = [letter for letter in b if letter in a]
        summed = "".join(letter for letter in shared if letter not in c)
        return (
            _Axes(
                "".join(letter for letter in a if letter not in b),
                "".join(letter for letter in b if letter not in a),
                summed,
                "".join(letter for letter in shared if letter in c),
            )
            if summed
            else None
        )


@dataclass(frozen=True, eq=False, slots=True)
class _Rewrite:
    """A product with a stored tensor, and the graph to rewrite."""

    draft: Draft
    node: fx.Node
    equation: Equation
    axes: _Axes
    data: fx.Node
    held: Tensor

    def write_product(self) -> None:
        """Replace the product."""
        axes = self.axes
        free = self._free_input_letters()
        value, letters = (
            self._write_grouped_convolution if axes.groups else self._write_linear_layer
        )(free)
        order = [letters.index(letter) for letter in self.equation.result]
        if order != sorted(order):
            value = self._insert_product_call(
                aten.permute.default, (value, order), shape_from_facts(self.node)
            )
        self.draft.replace_node(self.node, value)

    def _free_input_letters(self) -> str:
        """Return the letters of the axes of the input alone, the batch axis first."""
        place = facts_of_node(self.data).free
        letters = self.axes.free
        batch = self.equation.first[place] if place is not None else letters[:1]
        return batch + letters.replace(batch, "") if batch in letters else letters

    def _write_linear_layer(self, free: str) -> tuple[fx.Node, str]:
        """Write a linear layer: the summed axes of the input are joined as the last axis."""
        axes = self.axes
        value = self._arranged_input(free + axes.summed)
        rows = self._axis_sizes(free)
        if len(axes.summed) > 1:
            depth = math.prod(self._axis_sizes(axes.summed))
            value = self._insert_product_call(
                aten.flatten.using_ints, (value, len(free), -1), (*rows, depth)
            )
        outputs = self._axis_sizes(axes.outputs)
        order = [self.equation.second.index(letter) for letter in axes.outputs + axes.summed]
        matrix = self.held.permute(order).reshape(math.prod(outputs), -1)
        stored = self.draft.insert_constant(self.node, self._weight_name(), matrix)
        value = self._insert_product_call(
            aten.linear.default, (value, stored), (*rows, len(matrix))
        )
        if len(outputs) > 1:
            split = (value, len(free), list(outputs))
            value = self._insert_product_call(aten.unflatten.int, split, (*rows, *outputs))
        elif not outputs:
            value = self._insert_product_call(aten.squeeze.dim, (value, -1), rows)
        return value, free + axes.outputs

    def _write_grouped_convolution(self, free: str) -> tuple[fx.Node, str]:
        """Write a convolution over one place, with the axes kept by both operands as groups."""
        axes = self.axes
        value = self._arranged_input(free + axes.groups + axes.summed)
        rows, groups = self._axis_sizes(free), self._axis_sizes(axes.groups)
        depth, count = math.prod(self._axis_sizes(axes.summed)), math.prod(groups)
        outputs = self._axis_sizes(axes.outputs)
        width = math.prod(outputs)
        if len(free) > 1:
            inner = (*groups, *self._axis_sizes(axes.summed))
            value = self._insert_product_call(
                aten.flatten.using_ints, (value, 0, len(free) - 1), (math.prod(rows), *inner)
            )
        flat = (math.prod(rows), count * depth)
        value = self._insert_product_call(aten.flatten.using_ints, (value, 1, -1), flat)
        value = self._insert_product_call(
            aten.unsqueeze.default, (value, -1), (*shape_from_facts(value), 1)
        )
        letters = axes.groups + axes.outputs + axes.summed
        order = [self.equation.second.index(letter) for letter in letters]
        weight = self.held.permute(order).reshape(count * width, depth, 1)
        stored = self.draft.insert_constant(self.node, self._weight_name(), weight)
        given = (value, stored, None, [1], [0], [1], count)
        value = self._insert_product_call(
            aten.conv1d.default, given, (math.prod(rows), count * width, 1)
        )
        value = self._insert_product_call(
            aten.squeeze.dim, (value, -1), (math.prod(rows), count * width)
        )
        value = self._insert_product_call(
            aten.unflatten.int,
            (value, 1, [*groups, *outputs]),
            (math.prod(rows), *groups, *outputs),
        )
        if len(free) > 1:
            split = (value, 0, [-1, *rows[1:]])
            value = self._insert_product_call(aten.unflatten.int, split, (*rows, *groups, *outputs))
        return value, free + axes.groups + axes.outputs

    def _arranged_input(self, letters: str) -> fx.Node:
        """Return the input with the axes in the order of the letters."""
        order = [self.equation.first.index(letter) for letter in letters]
        if order == sorted(order):
            return self.data
        shape = [shape_from_facts(self.data)[axis] for axis in order]
        return self._insert_product_call(aten.permute.default, (self.data, order), shape)

    def _axis_sizes(self, letters: str) -> tuple[int, ...]:
        """Return the sizes of axes for one image."""
        shape = shape_from_facts(self.data)
        held = dict(zip(self.equation.second, self.held.shape, strict=True))
        own = dict(zip(self.equation.first, shape, strict=True))
        return tuple(held.get(letter, own.get(letter, 1)) for letter in letters)

    def _weight_name(self) -> str:
        return f"{path_for_weight(self.node)}_matrix"

    def _insert_product_call(
        self, target: Callable[..., object], arguments: Sequence[Argument], shape: Sequence[int]
    ) -> fx.Node:
        return self.draft.insert_call(self.node, target, arguments, shape)
