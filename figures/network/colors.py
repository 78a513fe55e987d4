"""Colourings of a network's layers by measured quantities."""

import math
from collections.abc import Callable, Mapping, Sequence

import plotly.graph_objects as go

from analysis.network_blocks import FoldedNetwork, unfolded_network
from analysis.network_layout import LayerPlace
from analysis.ranges.distributions import format_ratio
from analysis.sensitivity.present_bits import PresentLoss
from analysis.sensitivity.ranking import HarmMetric
from figures.network.graph import ColorScale, network_graph
from figures.sensitivity.present_bits import present_loss_sentence
from figures.style.layout import count_word, fewest_for_half
from figures.style.palette import AFTER, BEFORE, COMPONENTS, FLOAT, WEIGHT, bits_scale
from figures.style.units import format_bits, format_share

PALE = "#C9CED6"
ONE = {"do": "does", "hold": "holds", "take": "takes", "move": "moves"}
FLOAT_PLACE = 5.0  # log2 of 32 bits
MOST_DB = 60.0  # beyond 60 dB an error is negligible
Links = Sequence[tuple[str, str]]
LOSS_UNITS = {
    HarmMetric.ACCURACY: "points of accuracy",
    HarmMetric.AGREEMENT: "points of answers",
    HarmMetric.KL: "nats of divergence",
}


def colored_by_share(
    places: Sequence[LayerPlace],
    amounts: Mapping[str, float],
    what: str,
    verb: str,
    picked: str | None = None,
    folded: FoldedNetwork | None = None,
) -> go.Figure:
    """Return the network coloured by the layers' shares of a sum, such as "MACs" ("do").

    A block of `folded` has the sum of its layers.
    """
    total = max(sum(amounts.values()), 1e-30)
    shares = {name: amount / total for name, amount in amounts.items() if amount > 0}
    network = folded or unfolded_network(places)
    drawn = _join_values(network, shares, sum)
    texts = {name: f"{format_share(share)} of the {what}" for name, share in drawn.items()}
    most = 100 * max(drawn.values(), default=1.0)
    scale = ColorScale(f"% of the {what}", [[0, PALE], [1, _share_color(what)]], 0.0, most)
    few = fewest_for_half(amounts) if shares else []
    layers = sum(1 for place in places if place.sources)
    title = f"{count_word(len(few))} of {layers} layers {verb} half of the {what}"
    if len(few) == 1:
        title = f"One layer, {few[0]}, {ONE[verb]} half of the {what}"
    values = {name: 100 * share for name, share in drawn.items()}
    return _draw(network, values, texts, scale, title, picked)


def _join_values(
    network: FoldedNetwork, values: Mapping[str, float], join: Callable[[Sequence[float]], float]
) -> dict[str, float]:
    """Return the value of each node: a block has the joined values of its layers."""
    found = {}
    for place in network.places:
        layers = network.members.get(place.layer, (place.layer,))
        known = [values[layer] for layer in layers if layer in values]
        if known:
            found[place.layer] = join(known)
    return found


def _draw(
    network: FoldedNetwork,
    values: Mapping[str, float],
    texts: Mapping[str, str],
    scale: ColorScale,
    title: str,
    picked: str | None = None,
) -> go.Figure:
    """Return the drawing of blocks and layers; a block's text tells how many layers it holds."""
    told = dict(texts)
    for name, layers in network.members.items():
        size = f"{len(layers)} layers"
        told[name] = f"{size}, {texts[name]}" if name in texts else size
    ring = None if picked is None else network.node_of(picked)
    return network_graph(network.places, values, told, scale, title, ring)


def _share_color(what: str) -> str:
    return {"parameters": WEIGHT, "energy": COMPONENTS["dram_pj"]}.get(what, COMPONENTS["mac_pj"])


def colored_by_bits(
    places: Sequence[LayerPlace],
    bits: Mapping[str, int],
    what: str,
    picked: str | None = None,
    folded: FoldedNetwork | None = None,
) -> go.Figure:
    """Return the network coloured by the bits of the layers' `what`, such as "weights".

    A block of `folded` has the fewest bits of its layers.
    """
    end = 3 / (FLOAT_PLACE - 1)  # the position of 16 bits
    stops = [[float(place) * end, color] for place, color in bits_scale()]
    scale = ColorScale(
        f"Bits of {what}",
        [*stops, [end, FLOAT], [1, FLOAT]],
        1.0,
        FLOAT_PLACE,
        {1.0: "2", 2.0: "4", 3.0: "8", 4.0: "16", FLOAT_PLACE: "float"},
    )
    network = folded or unfolded_network(places)
    fewest, most = _join_values(network, bits, min), _join_values(network, bits, max)
    texts = {name: f"{what}: {_bits_range(few, most[name])}" for name, few in fewest.items()}
    values = {name: math.log2(width) for name, width in fewest.items()}
    return _draw(network, values, texts, scale, _bits_title(bits, what), picked)


