"""Check the graph's JSON of a `.pt2`: every string must have a harmless form.

torch 2.13 evaluates or resolves strings while loading a program: `expr_str` and symbol names
(sympy.sympify, Python's eval), `guards_code` (exec), names of inputs (written into generated
Python), `target` (getattr from the module torch, so that `torch.os.system` resolves), the context
in `in_spec` and `out_spec` (imports a module), `as_operator`. The rules below give the allowed form
of each string; a string without a rule is refused.
"""

import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass

from model_io.errors import ModelError, UnsafeFileError
from model_io.pt2.allowed_operators import REGIONS, is_known_operator, operator_advice
from model_io.pt2.shape_expression import is_shape_expression
from plain_files.read_json import JsonError, JsonObject, parse_json

_TREE = re.compile(r"builtins\.(tuple|list|dict)")
_FLAT_NAMES = re.compile(r'null|\[("\w+"(, ?"\w+")*)?\]')
_MAX_DEPTH = 40
_NUMBER_WORDS = ("Infinity", "-Infinity", "NaN")


def _is_python_name(text: str) -> bool:
    """Whether `text` is a Python name without leading double underscore, and no keyword."""
    return (
        text.isascii() and text.isidentifier() and not keyword.iskeyword(text) and text[:2] != "__"
    )


def _is_module_path(text: str) -> bool:
    """Whether `text` is a path of a parameter or module, such as blocks.0.conv.weight.

    Names of ONNX nodes contain slashes. torch writes a path between double quotes into source code,
    so quotes and backslashes are forbidden.
    """
    return re.fullmatch(r"[\w/:;@-]+(\.[\w/:;@-]+)*", text, re.ASCII) is not None


def _is_tree_text(text: str) -> bool:
    """Whether `text` describes nested tuples, lists and dicts, and no other type."""
    try:
        spec = parse_json(text)
    except JsonError:
        return False
    return isinstance(spec, list) and len(spec) == 2 and spec[0] == 1 and _is_tree_node(spec[1])


def _is_tree_node(node: object, depth: int = 0) -> bool:
    """Check one node of a tree: type, context, children."""
    if (
        not isinstance(node, dict)
        or node.keys() != {"type", "context", "children_spec"}
        or depth > 20
    ):
        return False
    kind, context, children = node["type"], node["context"], node["children_spec"]
    if kind is None and context is None:
        return bool(children == [])
    if not (isinstance(kind, str) and isinstance(context, str) and isinstance(children, list)):
        return False
    return (
        _TREE.fullmatch(kind) is not None
        and _FLAT_NAMES.fullmatch(context) is not None
        and all(_is_tree_node(child, depth + 1) for child in children)
    )


_RULES: dict[str, tuple[Callable[[str], bool], str]] = {
    "target": (is_known_operator, "an operator torch.ops.aten.* or plain arithmetic"),
    "expr_str": (is_shape_expression, "integer arithmetic over shape symbols"),
    "in_spec": (_is_tree_text, "tuples, lists and dicts of tensors"),
    "out_spec": (_is_tree_text, "tuples, lists and dicts of tensors"),
    "parameter_name": (_is_module_path, "a path of names"),
    "buffer_name": (_is_module_path, "a path of names"),
    "tensor_constant_name": (_is_module_path, "a path of names"),
    "fqn": (lambda text: text == "" or _is_module_path(text), "a path of names"),
    "name": (_is_python_name, "a name"),
    "as_name": (_is_python_name, "a name"),
    "forward_arg_names": (_is_python_name, "names"),
    "type": (lambda text: text == "cpu", "the device cpu"),
    "path_name": (
        lambda text: re.fullmatch(r"(weight|tensor)_[0-9]{1,6}", text) is not None,
        "raw tensor data",
    ),
    "as_float": (lambda text: text in _NUMBER_WORDS, "a number"),
    "as_string": (
        lambda text: re.fullmatch(r"[\w ,.>-]{0,200}", text, re.ASCII) is not None,
        "a word",
    ),
    "as_strings": (lambda text: re.fullmatch(r"\w{0,100}", text, re.ASCII) is not None, "words"),
}
_KEYED_BY_NAME = {
    "tensor_values",
    "sym_int_values",
    "sym_bool_values",
    "sym_float_values",
    "config",
}
_REFUSED = {
    "as_graph": "a graph inside the graph (control flow that depends on values)",
    "as_operator": "an operator as an argument",
    "as_custom_obj": "a custom object",
    "custom_obj": "a custom object",
    "class_fqn": "a custom object",
    "token": "an operator with side effects",
    "as_string_to_argument": "a dictionary as an argument",
}


