"""More bits for few layers: the first and the head, and the layers with the largest losses."""

from collections.abc import Iterable, Sequence

from analysis.diagnosis.flow.contents import LayerLoss
from analysis.runs.experiment import Experiment
from analysis.study import Study
from quant.assignment import Part, bits_by_part, config_with_bits
from quant.config import QuantConfig
from quant.simulation.plan import Side
from quant.spec import FLOAT_BITS

FEW = 0.25
"""Up to this share of the layers of the guilty sides are few (our choice)."""


def next_bits(bits: int) -> int:
    """Return the next width of machines: 8, then 16.

    Example:
        >>> next_bits(4), next_bits(8)
        (8, 16)
    """
    return 8 if bits < 8 else 16


def guilty_parts(study: Study, config: QuantConfig, sides: Iterable[Side]) -> dict[Part, int]:
    """Return the bits of the quantized layers on the given sides."""
    wanted = set(sides)
    return {
        (name, side): bits
        for (name, side), bits in bits_by_part(config, study.network.graph).items()
        if side in wanted and bits != FLOAT_BITS
    }


def give_more_bits(
    study: Study, experiment: Experiment, layers: Sequence[LayerLoss], sides: Iterable[Side]
) -> list[tuple[str, Experiment]]:
    """Return experiments with more bits in the 1, 2, 4 ... worst layers, and their titles."""
    bits = guilty_parts(study, experiment.config, sides)
    ranked: list[Part] = [
        (one.layer, one.side) for one in layers if bits.get((one.layer, one.side), 16) < 16
    ]
    most = max(1, int(FEW * len(bits)))
    counts, count = [], 1
    while count < min(most, len(ranked)):
        counts.append(count)
        count *= 2
    if ranked:
        counts.append(min(most, len(ranked)))
    found = []
    for number in counts:
        wider = {one: next_bits(bits[one]) for one in ranked[:number]}
        config = config_with_bits(experiment.config, study.network.graph, wider)
        widths = " or ".join(str(width) for width in sorted(set(wider.values())))
        title = f"{widths} bits in the {_worst_layers(number)}"
        found.append((title, experiment.with_config(config)))
    return found


def edge_layer_rules(
    study: Study, experiment: Experiment, sides: Iterable[Side]
) -> list[tuple[str, Experiment]]:
    """Return experiments with more bits, or float, in the first layer and the head, with titles.

    The first layer and the head are the first and the last layer with weights: few MACs as a rule,
    and the layers that the white paper (4.2) and most papers keep wider.
    """
    bits = guilty_parts(study, experiment.config, sides)
    names = [layer.name for layer in study.network.graph.layers if layer.weight is not None]
    if len(names) < 3:
        return []
    first, head = names[0], names[-1]
    wanted = (
        ("the first layer", (first,), False),
        ("the head", (head,), False),
        ("the first layer and the head", (first, head), False),
        ("the first layer and the head", (first, head), True),
    )
    found = []
    for words, layers, floating in wanted:
        narrow = {part: width for part, width in bits.items() if part[0] in layers and width < 16}
        if not narrow:
            continue
        wider = {part: FLOAT_BITS if floating else next_bits(b) for part, b in narrow.items()}
        config = config_with_bits(experiment.config, study.network.graph, wider)
        widths = " or ".join(str(width) for width in sorted(set(wider.values())))
        title = f"Float for {words}" if floating else f"{widths} bits for {words}"
        found.append((title, experiment.with_config(config)))
    return found


def wider_everywhere(
    study: Study, experiment: Experiment, sides: Iterable[Side]
) -> tuple[str, Experiment | None]:
    """Return the experiment with more bits in every layer of the sides; None at the widest."""
    wanted = tuple(sides)
    bits = guilty_parts(study, experiment.config, wanted)
    wider = {one: next_bits(width) for one, width in bits.items() if width < 16}
    if not wider:
        return "", None
    config = config_with_bits(experiment.config, study.network.graph, wider)
    widths = " or ".join(str(width) for width in sorted(set(wider.values())))
    return f"{widths} bits for all {' and '.join(wanted)}", experiment.with_config(config)


def _worst_layers(count: int) -> str:
    return "worst layer" if count == 1 else f"{count} worst layers"
