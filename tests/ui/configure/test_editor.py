from dataclasses import replace
from typing import Any

import pytest

from accelerator.machine import load_preset
from analysis.cost.estimate import estimate_config_cost
from analysis.network import Network, prepare_network
from figures.style.units import format_share
from quant.config import QuantConfig, Rule, uniform_config
from quant.errors import ConfigError
from quant.spec import Estimator, Granularity, SpecChange
from tests.networks import SMALL
from ui.configure.editor import apply_row_edits, describe_rule
from ui.configure.presets import PRESETS
from ui.widgets.tables import BIT_CHOICES, config_table, layers_without_choice


@pytest.fixture(scope="module")
def network() -> Network:
    case = SMALL["kitchen"]
    return prepare_network("kitchen", case.model(), case.shape, "digest", None)


def names(network: Network) -> list[str]:
    return [layer.name for layer in network.graph.layers]


def edit(network: Network, config: QuantConfig, edits: dict[int, dict[str, Any]]) -> QuantConfig:
    return apply_row_edits(config, network.graph.layers, edits)


def test_an_edited_cell_becomes_a_rule_for_its_layer(network: Network) -> None:
    row = names(network).index("conv2")
    config = edit(network, uniform_config(8, 8), {row: {"weight_bits": 4}})
    assert config.rules == (Rule("conv2", SpecChange(bits=4)),)
    chosen = config.resolve_layers(network.graph.layers)
    widths = {name: chosen[name].weight.bits for name in chosen}
    assert widths.pop("conv2") == 4
    assert set(widths.values()) == {8}


def test_every_column_reaches_its_field(network: Network) -> None:
    row = names(network).index("linear")
    config = edit(
        network,
        uniform_config(8, 8),
        {
            row: {
                "weight_bits": 5, "granularity": "per-tensor", "weight_symmetric": False,
                "weight_estimator": "percentile", "activation_bits": 12,
                "activation_symmetric": True, "activation_estimator": "cross-entropy",
            }
        },
    )  # fmt: skip
    chosen = config.resolve_layers(network.graph.layers)["linear"]
    assert (chosen.weight.bits, chosen.weight.granularity) == (5, Granularity.PER_TENSOR)
    assert (chosen.weight.symmetric, chosen.weight.estimator) == (False, Estimator.PERCENTILE)
    assert (chosen.activation.bits, chosen.activation.symmetric) == (12, True)
    assert chosen.activation.estimator is Estimator.CROSS_ENTROPY


def test_edits_that_the_configuration_holds_already_add_nothing(network: Network) -> None:
    """The table sends all edits since it was drawn first, not only the newest."""
    conv1, conv2 = names(network).index("conv1"), names(network).index("conv2")
    once = edit(network, uniform_config(8, 8), {conv1: {"weight_bits": 4}})
    twice = edit(network, once, {conv1: {"weight_bits": 4}, conv2: {"weight_bits": 6}})
    assert [rule.select for rule in twice.rules] == ["conv1", "conv2"]
    back = edit(network, twice, {conv1: {"weight_bits": 8}, conv2: {"weight_bits": 6}})
    chosen = back.resolve_layers(network.graph.layers)
    assert (chosen["conv1"].weight.bits, chosen["conv2"].weight.bits) == (8, 6)


def test_a_tick_is_no_edit(network: Network) -> None:
    config = uniform_config(8, 8)
    assert edit(network, config, {0: {"select": True}, 1: {"select": True}}) == config


def test_a_weight_cannot_be_set_where_there_is_none(network: Network) -> None:
    row = next(n for n, layer in enumerate(network.graph.layers) if layer.weight is None)
    with pytest.raises(ConfigError, match="has none"):
        edit(network, uniform_config(8, 8), {row: {"weight_bits": 4}})


def test_a_cell_cannot_be_emptied(network: Network) -> None:
    row = names(network).index("conv1")
    with pytest.raises(ConfigError, match="conv1 must hold a value"):
        edit(network, uniform_config(8, 8), {row: {"weight_bits": None}})


def test_a_value_out_of_bounds_is_refused(network: Network) -> None:
    with pytest.raises(ConfigError, match="17"):
        edit(network, uniform_config(8, 8), {names(network).index("conv1"): {"weight_bits": 17}})


def test_an_estimator_that_weights_do_not_have_is_refused(network: Network) -> None:
    row = names(network).index("conv1")
    with pytest.raises(ConfigError, match="batch-norm"):
        edit(network, uniform_config(8, 8), {row: {"weight_estimator": "batch-norm"}})


def test_rules_are_told_in_words() -> None:
    assert describe_rule(Rule("*", SpecChange(bits=4), SpecChange(symmetric=True))) == (
        "weights: bits 4; activations: symmetric True"
    )
    assert describe_rule(Rule("*")) == "nothing"


def test_presets_fit_every_network(network: Network) -> None:
    for preset in PRESETS.values():
        chosen = preset.resolve_layers(network.graph.layers)
        assert {chosen[name].weight.bits for name in chosen} <= set(BIT_CHOICES)


def test_the_table_shows_each_layer_with_its_choice_and_its_cost(network: Network) -> None:
    config = QuantConfig(uniform_config(4, 8).default, (Rule("linear", SpecChange(bits=16)),))
    chosen = config.resolve_layers(network.graph.layers)
    report = estimate_config_cost(network, config, load_preset("edge_systolic_8b"))
    table = config_table(network.graph.layers, chosen, report, {"max_pool": "conv2"})
    rows = {row.layer: row for row in table.itertuples()}
    assert list(rows) == names(network)
    assert (rows["conv1"].weight_bits, rows["linear"].weight_bits) == (4, 16)
    assert rows["conv1"].granularity == "per-channel"
    without = next(layer.name for layer in network.graph.layers if layer.weight is None)
    assert not isinstance(rows[without].granularity, str)
    pooling = sum(found.energy_pj for found in report.layers if found.layer == "max_pool2d")
    assert table["energy"].sum() == pytest.approx(100 * (1 - pooling / report.energy_pj))
    assert not table["select"].any()
    assert rows["conv1"].effective == "W8 A8"  # the machine multiplies 8 bits whatever is asked
    # 16 bits are cut into two parts of 8, and each costs a pass
    assert rows["linear"].effective == "W8 A8, 2 passes"
    told = layers_without_choice(network.graph.layers, report)
    assert "max_pool2d" in told
    assert format_share(pooling / report.energy_pj) in told
    assert layers_without_choice((), replace(report, layers=())) == ""


def effective(network: Network, machine: str, config: QuantConfig) -> str:
    layers = network.graph.layers
    report = estimate_config_cost(network, config, load_preset(machine))
    table = config_table(layers, config.resolve_layers(layers), report, {}).set_index("layer")
    found = str(table.loc["conv2", "effective"])
    passes = next(layer.passes for layer in report.layers if layer.layer == "conv2")
    assert ("passes" in found) == (passes > 1 and found != "on host")
    return found


def test_the_table_shows_the_passes_that_wide_operands_take(network: Network) -> None:
    assert effective(network, "edge_systolic_8b", uniform_config(16, 16)) == "W8 A8, 4 passes"
    assert effective(network, "ethos_u55_128_like", uniform_config(16, 16)) == "W8 A16, 2 passes"
    assert effective(network, "horowitz45_generic", uniform_config(16, 16)) == "W16 A16"


def test_the_table_shows_what_a_machine_cannot_do(network: Network) -> None:
    assert effective(network, "edge_systolic_8b", uniform_config(32, 32)) == "on host"
    assert effective(network, "horowitz45_generic", uniform_config(32, 32)) == "float"