def check_program_values(value: object, key: str = "", depth: int = 0) -> None:
    """Raise UnsafeFileError at the first string in `value`, at any depth, that breaks a rule."""
    if depth > _MAX_DEPTH:
        raise _broken_rule_error(key, f"nested at most {_MAX_DEPTH} deep", "more")
    if isinstance(value, dict):
        _check_json_object(value, key, depth)
    elif isinstance(value, list):
        for inner in value:
            check_program_values(inner, key, depth + 1)
    elif isinstance(value, str):
        check, meaning = _RULES.get(key, (_refuse_text, "no text"))
        if not check(value):
            if key == "target" and (advice := operator_advice(value)):
                raise UnsafeFileError(advice)
            raise _broken_rule_error(key, meaning, value)


def _check_json_object(value: JsonObject, key: str, depth: int) -> None:
    """Check the keys of an object, then the values."""
    if key in _RULES:
        raise _broken_rule_error(key, _RULES[key][1], "an object")
    is_allowed = {"config": _is_module_path, "range_constraints": _is_shape_symbol}.get(
        key, _is_python_name
    )
    for name, inner in value.items():
        if name in _REFUSED and inner not in ({}, [], None):
            raise UnsafeFileError(
                f"The graph must hold tensors and plain operators only, got {_REFUSED[name]}. "
                "Export the network without it."
            )
        if not is_allowed(name):
            raise _broken_rule_error(key or "the program", "names", name)
        # The keys of the fields below are names from the network, and can equal a field's name.
        check_program_values(inner, "" if key in _KEYED_BY_NAME else name, depth + 1)


def _refuse_text(_: str) -> bool:
    """Refuse text in a place without text."""
    return False


def _is_shape_symbol(text: str) -> bool:
    """Whether `text` names one shape symbol, such as s77."""
    return re.fullmatch(r"[su][0-9]{1,6}", text) is not None


def _broken_rule_error(key: str, meaning: str, got: str) -> UnsafeFileError:
    """Return the error for one string."""
    return UnsafeFileError(
        f"{key} in the graph must be {meaning}, got {got[:80]!r}. Nothing of the file was run; "
        "export the network again with torch.export.save, on the CPU, in eval mode."
    )


def parse_json_object(text: bytes) -> JsonObject:
    """Return a JSON object.

    Raises:
        ModelError: not a JSON object.
    """
    try:
        value = parse_json(text)
    except JsonError:
        value = None
    if not isinstance(value, dict):
        raise ModelError(
            "A .pt2 file's descriptions must be JSON objects, got something else. Export the "
            "network again with torch 2.13."
        )
    return value


def check_program_json(text: bytes) -> JsonObject:
    """Return the checked JSON of the program without the parts that loading does not need.

    Each node's metadata keep the module path and the function's name, because layer names come from
    both. Guards, source lines and file paths are dropped: guards are code, paths tell about the
    sender's machine.

    Raises:
        ModelError: the text is not the JSON of an exported program in eval mode.
        UnsafeFileError: a string could act while torch loads the program.
    """
    program = parse_json_object(text)
    try:
        graph_module, versions = program["graph_module"], _version_numbers(program)
        regions = _detach_regions(graph_module["graph"]["nodes"])
        nodes = [*graph_module["graph"]["nodes"], *(n for r in regions for n in r.region_nodes)]
        metadata = [_printable_metadata(node.pop("metadata")) for node in nodes]
        graph_module["metadata"] = {}
        trained = next(
            (
                node
                for node in nodes
                if any(map(_switches_train_mode, node["inputs"]))
                != (node["target"] == _OWN_STATISTICS)
            ),
            None,
        )
        checked = {
            "graph_module": graph_module,
            "range_constraints": program["range_constraints"],
        }
    except (KeyError, TypeError, AttributeError, ValueError, IndexError):
        raise ModelError(
            "The graph must be the JSON that torch.export.save writes, got another. Export the "
            "network again with torch 2.13."
        ) from None
    if trained is not None:
        raise ModelError(_train_mode_advice(trained))
    check_program_values(checked)
    for region in regions:
        check_program_values(region.graph)
    for region in regions:
        region.restore_graph()
    for node, kept in zip(nodes, metadata, strict=True):
        node["metadata"] = kept
    return checked | versions | {"verifiers": ["TRAINING"], "guards_code": []}


