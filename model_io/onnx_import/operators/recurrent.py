"""Recurrent layers, as torch's own operators."""

import torch
from torch import Tensor

from model_io.lstm_sizes import find_lstm_misfit
from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value

WEIGHTS = ["", "weight_ih", "weight_hh", "bias"]
# The places of torch's gates in ONNX's order: i o f c -> i f c o; z r h -> r z h; RNN has one.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def _check_recurrent_settings(call: Call) -> None:
    kind = call.step.operator
    named, usual = _named_activations(call), _USUAL[kind]
    relu = kind == "RNN" and set(named) == {"relu"}
    ways = 2 if call.attribute_value("direction", "forward") == "bidirectional" else 1
    given = ", ".join(map(str, call.attribute_value("activations", [])))
    told = f"{', '.join(usual)} as activation functions (it names {given})"
    wanted = {
        told: relu or named in ([], [one.lower() for one in usual] * ways),
        "no clip": call.attribute_value("clip") is None,
        "separate input and forget gates": not call.attribute_value("input_forget", 0),
        "the time axis first": not call.attribute_value("layout", 0),
        "sequences of one length": not call.has_input(4),
        "no peepholes": not call.has_input(7),
        "linear_before_reset of 1": kind != "GRU"
        or call.attribute_value("linear_before_reset", 0) == 1,
    }
    if missing := [name for name, met in wanted.items() if not met]:
        raise Refusal(f"A recurrent layer must have {', '.join(missing)}. Export it so.")


def _named_activations(call: Call) -> list[str]:
    """Return the activation functions that the node names, in lower case: ONNX ignores the case."""
    return [str(name).lower() for name in call.attribute_value("activations", [])]


def _in_torch_order(call: Call, tensor: Tensor, sets: int = 1) -> Tensor:
    """Return a tensor of shape (directions, gates * hidden, ...), the gates in torch's order."""
    gates = _GATES[call.step.operator]
    parts = tensor.chunk(sets * len(gates), 1)
    order = [base * len(gates) + gate for base in range(sets) for gate in gates]
    return torch.cat([parts[i] for i in order], 1)


@register_operator("LSTM", "GRU", "RNN", weights=WEIGHTS)
def run_recurrent_layer(call: Call) -> tuple[Value, ...]:
    """Run one recurrent layer over inputs (time, batch, features), in one or both directions."""
    _check_recurrent_settings(call)
    x, kind = call.input_tensor(0), call.step.operator
    direction = call.attribute_value("direction", "forward")
    inner, hidden = (
        _in_torch_order(call, call.input_tensor(1)),
        _in_torch_order(call, call.input_tensor(2)),
    )
    directions, size = hidden.shape[0], hidden.shape[2]
    bias = call.optional_tensor(3)
    biases = (
        _in_torch_order(call, bias, 2).chunk(2, 1)
        if bias is not None
        else (inner.new_zeros(directions, inner.shape[1]),) * 2
    )
    flat = [t[d] for d in range(directions) for t in (inner, hidden, *biases)]
    states = [
        found
        if (found := call.optional_tensor(i)) is not None
        else x.new_zeros(directions, x.shape[1], size)
        for i in ((5, 6) if kind == "LSTM" else (5,))
    ]
    if any(state.shape[-1] != size for state in states):
        raise Refusal(
            f"A recurrent layer must have states of {size} values, as its weight of the state has "
            f"columns, got {[state.shape[-1] for state in states]}. ONNX has no projection of "
            "states, and torch's exporter writes such a layer wrongly: bring the network as a "
            ".pt2 file."
        )
    x = x.flip(0) if direction == "reverse" else x
    settings = (flat, True, 1, 0.0, False, direction == "bidirectional", False)
    if kind == "LSTM":
        ways = 2 if direction == "bidirectional" else 1
        if misfit := find_lstm_misfit(x, states, flat, directions=ways):
            raise Refusal(f"An LSTM must have {misfit}. Export it again.")
        y, *last = torch.lstm(x, states, *settings)
    else:
        relu = "relu" in _named_activations(call)
        run = torch.gru if kind == "GRU" else torch.rnn_relu if relu else torch.rnn_tanh
        y, *last = run(x, states[0], *settings)
    y = y.flip(0) if direction == "reverse" else y
    # torch joins directions and features; ONNX has a separate axis for directions
    return y.unflatten(2, (directions, size)).transpose(1, 2), *last
