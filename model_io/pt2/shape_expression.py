"""Computed sizes of a `.pt2`: arithmetic over shape symbols only.

torch passes the text of a size to sympy, and sympy evaluates the text as Python. Therefore the
parser below checks the text first: a part must be a number, a symbol, or an operation that
torch.export writes.
"""

import ast
import re

LONGEST = 500
LARGEST_POWER = 8
"""The highest power that a size may have in all; without a bound sympy could compute forever."""
_SYMBOL = re.compile(r"[su]\d{1,6}", re.ASCII)
_ASSUMPTIONS = {"positive", "nonnegative", "integer", "finite"}
_FUNCTIONS = frozenset(
    {
        "Add",
        "Mul",
        "Max",
        "Min",
        "Mod",
        "PythonMod",
        "FloorDiv",
        "CeilDiv",
        "CleanDiv",
        "Integer",
        "Rational",
        "ModularIndexing",
        "IntTrueDiv",
        "FloatTrueDiv",
        "ToFloat",
        "TruncToInt",
        "CeilToInt",
        "FloorToInt",
    }
)
_POWERS = ("Pow", "PowByNatural")
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Div, ast.Mod)


def is_shape_expression(text: str) -> bool:
    """Whether a text is arithmetic over shape symbols, such as "Mul(Integer(4), Symbol('s77'))"."""
    if len(text) > LONGEST or re.search(r"\d[A-Za-z_]", text):
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return _is_safe_expression(tree.body, LARGEST_POWER)


def _is_safe_expression(node: ast.expr, power: int) -> bool:
    """Whether a part is arithmetic with powers that multiply to at most `power`."""
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    if isinstance(node, ast.Name):
        return _SYMBOL.fullmatch(node.id) is not None
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub | ast.UAdd) and _is_safe_expression(node.operand, power)
    if isinstance(node, ast.BinOp):
        parts = (node.left, node.right)
        return isinstance(node.op, _OPERATORS) and all(
            _is_safe_expression(part, power) for part in parts
        )
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    if node.func.id == "Symbol":
        return _is_symbol_call(node)
    if node.keywords:
        return False
    if node.func.id in _POWERS:
        return _is_small_power(node, power)
    return node.func.id in _FUNCTIONS and all(
        _is_safe_expression(part, power) for part in node.args
    )


def _is_symbol_call(call: ast.Call) -> bool:
    """Whether the call is Symbol('s77', positive=True, integer=True)."""
    names = [part.value for part in call.args if isinstance(part, ast.Constant)]
    named = len(call.args) == 1 and len(names) == 1 and isinstance(names[0], str)
    assumed = all(
        word.arg in _ASSUMPTIONS
        and isinstance(word.value, ast.Constant)
        and isinstance(word.value.value, bool)
        for word in call.keywords
    )
    return named and assumed and _SYMBOL.fullmatch(str(names[0])) is not None


def _is_small_power(call: ast.Call, power: int) -> bool:
    """Whether the call is a small integer power, such as Pow(Symbol('s77'), Integer(-1))."""
    if len(call.args) != 2:
        return False
    exponent = _literal_integer(call.args[1])
    if exponent is None or abs(exponent) > power:
        return False
    return _is_safe_expression(call.args[0], power // max(1, abs(exponent)))


def _literal_integer(node: ast.expr) -> int | None:
    """Return a literal integer, also as Integer(-1); None for other nodes."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id != "Integer" or len(node.args) != 1:
            return None
        return _literal_integer(node.args[0])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        found = _literal_integer(node.operand)
        return None if found is None else -found
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return None
