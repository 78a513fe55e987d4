"""The table of operators: the computation of every operator, in torch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from model_io.onnx_import.program.call import Call
from model_io.onnx_import.program.values import Value

Result = Value | tuple[Value | None, ...]
Function = Callable[[Call], Result]


@dataclass(frozen=True)
class Operator:
    """The computation of an operator of the standard, or of a QuantScope operator.

    Attributes:
        run: the computation on tensors; torch.export can trace the function.
        known: the computation on plain numbers, if the inputs are known; None without such a form.
        weights: names of the inputs with a layer's weights, by position; the module of the node
            holds the weights as parameters under the names.
        settings: positions of the inputs that are settings and become plain numbers.
    """

    run: Function
    known: Function | None = None
    weights: dict[int, str] = field(default_factory=dict)
    settings: frozenset[int] = frozenset()


TABLE: dict[str, Operator] = {}


def register_operator(
    *names: str,
    known: Function | None = None,
    weights: Iterable[str] = (),
    settings: Iterable[int] = (),
) -> Callable[[Function], Function]:
    """Register a function for operators; `weights` names inputs by position, "" for no weight."""

    def enter(run: Function) -> Function:
        roles = {index: role for index, role in enumerate(weights) if role}
        for name in names:
            if name in TABLE:
                raise ValueError(f"An operator must be entered once, got {name} again.")
            TABLE[name] = Operator(run, known, roles, frozenset(settings))
        return run

    return enter
