"""Typed facts about a node of a captured graph, stored in `node.meta`."""

from dataclasses import dataclass, replace

from torch import fx

_KEY = "quantscope"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Facts about a node, written by capture, by the masks and by the quantizers.

    Attributes:
        path: dotted path of the innermost module around the operation; empty at the root.
        alone: True if the module is only the operation (torch.nn.Conv2d, an ONNX node).
        shape: shape of the value for one image (batch 1); None for other values than tensors.
        real: True if the value holds real numbers; None for other values than tensors.
        activation: True if the value is real, depends on the input and is not a mask.
        masking: True if the node adds a mask before a softmax and changes values in no other way.
        title: name of a network input, in the spelling of the file or of the forward function.
        kind: element type of a network input, a key of `quant.inputs.KINDS`.
        below: number of rows of the embedding that reads a network input; None if unknown.
        site: name of the site whose quantizer the node calls; empty for other nodes.
        complex: True if the value holds complex numbers, which get no encoding.
        free: the axis of the value whose size depends on the batch; None without a free axis.
    """

    path: str = ""
    alone: bool = False
    shape: tuple[int, ...] | None = None
    real: bool | None = None
    activation: bool = False
    masking: bool = False
    title: str = ""
    kind: str = ""
    below: int | None = None
    site: str = ""
    complex: bool = False
    free: int | None = None


NO_FACTS = NodeFacts()
"""Facts of a node before anything is known."""


def facts_of_node(node: fx.Node) -> NodeFacts:
    """Return the facts of a node; default facts if nothing was written yet.

    Example:
        >>> facts_of_node(fx.Graph().placeholder("x")).activation
        False
    """
    facts = node.meta.get(_KEY, NO_FACTS)
    return facts if isinstance(facts, NodeFacts) else NO_FACTS


def shape_from_facts(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of the node's value for a batch of 1; empty for values but tensors."""
    return facts_of_node(node).shape or ()


def write_node_facts(node: fx.Node, facts: NodeFacts) -> None:
    """Replace the facts of a node."""
    node.meta[_KEY] = facts


def mark_activation(node: fx.Node, *, activation: bool) -> None:
    """Set the fact `activation` of a node and leave the other facts."""
    write_node_facts(node, replace(facts_of_node(node), activation=activation))
