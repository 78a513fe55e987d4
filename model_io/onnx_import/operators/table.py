"""The one table of operators: what each computes, in torch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from model_io.onnx_import.program.call import Call
from model_io.onnx_import.program.values import Value

Result = Value | tuple[Value | None, ...]
Function = Callable[[Call], Result]


@dataclass(frozen=True)
class Operator:
    """How an operator of the standard (or one of our own) is computed.

    Attributes:
        run: on tensors; torch.export can trace it.
        known: on plain numbers, where all inputs are known; None where it has no such form.
        weights: names of the inputs that hold a layer's weights, by position; these become
    X
    """

    run: Function
    known: Function | None = None
    weights: dict[int, str] = field(default_factory=dict)
    settings: frozenset[int] = frozenset()


TABLE: dict[str, Operator] = {}


def operator(
    *names: str,
    known: Function | None = None,
    weights: Iterable[str] = (),
    settings: Iterable[int] = (),
) -> Callable[[Function], Function]:
    """Enter a function for operators; `weights` names inputs by position, "" for no weight."""

    def enter(run: Function) -> Function:
        roles = {index: role for index, role in enumerate(weights) if role}
        for name in names:
            if name in TABLE:
                raise ValueError(f"An operator must be entered once, got {name} again.")
            TABLE[name] = Operator(run, known, roles, frozenset(settings))
        return run

    return enter
