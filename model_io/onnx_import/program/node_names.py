"""Names of nodes that people know: those of modules, where a file has made-up names for nodes."""

import re
from collections.abc import Container

from onnx import NodeProto

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""The key under which torch's exporter notes the modules around a node, the outermost first."""
_QUOTED = re.compile(r"'([^']*)'")
_LONGEST_NOTE = 4000
_PARAMETERS = ("weight", "bias", "kernel")


def module_name_of_node(node: NodeProto, weights: Container[str]) -> str:
    """Return the module path of a node, such as "layer1.0.conv1"; the node's name without one.

    A name that a person or a module gave stays. Made-up names such as node_Conv_1463 give way to
    the path in the name of the node's weight, then to the modules that torch noted.

    Args:
        node: a node of the file.
        weights: the names of the stored tensors.
    """
    if not _is_made_up(node):
        return node.name
    for name in map(str, node.input[1:]):
        path, _, parameter = name.rpartition(".")
        if name in weights and path and parameter in _PARAMETERS:
            return path
    if scope := _innermost_module(node):
        return f"{scope}.{node.op_type.lower()}"
    return node.name


def _is_made_up(node: NodeProto) -> bool:
    """Whether an exporter numbered the node instead of naming it."""
    if not node.name:
        return True
    if re.fullmatch(rf"(node_)?{re.escape(node.op_type)}_?\d*", node.name, re.IGNORECASE):
        return True
    return bool(re.fullmatch(r"node_\w+", node.name))


def _innermost_module(node: NodeProto) -> str:
    """Return the module that torch noted around a node; empty without a note."""
    for note in node.metadata_props:
        if note.key == NAME_SCOPES:
            # the last of the list is the node itself
            scopes = _QUOTED.findall(note.value[:_LONGEST_NOTE])[:-1]
            return next((scope for scope in reversed(scopes) if scope), "")
    return ""
