"""A configuration as a file: with each rule, the number of layers that it matched."""

import json
from collections.abc import Sequence
from typing import Any

from quant.config import Named, QuantConfig, config_from_json
from quant.errors import ConfigError


def config_to_plain(config: QuantConfig, layers: Sequence[Named]) -> dict[str, Any]:
    """Return a configuration for JSON; every rule has the number of layers it matched.

    Raises:
        ConfigError: a rule matches no layer.
    """
    plain = config.to_dict()
    counts = config.resolve(layers).matched
    for rule, matched in zip(plain["rules"], counts, strict=True):
        rule["matched"] = matched
    return plain


def config_to_file(config: QuantConfig, layers: Sequence[Named]) -> str:
    """Return a configuration as JSON text (`config_to_plain`).

    Raises:
        ConfigError: a rule matches no layer.
    """
    return json.dumps(config_to_plain(config, layers), indent=2)


def config_from_file(text: str, layers: Sequence[Named]) -> tuple[QuantConfig, tuple[str, ...]]:
    """Return a configuration, and a sentence for each rule that matches other numbers of layers.

    A file without numbers is read without sentences.

    Raises:
        ConfigError: it is no configuration, or a rule matches no layer.
    """
    config = config_from_json(text)
    counts = config.resolve(layers).matched
    written = [rule.get("matched") for rule in json.loads(text).get("rules", [])]
    notes = []
    for rule, now, before in zip(config.rules, counts, written, strict=True):
        if before is None:
            continue
        if isinstance(before, bool) or not isinstance(before, int):
            raise ConfigError(
                f"matched must be the number of layers of a rule; got {before!r} for "
                f"{rule.select!r}. Leave it out."
            )
        if before != now:
            notes.append(
                f"The rule {rule.select!r} matches {now} {_layers(now)} here, and matched {before} "
                "where it was written: the model is another one, or was changed."
            )
    return config, tuple(notes)


def _layers(count: int) -> str:
    return "layer" if count == 1 else "layers"
