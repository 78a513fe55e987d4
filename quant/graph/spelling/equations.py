"""Products of two tensors as equations over the letters of their axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters

from torch import fx
from torch.fx.node import Argument

from quant.graph.node_facts import shape_from_facts


@dataclass(frozen=True, slots=True)
class Equation:
    """The axes of a product by letters: of the first operand, of the second, of the result."""

    first: str
    second: str
    result: str

    def exchange_operands(self) -> "Equation":
        """Return the equation with exchanged operands."""
        return Equation(self.second, self.first, self.result)


def equation_of_matmul(operands: Sequence[Argument]) -> Equation | None:
    """Return the equation of a matrix product, or of a matrix and a vector in either order."""
    shapes = [shape_from_facts(o) if isinstance(o, fx.Node) else () for o in operands]
    left, right = map(len, shapes)
    if left > 1 and right == 1:
        rows = ascii_letters[1:left]
        return Equation(f"{rows}a", "a", rows)
    if left == 1 and right > 1:
        stack = ascii_letters[2:right]
        return Equation("a", f"{stack}ab", f"{stack}b")
    if left < 2 or right < 2:
        return None
    batch = ascii_letters[3 : 3 + max(left, right) - 2]
    first, second = batch[len(batch) - left + 2 :], batch[len(batch) - right + 2 :]
    return Equation(f"{first}ab", f"{second}bc", f"{batch}ac")


def equation_of_einsum(text: str, operands: Sequence[Argument]) -> Equation | None:
    """Return an einsum's equation with letters for an ellipsis, and with the result written out."""
    inputs, _, result = text.replace(" ", "").partition("->")
    terms = inputs.split(",")
    counts = []
    for term, operand in zip(terms, operands, strict=True):
        if "..." in term and not isinstance(operand, fx.Node):
            return None
        rank = len(shape_from_facts(operand)) if isinstance(operand, fx.Node) else 0
        counts.append(rank - len(term) + 3 if "..." in term else 0)
    unused = [letter for letter in ascii_letters if letter not in text]
    hidden = "".join(unused[: max(counts)])
    terms = [  # the axes of an ellipsis end at the same place in both operands
        term.replace("...", hidden[len(hidden) - count :])
        for term, count in zip(terms, counts, strict=True)
    ]
    if "->" not in text:
        joined = "".join(terms)
        once = {letter for letter in joined if joined.count(letter) == 1}
        result = "..." + "".join(sorted(once - set(hidden)))
    result = result.replace("...", hidden)
    return None if "." in "".join((*terms, result)) else Equation(terms[0], terms[1], result)
