"""Repairs to try against a measured cause."""

from dataclasses import dataclass

from analysis.ranges.findings import MAX_CLIPPED_SHARE, Cause, ExaminedTensor
from analysis.sensitivity.sweep import Question
from quant.graph.layer_pairs import Pair
from quant.passes.absorb_bias import AbsorbBias
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.recipe import Recipe
from quant.simulation.plan import Side, Site
from quant.spec import Estimator, Granularity, SpecChange

ROUNDING_ITERATIONS = 400
NEXT_BITS = {2: 4, 3: 4, 4: 6, 5: 8, 6: 8, 7: 8}
MAX_BITS = 16


@dataclass(frozen=True, slots=True)
class Remedy:
    """A repair to try: changed encodings of the layer, or a recipe; `why` explains the benefit."""

    title: str
    why: str
    weight: SpecChange | None = None
    activation: SpecChange | None = None
    recipe: Recipe = ()

    @property
    def changes_encoding(self) -> bool:
        """Whether the repair changes the layer's configuration."""
        return not self.recipe


def remedies_for_cause(
    cause: Cause, site: Site, item: ExaminedTensor, pairs: tuple[Pair, ...]
) -> list[Remedy]:
    """Return the repairs to try against a cause, the most promising first.

    `pairs` are the layers between which equalization can rescale channels.
    """
    weight = site.side is Side.WEIGHTS
    equal = _equalization_remedies(site, pairs)
    finer = _finer_granularity_remedies(site) if weight else []
    ranges = _other_range_remedies(site, item)
    match cause:
        case Cause.CHANNELS:
            return [*equal, *finer] if weight else [*equal, *ranges]
        case Cause.OUTLIERS | Cause.CLIPPING | Cause.CODES:
            return [*ranges, *finer]
        case Cause.FEW_WEIGHTS:
            return [CORRECT, *finer]
        case Cause.SQNR:
            return [*equal, *finer, *ranges, *([ROUND, CORRECT] if weight else [])]


def more_bits_remedy(question: Question) -> Remedy | None:
    """Return the next larger width as a repair, or None at the widest."""
    bits = NEXT_BITS.get(question.bits, MAX_BITS)
    if bits <= question.bits:
        return None
    change = SpecChange(bits=bits)
    return Remedy(
        f"{bits} bits for this layer",
        "Every bit halves the step: about 6 dB.",
        weight=change if question.side.includes_role(Side.WEIGHTS) else None,
        activation=change if question.side.includes_role(Side.ACTIVATIONS) else None,
    )


CORRECT = Remedy(
    "Correct the bias",
    "Restores the mean that rounding moved; costs nothing at inference.",
    recipe=(CorrectBias(),),
)
ROUND = Remedy(
    "AdaRound",
    "Learns for each weight whether to round up or down.",
    recipe=(AdaRound(ROUNDING_ITERATIONS),),
)
PER_CHANNEL = Remedy(
    "A scale for each channel",
    "No channel shares the encoding of the widest channel.",
    weight=SpecChange(granularity=Granularity.PER_CHANNEL),
)


EQUALIZE = Remedy(
    "Equalize across layers",
    "Rescales channels between layers without changing the function.",
    recipe=(Equalize(),),
)
ABSORB = Remedy(
    "Equalize and absorb biases",
    "Rescales channels and moves high biases into the next layers.",
    recipe=(Equalize(), AbsorbBias()),
)
ASYMMETRIC = Remedy(
    "Asymmetric activations",
    "No code is spent on values that do not occur.",
    activation=SpecChange(symmetric=False),
)


def more_activation_bits(bits: int) -> Remedy:
    """Return a wider encoding of an activation as a repair."""
    change = SpecChange(bits=bits)
    return Remedy(f"{bits} bits for this layer", "Finer steps over all values.", activation=change)


def other_range(site: Site) -> Remedy:
    """Return another range estimator than the site's: least error, or no clipping."""
    by_error = site.spec.estimator is Estimator.MSE
    change = SpecChange(estimator=Estimator.MIN_MAX if by_error else Estimator.MSE)
    title = f"{'Min-max' if by_error else 'MSE'} range of the {site.side.noun}"
    why = (
        "Clips nothing; the least error of a tensor is not always the least harm."
        if by_error
        else "Gives up a few outliers for finer steps where most values lie."
    )
    if site.side is Side.WEIGHTS:
        return Remedy(title, why, weight=change)
    return Remedy(title, why, activation=change)


def _equalization_remedies(site: Site, pairs: tuple[Pair, ...]) -> list[Remedy]:
    """Return the equalization between the layer and its neighbours, if possible.

    Only the layer after an activation can absorb the activation's scale.
    """
    after = [pair.second for pair in pairs if pair.first == site.layer]
    before = [pair.first for pair in pairs if pair.second == site.layer]
    if site.side is Side.WEIGHTS and (before or after):
        names = " and ".join([*before, *after])
        why = f"Rescales channels between this layer and {names} without changing the function."
        return [Remedy("Equalize across layers", why, recipe=(Equalize(),))]
    if site.side is Side.ACTIVATIONS and after:
        why = f"Rescales the channels towards {after[0]} and moves high biases into {after[0]}."
        return [Remedy("Equalize and absorb biases", why, recipe=(Equalize(), AbsorbBias()))]
    return []


def _finer_granularity_remedies(site: Site) -> list[Remedy]:
    return [PER_CHANNEL] if site.spec.granularity is Granularity.PER_TENSOR else []


def _other_range_remedies(site: Site, item: ExaminedTensor) -> list[Remedy]:
    """Return the other range estimator: least error, or no clipping."""
    by_error = site.spec.estimator is Estimator.MSE
    if by_error and (item.fit is None or item.fit.clipped_share < MAX_CLIPPED_SHARE):
        return []
    return [other_range(site)]