@dataclass(frozen=True, eq=False)
class _Region:
    """A graph that a node runs under torch.no_grad or autocast.

    `holder` is the argument with the graph; `node` is the node, whose arguments have no names.
    """

    holder: JsonObject
    graph: JsonObject
    node: JsonObject
    target: str

    @property
    def region_nodes(self) -> list[JsonObject]:
        """The nodes of the graph."""
        found: list[JsonObject] = self.graph["graph"]["nodes"]
        return found

    def restore_graph(self) -> None:
        """Give the graph back to the node."""
        self.holder.clear()
        self.holder["as_graph"] = self.graph
        self.node["target"] = self.target
        for entry in self.node["inputs"]:
            entry["name"] = ""


def _detach_regions(nodes: list[JsonObject], depth: int = 0) -> list[_Region]:
    """Detach the graphs of regions from the nodes; each graph is checked like the main graph."""
    found: list[_Region] = []
    for node in nodes if depth < _MAX_DEPTH // 4 else ():
        for entry in node["inputs"] if node["target"] in REGIONS else ():
            inner = entry["arg"].get("as_graph")
            if inner is None:
                continue
            found.append(_Region(entry["arg"], inner, node, node["target"]))
            entry["arg"].clear()
            entry["arg"]["as_none"] = True
            node["target"] = "torch.ops.aten.alias.default"  # while the rest is checked
            for one in node["inputs"]:
                if one["name"] != "":
                    raise _broken_rule_error("name", "nothing", str(one["name"]))
                one["name"] = "unnamed"
            found += _detach_regions(inner["graph"]["nodes"], depth + 1)
    return found


_OWN_STATISTICS = "torch.ops.aten._native_batch_norm_legit.no_stats"
"""What decompositions make of instance norms, always in train mode: torch crashes on it in eval
mode. Capture refuses what is no instance norm."""


def _train_mode_advice(node: JsonObject) -> str:
    """Return the sentence on an operator exported in train mode."""
    given = {entry["name"]: entry["arg"] for entry in node["inputs"]}
    if "as_none" in given.get("running_mean", {}):
        return (
            "A norm must not depend on the other images of a batch, got a batch norm without "
            "running statistics (track_running_stats=False), which takes the batch's own in eval "
            "mode too. Train it with running statistics, or use a group norm."
        )
    advice = "Call .eval() before torch.export.export"
    if "dropout" in node["target"]:
        advice += ", and F.dropout with training=self.training"
    return (
        "The network must be exported in eval mode, got one in train mode: its batch norm or "
        f"dropout changes at every call. {advice}."
    )


def _switches_train_mode(entry: JsonObject) -> bool:
    """Whether an operator's argument switches train mode on (of batch norm, of dropout)."""
    return entry["name"] in ("training", "train") and entry["arg"] == {"as_bool": True}


def _version_numbers(program: JsonObject) -> JsonObject:
    """Return the version numbers of the program, as numbers."""
    schema = program["schema_version"]
    return {
        "opset_version": {"aten": int(program["opset_version"]["aten"])},
        "schema_version": {"major": int(schema["major"]), "minor": int(schema["minor"])},
        "torch_version": "2.13.0",
    }


def _printable_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Return the metadata for layer names if printable: data, never code."""
    kept = {key: metadata[key] for key in ("nn_module_stack", "torch_fn") if key in metadata}
    return {
        key: text
        for key, text in kept.items()
        if isinstance(text, str) and text.isprintable() and len(text) <= 20_000
    }
