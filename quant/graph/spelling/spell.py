"""The passes that give a captured graph one spelling, in the order that they need."""

from torch import fx

from quant.errors import CaptureError
from quant.graph.node_facts import facts_of
from quant.graph.operators import operator
from quant.graph.spelling.constants import draws, fold_constants
from quant.graph.spelling.decomposed import spell_decomposed
from quant.graph.spelling.edits import Draft
from quant.graph.spelling.embedding import spell_embedding
from quant.graph.spelling.linear import spell_linear
from quant.graph.spelling.precision import to_float32
from quant.graph.spelling.products import spell_products
from quant.graph.spelling.recurrent import spell_recurrent

WIDENED = (
    "Half, bfloat16 or double precision inside the network became float32: the float run that all "
    "is compared with is one of float32."
)


def spell(draft: Draft, *, narrowed: bool = False) -> tuple[str, ...]:
    """Rewrite a graph in place; return what there is to say of it.

    `narrowed` says whether the network asked for another precision by autocast.

    Raises:
        CaptureError: the network draws random numbers.
    """
    draft.drop_unused()
    _refuse_random(draft.graph)
    widened = to_float32(draft) or narrowed
    spell_decomposed(draft)
    spell_linear(draft)
    fold_constants(draft)
    spell_linear(draft)
    spell_products(draft)
    spell_embedding(draft)
    spell_recurrent(draft)
    draft.drop_unused()
    if not widened:
        return ()
    return (WIDENED,)


def _refuse_random(graph: fx.Graph) -> None:
    found = [node for node in graph.nodes if node.op == "call_function" and draws(node)]
    if not found:
        return
    where = facts_of(found[0]).path or "its forward"
    raise CaptureError(
        "A network must give the same outputs for the same inputs; this one draws random numbers "
        f"({operator(found[0]).removeprefix('aten.').partition('.')[0]} in {where}), and they "
        "would count as quantization noise. Replace them by what they are in use: the mean of a "
        "variational auto-encoder, a mask that is passed as an input."
    )
