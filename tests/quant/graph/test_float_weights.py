"""Nothing stays float in silence."""

from torch import nn

from quant.graph.capture import capture_graph
from quant.graph.float_weights import (
    COMPUTED,
    FACTOR,
    OPERAND,
    find_float_weights,
    summarize_float_weights,
)
from tests.networks_kinds import Written, conv, head, random


def float_weights(model: nn.Module, *shape: int) -> dict[str, str]:
    """The reasons by tensor."""
    return {
        one.tensor: one.reason for one in find_float_weights(capture_graph(model.eval(), shape))
    }


def test_weights_and_biases_of_layers_are_none() -> None:
    assert float_weights(head(conv()), 3, 8, 8) == {}


def test_a_factor_of_channels_is_told() -> None:
    scaled = Written(lambda m, x: m.net(x) * m.gamma, net=nn.Linear(4, 3), gamma=random(3))
    assert float_weights(scaled, 4) == {"gamma": FACTOR}


def test_a_stored_query_is_told() -> None:
    pooled = Written(
        lambda m, x: nn.functional.scaled_dot_product_attention(m.q.expand(x.shape[0], 1, 4), x, x),
        q=random(1, 1, 4),
    )
    (reason,) = float_weights(pooled, 6, 4).values()
    assert reason in (OPERAND, COMPUTED)


def test_sentences_name_the_first_tensors_and_count_the_rest() -> None:
    parts = {f"g{i}": random(4) for i in range(5)}
    many = Written(lambda m, x: x * m.g0 * m.g1 * m.g2 * m.g3 * m.g4, **parts)
    (sentence,) = summarize_float_weights(find_float_weights(capture_graph(many.eval(), (4,))))
    assert sentence.startswith("g0, g1, g2 and 2 more (20 numbers) stay float")
