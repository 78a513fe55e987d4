from figures import takeaway
from figures.configure.channel_widths import widths_by_layer


def test_every_layer_s_bar_is_its_channels() -> None:
    figure = widths_by_layer({"a": (1, 1, 2, 8), "b": (), "c": (2, 2)})
    assert [bar.name for bar in figure.data] == ["1 bit", "2 bit", "8 bit"]
    assert [list(bar.x) for bar in figure.data] == [[50, 0], [25, 100], [25, 0]]
    assert [list(bar.customdata) for bar in figure.data] == [[2, 0], [1, 2], [1, 0]]
    assert takeaway(figure) == "3 of 6 channels have 2 bits"
