"""What a file says of a network's grids, in the network's own words."""

from dataclasses import dataclass, field

from quant.config import QuantConfig
from quant.encoding import Encoding


@dataclass(frozen=True, slots=True)
class EncodingTarget:
    """Which grid of the network a tensor of a file has.

    Attributes:
        site: the name of the site; empty where the network has no grid for the tensor.
        direct: whether the site's own value is meant, not one that the grid is passed on to.
        flipped: whether the file holds a weight with its axes the other way round; None unknown.
        folded: whether a batch norm of the file was folded into this weight.
        reason: why there is no grid.
    """

    site: str = ""
    direct: bool = True
    flipped: bool | None = None
    folded: bool = False
    reason: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Given:
    """The quantization that a file describes.

    Attributes:
        source: what to call the file.
        config: bits, symmetry and granularity of the file; what it does not cover stays float.
        grids: the file's own grids by site.
        uncovered: sites that the file has no grid for.
        unused: tensors of the file whose grid is used nowhere, and why.
        exact: tensors of 32 bits, such as biases, which are computed exactly here.
        text: the file itself, if it is one of encodings; empty if it is the network's own.
    """

    source: str
    config: QuantConfig
    grids: dict[str, Encoding]
    uncovered: tuple[str, ...] = ()
    unused: dict[str, str] = field(default_factory=dict)
    exact: int = 0
    text: str = ""

    def sentences(self) -> list[str]:
        """Return what was taken from the file and what was not, a sentence each."""
        rules = len(self.config.rules)
        beside = f"{rules} {'rule' if rules == 1 else 'rules'} beside its default"
        start = f"{len(self.grids)} encodings of {self.source} are used as they are"
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
