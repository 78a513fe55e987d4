"""Configurations as JSON: what goes out comes in, and what is wrong is said in a sentence."""

import json
from dataclasses import replace
from typing import Any

import pytest

from quant.config import (
    LayerConfig,
    QuantConfig,
    Rule,
    config_from_dict,
    config_from_json,
    uniform_config,
)
from quant.errors import ConfigError
from quant.spec import Estimator, Granularity, QuantSpec, ScaleKind, SpecChange


def bits(n: int) -> SpecChange:
    return SpecChange(bits=n)


FULL = QuantConfig(
    LayerConfig(
        QuantSpec(
            4,
            symmetric=False,
            granularity=Granularity.PER_GROUP,
            estimator=Estimator.PERCENTILE,
            group_size=16,
        ),
        QuantSpec(12, symmetric=True, scale=ScaleKind.POWER_OF_TWO, percentile=99.5),
    ),
    (
        Rule("first", weight=SpecChange(bits=8, granularity=Granularity.PER_CHANNEL)),
        Rule("blocks[0].*", SpecChange(group_size=8, percentile=99.0), bits(32)),
        Rule("last", activation=SpecChange(estimator=Estimator.CROSS_ENTROPY, symmetric=False)),
    ),
)


@pytest.mark.parametrize("config", [QuantConfig(), FULL, uniform_config(2, 16)])
def test_json_round_trip_is_exact(config: QuantConfig) -> None:
    assert config_from_json(config.to_json()) == config
    assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_what_json_leaves_out_takes_the_default() -> None:
    assert config_from_json("{}") == QuantConfig()
    got = config_from_dict({"default": {"weight": {"bits": 4}}, "rules": [{"select": "a"}]})
    assert got == QuantConfig(
        LayerConfig(replace(LayerConfig().weight, bits=4)), (Rule("a", SpecChange(), SpecChange()),)
    )


def rule(**fields: Any) -> dict[str, Any]:
    return {"rules": [{"select": "a"}, {"select": "b", **fields}]}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ([], "has version, default and rules; got"),
        ({"rulez": []}, "has version, default and rules; got .'rulez'."),
        ({"version": 2}, "must be of version 1; got 2"),
        ({"rules": {}}, "rules must be a list"),
        ({"default": []}, "default must be an object of activation, weight"),
        ({"default": {"weights": {}}}, "default must be an object.*got .'weights'."),
        ({"default": {"weight": 8}}, "weight must be an object of bits, .*; got 8"),
        ({"default": {"weight": {"bit": 8}}}, "weight knows bits, .*; got 'bit'"),
        ({"default": {"weight": {"bits": "8"}}}, "weight.bits must be of type int; got '8'"),
        ({"default": {"weight": {"bits": 8.0}}}, "weight.bits must be of type int; got 8.0"),
        ({"default": {"weight": {"bits": True}}}, "weight.bits must be of type int; got True"),
        ({"default": {"weight": {"bits": None}}}, "weight.bits must be of type int; got None"),
        ({"default": {"weight": {"bits": 0}}}, "bits must lie between 1 and 16.*got 0"),
        ({"default": {"weight": {"symmetric": 1}}}, "weight.symmetric must be of type bool; got 1"),
        ({"default": {"weight": {"group_size": 0}}}, "group_size must be at least 1; got 0"),
        ({"default": {"weight": {"percentile": float("nan")}}}, "percentile must be over 50"),
        ({"default": {"weight": {"percentile": "99"}}}, "weight.percentile must be of type float"),
        ({"default": {"weight": {"estimator": "max"}}}, "estimator must be one of .*'mse'.*'max'"),
        ({"default": {"weight": {"granularity": []}}}, "granularity must be one of"),
        ({"default": {"activation": {"granularity": "per-channel"}}}, "must be per-tensor"),
        (rule(weight={"bits": 0}), r"rules\[1\].*bits must lie between 1 and 16.*got 0"),
        (rule(activation={"granularity": "per-channel"}), r"rules\[1\].*must be per-tensor"),
        (rule(weight={"estimator": "batch-norm"}), r"rules\[1\].*Weights take min-max"),
        (rule(weight={"bits": "x"}), r"rules\[1\]\.weight\.bits must be of type int"),
        (rule(sélect="c"), r"rules\[1\] must be an object of activation, matched, select, weight"),
        ({"rules": ["first"]}, r"rules\[0\] must be an object of"),
        ({"rules": [{"weight": {}}]}, r"rules\[0\]\.select must be a name or pattern; got None"),
        ({"rules": [{"select": ""}]}, r"rules\[0\]\.select must be a name or pattern; got ''"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_refused_in_a_sentence(
    raw: object, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        config_from_dict(raw)


@pytest.mark.parametrize("text", ["", "{", "[1,", "nonsense"])
def test_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="A configuration must be JSON;"):
        config_from_json(text)
