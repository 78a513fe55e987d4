"""A configuration's file says how many layers each rule matched, and is held to it."""

import json

import pytest

from quant.config import QuantConfig, Rule, config_from_file, config_from_json, config_to_file
from quant.errors import ConfigError
from quant.spec import SpecChange
from tests.networks import graph_of

CONFIG = QuantConfig(
    rules=(
        Rule("kind:conv", SpecChange(bits=4)),
        Rule("last", SpecChange(bits=6)),
        Rule("right.0", SpecChange(bits=3)),
    )
)
LAYERS = graph_of("kitchen").layers


def test_every_rule_has_the_number_of_layers_that_it_matched() -> None:
    raw = json.loads(config_to_file(CONFIG, LAYERS))
    assert [rule["matched"] for rule in raw["rules"]] == [4, 1, 1]
    assert [rule["select"] for rule in raw["rules"]] == ["kind:conv", "last", "right.0"]


def test_there_and_back() -> None:
    text = config_to_file(CONFIG, LAYERS)
    assert config_from_file(text, LAYERS) == (CONFIG, ())
    assert config_from_json(text) == CONFIG
    assert config_from_file(CONFIG.to_json(), LAYERS) == (CONFIG, ())


def test_other_numbers_are_told() -> None:
    text = config_to_file(CONFIG, LAYERS).replace('"matched": 4', '"matched": 7')
    config, (note,) = config_from_file(text, LAYERS)
    assert config == CONFIG
    assert "'kind:conv' matches 4 layers here, and matched 7 where it was written" in note


def test_a_rule_that_matches_nothing_is_an_error_both_ways() -> None:
    lost = QuantConfig(rules=(Rule("nowhere", SpecChange(bits=4)),))
    with pytest.raises(ConfigError, match="matches none"):
        config_to_file(lost, LAYERS)
    with pytest.raises(ConfigError, match="matches none"):
        config_from_file(lost.to_json(), LAYERS)


@pytest.mark.parametrize("count", ["true", '"4"', "4.5", "[]"])
def test_a_number_that_is_none(count: str) -> None:
    text = config_to_file(CONFIG, LAYERS).replace('"matched": 4', f'"matched": {count}')
    with pytest.raises(ConfigError, match="number of layers"):
        config_from_file(text, LAYERS)
