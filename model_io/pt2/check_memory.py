"""Run a program on tensors without memory: no value may be too large, no operator read outside."""

from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import Tensor, fx, nn

from model_io.errors import UnsafeFileError
from model_io.input_specs import InputSpec
from model_io.lstm_sizes import find_lstm_misfit
from model_io.onnx_import.program.estimate_memory import bytes_of_results, without_memory
from quant.graph.operators import operator_name

MAX_VALUE_BYTES = 1024**3
_DETACHING = ("aten.detach.default", "aten.detach_.default")
_BAGS = ("aten.embedding_bag.default", "aten.embedding_bag.padding_idx",
         "aten._embedding_bag.default")  # fmt: skip


def check_memory(module: nn.Module, inputs: Sequence[InputSpec], batch: int | None) -> None:
    """Check the values of a program for one batch; `batch` is None for a free batch.

    A program that needs the numbers of a value, which tensors without memory lack, is checked up to
    that place.

    Raises:
        UnsafeFileError: a value larger than `MAX_VALUE_BYTES`, or an operator that would read
            outside a tensor.
    """
    if not isinstance(module, fx.GraphModule):
        return
    _check_bags(module)
    try:
        with torch.no_grad(), without_memory():
            check = _SizeCheck(module)
            check.extra_traceback = False
            check.run(*(one.zero_batch(batch or 1) for one in inputs))
    except UnsafeFileError:
        raise
    except Exception:  # noqa: BLE001, S110  the first run with numbers says what is wrong
        pass


class _SizeCheck(fx.Interpreter):
    """Runs a graph and checks the results of each node."""

    def run_node(self, n: fx.Node) -> object:
        """Run a node."""
        name = operator_name(n)
        if name in _DETACHING:  # tensors without memory are detached already
            return self.env[n.all_input_nodes[0]]
        if name == "aten._weight_norm.default":
            _check_weight_norm(*self.fetch_args_kwargs_from_env(n)[0])
        elif name == "aten.lstm.input":
            _check_lstm(*self.fetch_args_kwargs_from_env(n)[0])
        value = super().run_node(n)
        size = bytes_of_results(value if isinstance(value, list | tuple) else (value,))
        if size > MAX_VALUE_BYTES:
            raise UnsafeFileError(
                f"A value of the network must hold at most {MAX_VALUE_BYTES} bytes, got {size} "
                f"from {n.name}. Export a network of a smaller input."
            )
        return value


def _check_bags(module: fx.GraphModule) -> None:
    """Check where bags begin: from a negative place, torch reads outside the places."""
    for node in module.graph.nodes:
        offsets = node.args[2] if operator_name(node) in _BAGS else None
        if not isinstance(offsets, fx.Node) or operator_name(offsets) == "aten.arange.start_step":
            continue
        held = attrgetter(str(offsets.target))(module) if offsets.op == "get_attr" else None
        if not isinstance(held, Tensor) or bool((held < 0).any()):
            raise UnsafeFileError(
                "The bags of an EmbeddingBag must begin at stored places from 0, got others in "
                f"{node.name}. Export it with inputs (N, L), a row for each bag."
            )


def _check_weight_norm(direction: Tensor, length: Tensor, axis: int = 0) -> None:
    """Check that a norm has a length for each row of a direction of shape (N, ...)."""
    if axis not in (0, direction.dim() - 1) or length.numel() != direction.shape[axis]:
        raise UnsafeFileError(
            f"A weight norm must have a length for each of {tuple(direction.shape)}'s rows, got "
            f"{tuple(length.shape)}. Export the network again."
        )


def _check_lstm(
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    has_biases: bool,
    layers: int,
    _dropout: float,
    _train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> None:
    """Check the sizes of an LSTM's tensors; torch does not."""
    misfit = find_lstm_misfit(
        x,
        states,
        weights,
        layers=layers,
        directions=2 if bidirectional else 1,
        has_biases=has_biases,
        batch_first=batch_first,
    )
    if misfit:
        raise UnsafeFileError(f"An LSTM must have {misfit}. Export the network again.")
