"""The passes towards a single spelling of a captured graph, in the order needed."""

from torch import fx

from quant.errors import CaptureError
from quant.graph.node_facts import facts_of_node
from quant.graph.operators import operator_name
from quant.graph.spelling.constants import draws_random_numbers, fold_stored_constants
from quant.graph.spelling.decomposed import spell_decomposed_operators
from quant.graph.spelling.edits import Draft
from quant.graph.spelling.embedding import spell_embeddings
from quant.graph.spelling.instance_norm import spell_instance_norms
from quant.graph.spelling.linear import spell_linear_layers
from quant.graph.spelling.precision import drop_casts_to_own_type, turn_to_float32
from quant.graph.spelling.products import spell_stored_products
from quant.graph.spelling.recurrent import spell_recurrent_layers

WIDENED = (
    "Half, bfloat16 or double precision inside the network became float32: the float run that all "
    "is compared with is one of float32."
)


def spell_graph(draft: Draft, *, narrowed: bool = False) -> tuple[str, ...]:
    """Rewrite a graph in place; return notes for people.

    `narrowed` says whether the network asked for another precision by autocast.

    Raises:
        CaptureError: the network draws random numbers.
    """
    draft.drop_unused_nodes()
    _refuse_random_nodes(draft.graph)
    widened = turn_to_float32(draft) or narrowed
    drop_casts_to_own_type(draft)
    spell_instance_norms(draft)
    spell_decomposed_operators(draft)
    spell_linear_layers(draft)
    fold_stored_constants(draft)
    spell_linear_layers(draft)
    spell_stored_products(draft)
    spell_embeddings(draft)
    spell_recurrent_layers(draft)
    draft.drop_unused_nodes()
    if not widened:
        return ()
    return (WIDENED,)


def _refuse_random_nodes(graph: fx.Graph) -> None:
    found = [
        node for node in graph.nodes if node.op == "call_function" and draws_random_numbers(node)
    ]
    if not found:
        return
    where = facts_of_node(found[0]).path or "its forward"
    raise CaptureError(
        "A network must give the same outputs for the same inputs; this one draws random numbers "
        f"({operator_name(found[0]).removeprefix('aten.').partition('.')[0]} in {where}), and they "
        "would count as quantization noise. Replace them by what they are in use: the mean of a "
        "variational auto-encoder, a mask that is passed as an input."
    )
