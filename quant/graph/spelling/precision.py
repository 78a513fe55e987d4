"""Turn the real numbers of a network (half, bfloat16, double) into float32."""

from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from quant.graph.node_facts import facts_of_node, write_node_facts
from quant.graph.operators import aten_operator_names, operator_name
from quant.graph.spelling.edits import Draft

OTHER_REALS = (torch.float16, torch.bfloat16, torch.float64)
GUARDS = ("aten._assert_tensor_metadata.default", "aten._assert_scalar.default")
"""Checks that torch.export writes: of types that are other ones now, and of sizes."""


def turn_to_float32(draft: Draft) -> bool:
    """Turn stored tensors and named types into float32; return whether another type was found."""
    found = False
    for path, value in draft.root.items():
        if isinstance(value, Tensor) and value.dtype in OTHER_REALS:
            wide = value.detach().to(torch.float32)
            stored = nn.Parameter(wide, requires_grad=False)
            draft.root[path] = stored if isinstance(value, nn.Parameter) else wide
            # one number of double precision stands beside every float32 network
            found |= value.dtype is not torch.float64 or value.dim() > 0
    for node in list(draft.graph.nodes):
        if operator_name(node) in GUARDS:
            draft.graph.erase_node(node)
            continue
        found |= facts_of_node(node).kind in _NAMES
        args, kwargs = _float32_arguments(node.args), _float32_arguments(node.kwargs)
        if args != node.args or kwargs != node.kwargs:
            node.args, node.kwargs, found = args, kwargs, True
        if facts_of_node(node).kind in _NAMES:
            write_node_facts(node, replace(facts_of_node(node), kind="float32"))
    return found


_NAMES = {str(kind).removeprefix("torch.") for kind in OTHER_REALS}


def _float32_arguments(arguments: object) -> object:
    """Return the arguments with float32 in place of other real types."""
    if isinstance(arguments, torch.dtype):
        return torch.float32 if arguments in OTHER_REALS else arguments
    if isinstance(arguments, dict):
        return {key: _float32_arguments(value) for key, value in arguments.items()}
    if isinstance(arguments, tuple):
        return tuple(map(_float32_arguments, arguments))
    if isinstance(arguments, list) and not isinstance(arguments, fx.Node):
        return [_float32_arguments(item) for item in arguments]
    return arguments


def drop_casts_to_own_type(draft: Draft) -> None:
    """Remove casts to the type of another value where both are real: all real values are float32.

    `w.type_as(x)` would otherwise hide a weight behind an input.
    """
    for node in list(draft.graph.nodes):
        if operator_name(node) in _TO_ANOTHER and all(
            facts_of_node(source).real for source in node.all_input_nodes
        ):
            node.replace_all_uses_with(node.all_input_nodes[0])
            draft.graph.erase_node(node)


_TO_ANOTHER = aten_operator_names("type_as.default to.other")
