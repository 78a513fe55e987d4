"""Answers made by hand: what the figures and the measures of harm are tested on."""

from dataclasses import replace

from analysis.evaluation.measures import Interval
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep, View
from quant.config import uniform_config
from quant.simulation.plan import Side

LAYERS = ("stem", "a<b>", "middle", "late", "head")


def score(
    layer: str,
    drop: float | None,
    *,
    bits: int = 4,
    side: Side = Side.WEIGHTS,
    view: View = View.ONLY,
    sqnr: float = 20.0,
    half: float = 0.02,
    depth: Depth = Depth.EXACT,
) -> CellScore:
    """An answer on 100 images whose interval reaches `half` to both sides."""
    exact = depth is Depth.EXACT
    labelled = drop is not None and exact
    agreement = 1 - max(drop or 0.0, 0.0) if exact else None
    return CellScore(
        question=Question(layer, bits, side, view),
        depth=depth,
        images=100,
        sqnr_db=sqnr,
        kl=max(drop or 0.0, 0.0) / 2,
        agreement=agreement,
        accuracy_drop=drop if labelled else None,
        agreement_ci95=Interval(max(0.0, agreement - half), min(1.0, agreement + half / 2))
        if agreement is not None
        else None,
        accuracy_drop_ci95=Interval(drop - half, drop + half) if labelled and drop is not None else
        None,
    )  # fmt: skip


def answers(
    drops: dict[str, float | None], *, view: View = View.ONLY, whole: float | None = None,
    depth: Depth = Depth.EXACT, side: Side = Side.WEIGHTS, bits: tuple[int, ...] = (4,),
) -> Sensitivity:  # fmt: skip
    """A sweep's answers: SQNR falls as the drop grows."""
    scores = tuple(
        score(
            layer, drop, bits=width, side=side, view=view, depth=depth,
            sqnr=30.0 - 100 * max(drop or 0.0, 0.0),
        )
        for layer, drop in drops.items() for width in bits
    )  # fmt: skip
    wholes = tuple(score("", whole, bits=width, side=side, view=view, sqnr=3.0) for width in bits)
    return Sensitivity(
        sweep=Sweep(uniform_config(8, 8), bits=bits, sides=(side,), view=view),
        depth=depth,
        images=100,
        float_top1=0.9,
        scores=scores,
        whole=() if whole is None else wholes,
    )


GUILTY = answers({"stem": 0.4, "a<b>": 0.01, "middle": 0.0, "late": -0.01, "head": 0.02})


def together(*found: Sensitivity) -> Sensitivity:
    """Several sides in one."""
    sides = tuple(side for item in found for side in item.sweep.sides)
    return replace(
        found[0], sweep=replace(found[0].sweep, sides=sides),
        scores=tuple(s for item in found for s in item.scores),
        whole=tuple(s for item in found for s in item.whole),
    )  # fmt: skip
