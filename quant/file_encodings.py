"""Encodings of a network read from a file, in the network's own words."""

from dataclasses import dataclass, field

from quant.config import QuantConfig
from quant.encoding import Encoding


@dataclass(frozen=True, slots=True)
class EncodingTarget:
    """The site of the network for a tensor of a file.

    Attributes:
        site: the name of the site; empty if the network has no encoding for the tensor.
        direct: whether the tensor is the site's value; False for a value with a passed-on encoding.
        flipped: whether the file holds a weight with axes in reverse order; None if unknown.
        folded: whether a batch norm of the file was folded into the weight.
        reason: why the network has no encoding for the tensor.
    """

    site: str = ""
    direct: bool = True
    flipped: bool | None = None
    folded: bool = False
    reason: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Given:
    """The quantization described by a file.

    Attributes:
        source: name of the file for people.
        config: bits, symmetry and granularity of the file; uncovered tensors stay float.
        encodings: the file's encodings by site.
        uncovered: sites without an encoding in the file.
        unused: tensors of the file with an unused encoding, and why.
        exact: tensors of 32 bits, such as biases, computed exactly here.
        text: the text of a file of encodings; empty for the network's own file.
    """

    source: str
    config: QuantConfig
    encodings: dict[str, Encoding]
    uncovered: tuple[str, ...] = ()
    unused: dict[str, str] = field(default_factory=dict)
    exact: int = 0
    text: str = ""

    def sentences(self) -> list[str]:
        """Return a sentence for what was taken from the file, and for what was left."""
        rules = len(self.config.rules)
        beside = f"{rules} {'rule' if rules == 1 else 'rules'} beside its default"
        start = f"{len(self.encodings)} encodings of {self.source} are used as they are"
        found = [f"{start}; the configuration has {beside}."]
        if self.uncovered:
            found.append(
                f"Not covered by the file, and left float: {_list_in_words(self.uncovered)}."
            )
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.unused.items():
            by_reason.setdefault(reason, []).append(name)
        for reason, names in by_reason.items():
            found.append(f"In the file, and used nowhere, since {reason}: {_list_in_words(names)}.")
        if self.exact:
            found.append(f"{self.exact} tensors of 32 bits, such as biases, are exact here.")
        return found


MOST_LISTED = 8


def _list_in_words(names: tuple[str, ...] | list[str]) -> str:
    more = len(names) - MOST_LISTED
    return "; ".join(names[:MOST_LISTED]) + (f"; and {more} more" if more > 0 else "")
