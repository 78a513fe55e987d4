"""Record the ATen calls of a forward: operator, arguments, and the shapes of the results.

In inference mode torch hands composite operators, such as conv2d or linear, whole to a dispatch
mode; with gradients it would hand over their parts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from quant.graph.tracing.static_network import StaticNetwork
from quant.inputs import Inputs, tensors_of_batch

_SAME = {
    torch.ops.aten.lift_fresh.default,
    torch.ops.aten.detach.default,
    torch.ops.aten.detach_.default,
    torch.ops.aten.alias.default,
}
"""Operators that hand a tensor on: for a network without gradients the identity."""
_PLACE = "quantscope_place"
_BY_VALUE = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


class NotStaticError(Exception):
    """The calls depend on values or on the batch; torch.export must trace the network."""


@dataclass(frozen=True, slots=True)
class Result:
    """Stands in arguments for a tensor that an earlier call gave: the call, and a place in it."""

    call: int
    place: int | None = None


@dataclass(frozen=True, slots=True)
class FromInput:
    """Stands in arguments for an input of the network."""

    position: int


@dataclass(frozen=True, slots=True)
class Stored:
    """Stands in arguments for a parameter, a buffer or a constant."""

    name: str


@dataclass(frozen=True, slots=True)
class TensorForm:
    """Type and shape of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(eq=False, slots=True)
class RecordedCall:
    """A call: operator, arguments with `Result`, `FromInput` and `Stored`, results, module's path.

    `forms` holds the form of the result, or a form for each result of an operator with several.
    """

    operator: Callable[..., object]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    forms: TensorForm | tuple[TensorForm, ...]
    path: str = ""


@dataclass(eq=False, slots=True)
class Recording:
    """The calls of a forward, the outputs, and the tensors by name."""

    calls: list[RecordedCall] = field(default_factory=list)
    outputs: tuple[object, ...] = ()
    stored: dict[str, Tensor] = field(default_factory=dict)
    values: tuple[Tensor, ...] = ()


def record_network(network: StaticNetwork, inputs: Inputs) -> Recording:
    """Run a network on inputs (N, ...) and return the calls.

    Raises:
        NotStaticError: a call gives a size or a number that depends on values.
    """
    recorder = _Recorder(network)
    tensors = tensors_of_batch(inputs)
    with torch.inference_mode():
        for position, tensor in enumerate(tensors):
            recorder.mark(tensor, FromInput(position))
        with recorder:
            outputs = network.run_by_operation(tensors, recorder.leave)
    found = recorder.recording
    found.outputs = tuple(recorder.place_of(output) for output in outputs)
    found.values = outputs
    return found


class _Recorder(TorchDispatchMode):
    """Records the calls inside the block."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recording = Recording()
        self._own, self._open = object(), 0
        self._kept: list[Tensor] = []  # so that no other tensor gets the id of a known one
        self._names = {id(value): name for name, value in network.named_parameters()}
        self._names |= {id(value): name for name, value in network.named_buffers()}
        self._held = {**dict(network.named_parameters()), **dict(network.named_buffers())}

    def leave(self, path: str) -> None:
        """Note the module of the calls since the last module."""
        calls = self.recording.calls
        for call in calls[self._open :]:
            call.path = path
        self._open = len(calls)

    def mark(self, tensor: Tensor, place: object) -> None:
        """Note on a tensor of any shape where it comes from; torch keeps the note."""
        vars(tensor)[_PLACE] = (self._own, place)

    def place_of(self, tensor: Tensor) -> object:
        """Return where a tensor of any shape comes from; an unknown tensor is a constant."""
        name = self._names.get(id(tensor))
        if name is None:
            owner, place = vars(tensor).get(_PLACE, (None, None))
            if owner is self._own:
                return place
            name = f"_constant_{len(self.recording.stored)}"
            self._names[id(tensor)], self._held[name] = name, tensor
        self.recording.stored.setdefault(name, self._held[name])
        return Stored(name)

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Run and record a call."""
        del types
        if any(tag in _BY_VALUE for tag in func.tags):
            raise NotStaticError
        kwargs = kwargs or {}
        result: object = func(*args, **kwargs)
        if func in _SAME and isinstance(result, Tensor):
            self._hand_on(self.place_of(cast(Tensor, args[0])), result)
            return result
        if args and result is args[0] and not func._schema.is_mutable:  # noqa: SLF001  no public way
            return result  # a copy that was not needed
        self._add_call(func, args, kwargs, result)
        return result

    def _hand_on(self, place: object, result: Tensor) -> None:
        if isinstance(place, Stored):
            self._names[id(result)] = place.name
            self._kept.append(result)
        else:
            self.mark(result, place)

    def _add_call(
        self, func: OpOverload, args: tuple[object, ...], kwargs: dict[str, object], result: object
    ) -> None:
        number = len(self.recording.calls)
        plain = tuple(map(self._plain, args))
        keywords = {key: self._plain(value) for key, value in kwargs.items()}
        if isinstance(result, Tensor):
            forms: TensorForm | tuple[TensorForm, ...] = _form_of(result)
            self.mark(result, Result(number))
        elif isinstance(result, tuple | list) and all(isinstance(r, Tensor) for r in result):
            forms = tuple(map(_form_of, result))
            for place, one in enumerate(result):
                self.mark(one, Result(number, place))
        else:
            raise NotStaticError
        self.recording.calls.append(RecordedCall(func, plain, keywords, forms))

    def _plain(self, value: object) -> object:
        """Return arguments with places where tensors stood."""
        if isinstance(value, Tensor):
            return self.place_of(value)
        if isinstance(value, tuple | list):
            return type(value)(self._plain(item) for item in value)
        return value


def _form_of(tensor: Tensor) -> TensorForm:
    return TensorForm(tensor.dtype, tuple(tensor.shape))
