"""Instance norms, which decompositions write as batch norms of images joined with channels."""

import operator as operators
from dataclasses import replace

from torch import fx

from quant.errors import CaptureError
from quant.graph.node_facts import facts_of_node, shape_from_facts, write_node_facts
from quant.graph.operators import operator_name
from quant.graph.spelling.edits import Draft, aten

_OWN_STATISTICS = "aten._native_batch_norm_legit.no_stats"
_VIEWS = ("aten.view.default", "aten.reshape.default", "aten._unsafe_view.default")


def spell_instance_norms(draft: Draft) -> None:
    """Turn norms over (1, N C, ...) with the statistics of their input into instance norms.

    Raises:
        CaptureError: a norm takes the statistics of a batch.
    """
    for node in list(draft.graph.nodes):
        if operator_name(node) != _OWN_STATISTICS:
            continue
        if not _spell_instance_norm(draft, node):
            raise CaptureError(
                "A norm must not depend on the other images of a batch, got a batch norm without "
                "running statistics. Train it with running statistics, or use a group norm."
            )
    draft.graph.eliminate_dead_code()


def _spell_instance_norm(draft: Draft, node: fx.Node) -> bool:
    """Replace a norm and tell whether it is an instance norm."""
    joined, weight, bias, _, momentum, epsilon = node.args[:6]
    if not isinstance(joined, fx.Node) or operator_name(joined) not in _VIEWS:
        return False
    source, sizes = joined.args[:2]
    if not isinstance(source, fx.Node) or not isinstance(sizes, list | tuple) or sizes[0] != 1:
        return False
    shape = shape_from_facts(source)
    if len(shape) < 3 or tuple(sizes[2:]) != tuple(shape[2:]):
        return False
    results = [user for user in node.users if user.target is operators.getitem and user.users]
    if len(results) != 1 or results[0].args[1] != 0:
        return False
    scales = [_repeated_source(one) for one in (weight, bias)]
    if any(one is not None and shape_from_facts(one) != (shape[1],) for one in scales):
        return False
    given = (source, *scales, None, None, True, momentum, epsilon, False)
    new = draft.insert_call(node, aten.instance_norm.default, given, shape)
    path = facts_of_node(node).path
    write_node_facts(
        new, replace(facts_of_node(source), path=path, alone=facts_of_node(node).alone)
    )
    results[0].replace_all_uses_with(new)
    draft.graph.erase_node(results[0])
    return True


def _repeated_source(value: object) -> fx.Node | None:
    """Return the scales of the channels behind those of all images."""
    if not isinstance(value, fx.Node):
        return None
    repeated = operator_name(value) == "aten.repeat.default"
    return value.all_input_nodes[0] if repeated else value