def _bits_range(fewest: float, most: float) -> str:
    if fewest == most:
        return format_bits(fewest)
    return f"{format_bits(fewest)} to {format_bits(most)}"


def _bits_title(bits: Mapping[str, int], what: str) -> str:
    widths = sorted(set(bits.values()))
    if not widths:
        return f"No layer has {what}"
    if len(widths) == 1:
        return f"All {len(bits)} layers with {what} have them in {format_bits(widths[0])}"
    fewest = sum(1 for width in bits.values() if width == widths[0])
    return (
        f"{count_word(fewest)} of {len(bits)} layers have {what} in {format_bits(widths[0])}, "
        f"the others in up to {format_bits(widths[-1])}"
    )


def equalized_pairs(
    places: Sequence[LayerPlace], spreads: Mapping[str, float], links: Links
) -> go.Figure:
    """Return the network with an arc for each pair, coloured by the remaining channel spread.

    `spreads` holds a layer's widest channel range over the median range, after equalization.
    """
    texts = {
        name: f"widest channel {format_ratio(s)} times the median" for name, s in spreads.items()
    }
    values = {name: math.log10(max(spread, 1.0)) for name, spread in spreads.items()}
    high = max([1.0, *values.values()])
    powers = range(math.ceil(high) + 1)
    scale = ColorScale(
        "Widest channel / median",
        [[0, PALE], [0.5, BEFORE], [1, AFTER]],
        0.0,
        high,
        {float(power): str(10**power) for power in powers if power <= high},
    )
    joined = {name for link in links for name in link}
    pairs = "pair joins" if len(links) == 1 else "pairs join"
    title = f"{count_word(len(links))} {pairs} {len(joined)} of the {len(spreads)} layers"
    return network_graph(places, values, texts, scale, f"{title} with weights", links=links)


def colored_by_sqnr(
    places: Sequence[LayerPlace],
    sqnr_db: Mapping[str, float],
    run: str,
    picked: str | None = None,
    folded: FoldedNetwork | None = None,
) -> go.Figure:
    """Return the network coloured by the SQNR in dB of each layer's output in a run.

    A block of `folded` has the SQNR of its noisiest layer.
    """
    finite = {name: decibels for name, decibels in sqnr_db.items() if math.isfinite(decibels)}
    network = folded or unfolded_network(places)
    drawn = _join_values(network, finite, min)
    texts = {name: f"SQNR {decibels:.1f} dB" for name, decibels in drawn.items()}
    scale = ColorScale("SQNR (dB), higher is better", bits_scale(), 0.0, MOST_DB)
    if not finite:
        return _draw(network, {}, texts, scale, f"No layer of {run} makes an error", picked)
    worst = min(finite, key=finite.__getitem__)
    title = f"{worst} is the noisiest layer of {run}: {finite[worst]:.1f} dB"
    return _draw(network, drawn, texts, scale, title, picked)


def colored_by_loss(
    places: Sequence[LayerPlace],
    loss: PresentLoss,
    bits: str,
    picked: str | None = None,
    folded: FoldedNetwork | None = None,
) -> go.Figure:
    """Return the network coloured by what each layer alone loses at the present bits.

    `bits` names the present bits. A block of `folded` has the sum of its layers.
    """
    network = folded or unfolded_network(places)
    losses = {one.layer: max(one.total, 0.0) for one in loss.layers}
    drawn = _join_values(network, losses, sum)
    unit = LOSS_UNITS[loss.metric]
    texts = {name: f"{value:.3g} {unit}" for name, value in drawn.items()}
    most = max(drawn.values(), default=0.0) or 1.0
    scale = ColorScale(unit.capitalize(), [[0, PALE], [1, AFTER]], 0.0, most)
    return _draw(network, drawn, texts, scale, present_loss_sentence(loss, bits), picked)
