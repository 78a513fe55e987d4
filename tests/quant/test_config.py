"""The wish for a whole model: rules in order, selectors."""

from dataclasses import dataclass, replace

import pytest

from quant.config import (
    LayerConfig,
    QuantConfig,
    Rule,
    uniform_config,
)
from quant.errors import ConfigError
from quant.spec import Estimator, Granularity, QuantSpec, ScaleKind, SpecChange


@dataclass(frozen=True)
class Stub:
    name: str
    kind: str


LAYERS = (
    Stub("input", "input"),
    Stub("stem", "conv"),
    Stub("blocks[0].expand", "conv"),
    Stub("blocks[0].dw", "depthwise"),
    Stub("blocks[0].add", "add"),
    Stub("blocks[1].dw", "depthwise"),
    Stub("head", "linear"),
    Stub("softmax", "activation"),
)


def bits(n: int) -> SpecChange:
    return SpecChange(bits=n)


def weight_bits(*rules: Rule) -> dict[str, int]:
    resolved = QuantConfig(rules=rules).resolve_layers(LAYERS)
    return {name: resolved[name].weight.bits for name in resolved}


def test_without_rules_every_layer_takes_the_default() -> None:
    resolved = QuantConfig().resolve_layers(LAYERS)
    assert list(resolved) == [layer.name for layer in LAYERS]
    assert {resolved[name] for name in resolved} == {LayerConfig()}
    assert LayerConfig().weight == QuantSpec(8, symmetric=True, granularity=Granularity.PER_CHANNEL)
    assert LayerConfig().activation == QuantSpec(8, symmetric=False)


@pytest.mark.parametrize(
    ("select", "wanted"),
    [
        ("stem", {"stem"}),
        ("kind:depthwise", {"blocks[0].dw", "blocks[1].dw"}),
        ("first", {"stem"}),
        ("last", {"head"}),
        ("input", {"input"}),
        ("blocks[0].*", {"blocks[0].expand", "blocks[0].dw", "blocks[0].add"}),
        ("blocks[?].dw", {"blocks[0].dw", "blocks[1].dw"}),
        ("blocks[1].dw", {"blocks[1].dw"}),
        ("*", {layer.name for layer in LAYERS}),
        ("Stem", set()),
        ("kind:dw", set()),
    ],
)
def test_a_selector_matches_by_name_pattern_kind_or_place(select: str, wanted: set[str]) -> None:
    assert Rule(select).matched_layers(LAYERS) == wanted


def test_a_later_rule_wins_over_an_earlier_one_field_by_field() -> None:
    rules = (
        Rule("*", weight=SpecChange(bits=4, symmetric=False)),
        Rule("kind:depthwise", weight=bits(6)),
        Rule("blocks[1].*", weight=bits(7)),
    )
    chosen = QuantConfig(rules=rules).resolve_layers(LAYERS)
    assert chosen["stem"].weight.bits == 4
    assert chosen["blocks[0].dw"].weight.bits == 6
    assert chosen["blocks[1].dw"].weight.bits == 7
    assert not chosen["blocks[1].dw"].weight.symmetric  # of the first rule
    assert weight_bits(*reversed(rules))["blocks[1].dw"] == 4


def test_a_rule_changes_only_what_it_sets() -> None:
    change = SpecChange(scale=ScaleKind.POWER_OF_TWO)
    chosen = QuantConfig(rules=(Rule("stem", activation=change),)).resolve_layers(LAYERS)["stem"]
    assert chosen.weight == LayerConfig().weight
    assert chosen.activation == replace(LayerConfig().activation, scale=ScaleKind.POWER_OF_TWO)


def test_every_rule_says_how_many_layers_it_matched() -> None:
    rules = (Rule("*"), Rule("kind:depthwise"), Rule("first"), Rule("blocks*"))
    assert QuantConfig(rules=rules).resolve_layers(LAYERS).matched == (8, 2, 1, 4)


@pytest.mark.parametrize("select", ["kind:attention", "conv9", "blocks[0]", "blocks.0.dw"])
def test_a_rule_that_matches_nothing_is_an_error_that_names_it(select: str) -> None:
    with pytest.raises(ConfigError) as error:
        QuantConfig(rules=(Rule("*"), Rule(select))).resolve_layers(LAYERS)
    assert repr(select) in str(error.value)
    assert "matches none of 8" in str(error.value)


def test_first_and_last_match_nothing_where_no_layer_has_weights() -> None:
    for select in ("first", "last"):
        assert Rule(select).matched_layers([Stub("relu", "activation")]) == frozenset()


def test_a_change_for_one_layer_merges_with_the_one_before() -> None:
    config = (
        QuantConfig()
        .with_layer_change("stem", weight=bits(4))
        .with_layer_change("stem", bits(5), bits(6))
    )
    assert config.rules == (Rule("stem", bits(5), bits(6)),)
    both = config.with_layer_change("stem", weight=SpecChange(symmetric=False, bits=3))
    assert both.rules == (Rule("stem", SpecChange(symmetric=False, bits=3), bits(6)),)
    kept = config.with_layer_change("stem", weight=SpecChange(symmetric=False))
    assert kept.rules == (Rule("stem", SpecChange(symmetric=False, bits=5), bits(6)),)
    more = config.with_layer_change("head", weight=bits(3)).with_layer_change(
        "stem", weight=bits(2)
    )
    assert [rule.select for rule in more.rules] == ["stem", "head", "stem"]
    assert more.resolve_layers(LAYERS)["stem"].weight.bits == 2
    assert more.resolve_layers(LAYERS)["stem"].activation.bits == 6


def test_per_channel_activations_are_refused_in_default_and_rules() -> None:
    with pytest.raises(ConfigError, match=r"Activations must be per-tensor.*got per-channel"):
        LayerConfig(activation=QuantSpec(granularity=Granularity.PER_CHANNEL))
    rule = Rule("stem", activation=SpecChange(granularity=Granularity.PER_GROUP))
    with pytest.raises(ConfigError, match=r"Activations must be per-tensor.*got per-group"):
        QuantConfig(rules=(rule,)).resolve_layers(LAYERS)


@pytest.mark.parametrize("estimator", [Estimator.CROSS_ENTROPY, Estimator.BATCH_NORM])
def test_weights_refuse_the_estimators_of_activations(estimator: Estimator) -> None:
    with pytest.raises(ConfigError, match=f"Weights take min-max.*got {estimator}"):
        LayerConfig(weight=QuantSpec(estimator=estimator))


def test_uniform_sets_one_width_for_all_weights_and_one_for_all_activations() -> None:
    config = uniform_config(4, 6, Granularity.PER_TENSOR)
    assert (config.default.weight.bits, config.default.activation.bits) == (4, 6)
    assert config.default.weight.granularity is Granularity.PER_TENSOR
    assert config.rules == ()
