"""The arguments of a forward from inputs by name: positional, by keyword, in a dict or a tuple."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter

from torch import Tensor, nn
from torch.utils import _pytree as trees

from quant.errors import CaptureError
from quant.inputs import Input


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a forward with an index of an input in place of each tensor.

    Attributes:
        args: positional arguments.
        kwargs: arguments by keyword.
        whole: every argument by the name that torch.export uses for dynamic shapes.
    """

    args: tuple[object, ...]
    kwargs: dict[str, object]
    whole: dict[str, object]

    @property
    def order(self) -> list[int]:
        """The inputs in the order in which torch.export lists them."""
        found: list[int] = trees.tree_leaves((self.args, self.kwargs))
        return found

    def fill(self, tensors: Sequence[Tensor]) -> tuple[tuple[object, ...], dict[str, object]]:
        """Return the arguments with tensors of shape (N, ...) in place of the indices."""
        args: tuple[object, ...]
        kwargs: dict[str, object]
        args, kwargs = trees.tree_map(tensors.__getitem__, (self.args, self.kwargs))
        return args, kwargs

    def shapes(self, batch: Mapping[int, object]) -> dict[str, object]:
        """Return the dynamic shapes for torch.export: `batch` for every tensor."""
        found: dict[str, object] = trees.tree_map(lambda _: batch, self.whole)
        return found


def arrange_arguments(model: nn.Module, inputs: Sequence[Input]) -> Arguments:
    """Return how a network's forward takes the inputs.

    Inputs go by position, unless all bear the names of arguments. The name "batch.ids" is the entry
    "ids" of a dict that the argument "batch" takes, "pair.0" the first entry of a tuple.

    Raises:
        CaptureError: the forward needs other arguments; the sentence names both.
    """
    takes = inspect.signature(model.forward).parameters
    named = _group_by_argument([one.name for one in inputs])
    by_name = all(
        name in takes and takes[name].kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        for name in named
    )
    args: tuple[object, ...] = tuple(range(len(inputs)))
    kwargs: dict[str, object] = {}
    if by_name:
        order = [name for name, one in takes.items() if one.kind is not Parameter.KEYWORD_ONLY]
        positional = order[: sum(name in named for name in order)]
        if not all(name in named for name in positional):  # one with a default lies between
            positional = []
        args = tuple(named[name] for name in positional)
        kwargs = {n: named[n] for n in takes if n in named and n not in positional}
    try:
        bound = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise CaptureError(
            f"The inputs must be what the network's forward takes, ({', '.join(takes)}); got "
            f"{', '.join(one.name for one in inputs)} ({error}). Name every tensor, an entry of a "
            "dict or a tuple as argument.entry, such as --input-shape 'batch.ids=int:16'; give a "
            "number that is no tensor a default in forward, or wrap the network in a module that "
            "sets it."
        ) from None
    return Arguments(args, kwargs, dict(bound))


def _group_by_argument(names: Sequence[str]) -> dict[str, object]:
    """Return the index of each input by argument, in a dict or a tuple for names with a dot."""
    found: dict[str, object] = {}
    for index, name in enumerate(names):
        argument, dot, entry = name.partition(".")
        held = found.setdefault(argument, {}) if dot else None
        if isinstance(held, dict):
            held[entry] = index
        else:
            found[name] = index
    return {name: _as_tuple(value) for name, value in found.items()}


def _as_tuple(value: object) -> object:
    """Return the entries "0", "1", ... of a dict as a tuple; other values unchanged."""
    if not isinstance(value, dict):
        return value
    places = [str(place) for place in range(len(value))]
    return tuple(value[place] for place in places) if set(value) == set(places) else value
