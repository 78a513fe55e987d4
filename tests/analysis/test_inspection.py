"""What is said of a network before anything runs."""

from analysis.inspection import inspect_network
from analysis.network import prepare_network
from tests.networks_kinds import IMAGE, Written, conv, head, random


def test_counts_are_those_of_the_network() -> None:
    scaled = Written(lambda m, x: m.net(x * m.gain), net=head(conv()), gain=random(3, 1, 1))
    found = inspect_network(prepare_network("scaled", scaled.eval(), IMAGE, "digest"))
    assert found.macs == 64 * 8 * 27 + 40
    assert found.encoded_weights == 8 * 27 + 40
    assert found.parameters == 3 + 8 * 27 + 8 + 40 + 5
    assert [one.tensor for one in found.float_weights] == ["gain"]
    assert dict(found.operators)["conv2d.default"] == 1
    assert [layer.weight_shape for layer in found.layers if layer.weight_shape] == [
        (8, 3, 3, 3), (5, 8),
    ]  # fmt: skip
    text = " ".join(found.report_sentences())
    assert "takes x 3x8x8 float32, any batch size, and returns 5." in text
    assert "gain (3 numbers" in text
