"""Spell LSTM, GRU and RNN as layers: a linear layer of inputs, a recurrent layer of states."""

import operator as operators
from dataclasses import dataclass, replace

from torch import fx

from quant.graph.node_facts import shape_from_facts
from quant.graph.operators import operator_name
from quant.graph.recurrence import recurrence
from quant.graph.spelling.edits import Draft, aten

_CELLS = {
    "aten.lstm_cell.default": "lstm_both",
    "aten.gru_cell.default": "gru",
    "aten.rnn_tanh_cell.default": "rnn_tanh",
    "aten.rnn_relu_cell.default": "rnn_relu",
}
_KINDS = {f"aten.{kind}.input": kind for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")}


def spell_recurrent_layers(draft: Draft) -> None:
    """Give W_ih and W_hh of a recurrent layer and direction separate encodings.

    A cell is a layer of one step. A projection of the states, W_hr, is a linear layer behind.
    """
    for node in list(draft.graph.nodes):
        name = operator_name(node)
        if name in _KINDS:
            _spell_recurrent_node(draft, node, _KINDS[name])
        elif name in _CELLS:
            _spell_cell(draft, node, _CELLS[name])


def _spell_cell(draft: Draft, node: fx.Node, kind: str) -> None:
    """Write a cell, of input (N, F) and state (N, H), as a layer of one step."""
    x, state, *weights = node.args
    own, first = _nodes_among(weights), _nodes_among(state)
    if not isinstance(x, fx.Node) or len(shape_from_facts(x)) != 2:
        return
    if len(own) not in (2, 4) or any(draft.stored_real_tensor(one) is None for one in own):
        return
    if not isinstance(state, list | tuple):
        first = _nodes_among([state])
    n, width = shape_from_facts(x)
    row = draft.insert_call(node, aten.unsqueeze.default, (x, 1), (n, 1, width))
    states = _write_layer_direction(draft, node, kind, row, own, first, reverse=False)
    values = [
        _last_step(draft, node, one, -1) for one in _hidden_and_cell(draft, node, kind, states)
    ]
    if kind != "lstm_both":
        draft.replace_node(node, values[0])
        return
    for user in list(node.users):
        user.replace_all_uses_with(values[int(str(user.args[1]))])
        draft.graph.erase_node(user)
    draft.graph.erase_node(node)


def _hidden_and_cell(draft: Draft, node: fx.Node, kind: str, states: fx.Node) -> list[fx.Node]:
    """Return the states (N, T, H), and the cells of (N, T, 2 H)."""
    if kind != "lstm_both":
        return [states]
    n, time, width = shape_from_facts(states)
    half = width // 2
    return [
        draft.insert_call(
            node, aten.slice.Tensor, (states, 2, place, place + half), (n, time, half)
        )
        for place in (0, half)
    ]


def _last_step(draft: Draft, node: fx.Node, states: fx.Node, step: int) -> fx.Node:
    """Return one step (N, H) of states (N, T, H)."""
    n, _, width = shape_from_facts(states)
    return draft.insert_call(node, aten.select.int, (states, 1, step), (n, width))


@dataclass(frozen=True, slots=True)
class _Setting:
    """Settings of a recurrent node; `parts` counts the tensors per layer and direction.

    With `biased` the tensors are W_ih, W_hh and two biases, else the two weights alone. With
    `projected` the last tensor is W_hr.
    """

    kind: str
    parts: int
    layers: int
    directions: int
    batch_first: bool
    projected: bool


def _spell_recurrent_node(draft: Draft, node: fx.Node, kind: str) -> None:
    x, states, weights, biased, layers, _, _, both, batch_first = node.args[:9]
    if not isinstance(x, fx.Node) or not isinstance(weights, list | tuple):
        return
    count, plain = int(str(layers)) * (2 if both else 1), 4 if biased else 2
    parts = len(weights) // count
    setting = _Setting(
        kind, parts, int(str(layers)), 2 if both else 1, bool(batch_first), parts == plain + 1
    )
    if any(draft.stored_real_tensor(weight) is None for weight in weights):
        return
    if len(weights) != parts * count or parts not in (plain, plain + 1):
        return
    if len(shape_from_facts(x)) != 3:
        return
    users = {user.args[1]: user for user in node.users if user.target is operators.getitem}
    if 2 in users and users[2].users:
        setting = replace(setting, kind="lstm_both")
    initial = states if isinstance(states, list | tuple) else [states]
    last = _write_recurrent_layers(
        draft, node, setting, x, _nodes_among(weights), _nodes_among(initial)
    )
    for place, value in enumerate(last):
        user = users.get(place)
        if user is not None:
            user.replace_all_uses_with(value)
    for user in list(node.users):
        draft.graph.erase_node(user)
    draft.graph.erase_node(node)


def _nodes_among(arguments: object) -> list[fx.Node]:
    """Return the nodes among arguments."""
    found = arguments if isinstance(arguments, list | tuple) else ()
    return [one for one in found if isinstance(one, fx.Node)]


def _write_recurrent_layers(
    draft: Draft,
    node: fx.Node,
    setting: _Setting,
    x: fx.Node,
    weights: list[fx.Node],
    initial: list[fx.Node],
) -> list[fx.Node]:
    """Write the layers before the node; return outputs, last states and last cells, if read."""
    if not setting.batch_first:
        x = _swap_batch_time(draft, node, x)
    finals: list[list[fx.Node]] = []
    for layer in range(setting.layers):
        outputs = []
        for direction in range(setting.directions):
            place = layer * setting.directions + direction
            own = weights[place * setting.parts : (place + 1) * setting.parts]
            first = [_initial_state_node(draft, node, state, place) for state in initial]
            projection = own.pop() if setting.projected else None
            y = _write_layer_direction(
                draft, node, setting.kind, x, own, first, projection, reverse=direction == 1
            )
            values = _hidden_and_cell(draft, node, setting.kind, y)
            if projection is not None:
                values[0] = _project_states(draft, node, values[0], projection)
            outputs.append(values[0])
            step = 0 if direction else -1
            finals.append([_last_step(draft, node, value, step) for value in values])
        n, time, width = shape_from_facts(outputs[0])
        x = outputs[0]
        if len(outputs) > 1:
            x = draft.insert_call(
                node, aten.cat.default, (outputs, -1), (n, time, width * len(outputs))
            )
    last = [
        draft.insert_call(
            node,
            aten.stack.default,
            (list(values), 0),
            (len(finals), *shape_from_facts(values[0])),
        )
        for values in zip(*finals, strict=True)
    ]
    return [x if setting.batch_first else _swap_batch_time(draft, node, x), *last]


def _write_layer_direction(
    draft: Draft,
    node: fx.Node,
    kind: str,
    x: fx.Node,
    own: list[fx.Node],
    first: list[fx.Node],
    projection: fx.Node | None = None,
    *,
    reverse: bool,
) -> fx.Node:
    """Write a layer in one direction: a linear layer and a recurrence; return states (N, T, H)."""
    into, back, *biases = own
    n, time, _ = shape_from_facts(x)
    rows, width = shape_from_facts(back)
    width = width if projection is None else shape_from_facts(projection)[1]
    width *= 2 if kind == "lstm_both" else 1
    given = (x, into, biases[0]) if biases else (x, into)
    gates = draft.insert_call(node, aten.linear.default, given, (n, time, rows))
    bias = biases[1] if biases else None
    hidden, cell = (*first, None)[:2]
    arguments = (gates, back, kind, reverse, bias, hidden, cell)
    lent = () if projection is None else (projection,)
    return draft.insert_call(node, recurrence, (*arguments, *lent), (n, time, width))


def _project_states(draft: Draft, node: fx.Node, states: fx.Node, projection: fx.Node) -> fx.Node:
    """Return states (N, T, H) times a projection (P, H): (N, T, P)."""
    n, time, _ = shape_from_facts(states)
    width, _ = shape_from_facts(projection)
    return draft.insert_call(node, aten.linear.default, (states, projection), (n, time, width))


def _initial_state_node(draft: Draft, node: fx.Node, states: fx.Node, place: int) -> fx.Node:
    """Return the state (N, H) of a layer and direction before the first step."""
    shape = shape_from_facts(states)[1:]
    return draft.insert_call(node, aten.select.int, (states, 0, place), shape)


def _swap_batch_time(draft: Draft, node: fx.Node, x: fx.Node) -> fx.Node:
    """Return (T, N, F) as (N, T, F), or back."""
    one, two, width = shape_from_facts(x)
    return draft.insert_call(node, aten.transpose.int, (x, 0, 1), (two, one, width))
