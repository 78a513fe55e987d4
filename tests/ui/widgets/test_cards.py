import pytest

from analysis.evaluation.measures import Interval
from ui.widgets.cards import change_text, interval_text, share_text


@pytest.mark.parametrize(
    ("value", "reference", "text"),
    [
        (2.0, 1.0, "+100 %"),
        (0.5, 1.0, "-50 %"),
        (1.0, 1.0, None),
        (0.0, 0.0, None),
        (3.0, 0.0, None),
        (0.0, 2.0, "-100 %"),
        (0.9999, 1.0, "-<0.1 %"),
        (1.0001, 1.0, "+<0.1 %"),
        (1.0006, 1.0, "+0.1 %"),
    ],
)
def test_a_change_is_told_in_percent_of_the_reference(
    value: float, reference: float, text: str | None
) -> None:
    assert change_text(value, reference) == text


def test_streamlit_colours_a_saving_by_its_sign() -> None:
    saving, cost = change_text(99.0, 100.0), change_text(101.0, 100.0)
    assert saving is not None
    assert cost is not None
    assert (saving[0], cost[0]) == ("-", "+")  # st.metric wants a hyphen, no minus sign


def test_shares_and_intervals() -> None:
    assert share_text(0.93456) == "93.46 %"
    assert interval_text(Interval(0.9, 0.955)) == "90.00 to 95.50 % (95 %)"
