"""The causes of a diagnosis in words, by the side on which they stand."""

from analysis.diagnosis.causes.root_cause import RootCause, SiteCause
from analysis.diagnosis.flow.conclude import MOST_CAUSES, name_causes
from analysis.diagnosis.flow.contents import causes_by_side, causes_text
from analysis.diagnosis.remedies import Remedy
from quant.simulation.plan import Side

REMEDY = Remedy("Equalize", "Ranges become alike.")


def cause_at(number: int, side: Side, cause: RootCause, bits_lost: float = 1.0) -> SiteCause:
    return SiteCause(f"layer{number}", side, cause, "evidence", bits_lost, REMEDY)


def test_causes_are_told_by_side_the_most_harmful_side_first() -> None:
    found = name_causes(
        [
            cause_at(0, Side.ACTIVATIONS, RootCause.CLIPPED_TAIL, 2.0),
            cause_at(0, Side.WEIGHTS, RootCause.UNEQUAL_CHANNELS, 5.0),
            cause_at(1, Side.WEIGHTS, RootCause.UNEQUAL_CHANNELS, 4.0),
            cause_at(2, Side.WEIGHTS, RootCause.FEW_BITS, 3.0),
        ],
        (),
    )
    assert list(causes_by_side(found)) == [Side.WEIGHTS, Side.ACTIVATIONS]
    assert causes_text(found) == (
        "weights: unequal channel ranges in 2 layers, few bits in 1 layer; "
        "activations: clipped tail in 1 layer"
    )
    assert causes_text(()) == ""


def test_many_causes_on_one_side_do_not_hide_the_other_side() -> None:
    causes = [
        cause_at(number, Side.WEIGHTS, RootCause.UNEQUAL_CHANNELS, 9.0)
        for number in range(MOST_CAUSES + 5)
    ]
    causes.append(cause_at(0, Side.ACTIVATIONS, RootCause.CLIPPED_TAIL))
    by_side = causes_by_side(name_causes(causes, ()))
    assert len(by_side[Side.WEIGHTS]) == MOST_CAUSES
    assert len(by_side[Side.ACTIVATIONS]) == 1
