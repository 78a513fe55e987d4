"""The configuration of a model: a default and ordered rules; a rule must match a layer."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Protocol, cast

from plain_files.read_json import JsonError, parse_json
from quant.errors import ConfigError
from quant.spec import Estimator, Granularity, QuantSpec, SpecChange, read_spec_fields

WEIGHT_DEFAULT = QuantSpec(8, symmetric=True, granularity=Granularity.PER_CHANNEL)
ACTIVATION_DEFAULT = QuantSpec(8, symmetric=False, granularity=Granularity.PER_TENSOR)


class Named(Protocol):
    """A layer for selectors: name and kind."""

    @property
    def name(self) -> str:
        """The layer's path."""

    @property
    def kind(self) -> str:
        """The kind of operation, such as "conv"."""


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """The specs of a layer's weight and of a layer's output activation.

    Raises:
        ConfigError: activations are not per-tensor (other scales cannot leave the sum, white paper
            section 2.2.2), or weights ask for an estimator of activations only.
    """

    weight: QuantSpec = WEIGHT_DEFAULT
    activation: QuantSpec = ACTIVATION_DEFAULT

    def __post_init__(self) -> None:
        if self.activation.granularity is not Granularity.PER_TENSOR:
            raise ConfigError(
                "Activations must be per-tensor, since a scale per channel cannot leave the sum; "
                f"got {self.activation.granularity}."
            )
        if self.activation.bits == 1 or self.activation.narrow or self.activation.channel_bits:
            raise ConfigError(
                "1 bit, narrow encodings and a width for each channel are for weights; activations "
                "asked for one. Give them 2 bits or more."
            )
        if self.weight.estimator in (Estimator.CROSS_ENTROPY, Estimator.BATCH_NORM):
            raise ConfigError(
                f"Weights take min-max, percentile or mse; got {self.weight.estimator}, "
                "which is for activations."
            )


@dataclass(frozen=True, slots=True)
class Rule:
    """Changes for the layers matched by `select`.

    `select` is a name with `*` and `?` ("blocks.*.expand.0"), `kind:` and a kind
    ("kind:depthwise"), `first` or `last` (the first and last layer with weights), or `input`.
    """

    select: str
    weight: SpecChange = field(default_factory=SpecChange)
    activation: SpecChange = field(default_factory=SpecChange)

    def matched_layers(self, layers: Iterable[Named]) -> frozenset[str]:
        """Return the names of the layers matched by the rule."""
        layers = tuple(layers)
        if self.select in ("first", "last"):
            weighted = [layer.name for layer in layers if layer.kind in WEIGHTED_KINDS]
            return frozenset(weighted[:1] if self.select == "first" else weighted[-1:])
        if self.select.startswith("kind:"):
            kind = self.select.removeprefix("kind:")
            return frozenset(layer.name for layer in layers if layer.kind == kind)
        if not any(sign in self.select for sign in "*?"):
            return frozenset(layer.name for layer in layers if layer.name == self.select)
        # brackets are common in layer names and mean themselves here
        pattern = self.select.replace("[", "[[]")
        return frozenset(layer.name for layer in layers if fnmatchcase(layer.name, pattern))


WEIGHTED_KINDS = ("conv", "depthwise", "linear")


@dataclass(frozen=True, slots=True)
class QuantConfig:
    """Specs for a model: a default, then rules in order; a later rule wins over an earlier rule."""

    default: LayerConfig = field(default_factory=LayerConfig)
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        """Refuse widths of channels in the default: weights differ in the number of channels.

        Raises:
            ConfigError: the default has widths of channels.
        """
        if self.default.weight.channel_bits:
            raise ConfigError(
                "Widths of channels belong to a rule that names one layer; the default has some."
            )

    def resolve_layers(self, layers: Iterable[Named]) -> "Resolved":
        """Return the choice for every layer and the number of layers matched by each rule.

        Raises:
            ConfigError: a rule matches no layer, or a change leaves the bounds of a spec.
        """
        layers = tuple(layers)
        chosen = {layer.name: self.default for layer in layers}
        counts = []
        for rule in self.rules:
            names = rule.matched_layers(layers)
            if not names:
                raise ConfigError(
                    f"Every rule must match a layer; {rule.select!r} matches none of "
                    f"{len(layers)}. Correct the selector or delete the rule."
                )
            counts.append(len(names))
            for name in names:
                old = chosen[name]
                chosen[name] = LayerConfig(
                    rule.weight.apply_to_spec(old.weight),
                    rule.activation.apply_to_spec(old.activation),
                )
        return Resolved(chosen, tuple(counts))

    def with_layer_change(
        self, layer: str, weight: SpecChange | None = None, activation: SpecChange | None = None
    ) -> "QuantConfig":
        """Return the config with a rule for exactly one layer, merged into an earlier rule."""
        rules = list(self.rules)
        new = Rule(layer, weight or SpecChange(), activation or SpecChange())
        if rules and rules[-1].select == layer:
            old = rules.pop()
            new = Rule(
                layer,
                new.weight.merged_over(old.weight),
                new.activation.merged_over(old.activation),
            )
        return replace(self, rules=(*rules, new))

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "version": 1,
            "default": {
                "weight": self.default.weight.to_dict(),
                "activation": self.default.activation.to_dict(),
            },
            "rules": [
                {
                    "select": rule.select,
                    "weight": rule.weight.to_dict(),
                    "activation": rule.activation.to_dict(),
                }
                for rule in self.rules
            ],
        }

    def to_json(self) -> str:
        """Return the configuration as JSON text."""
        return json.dumps(self.to_dict(), indent=2)


@dataclass(frozen=True, eq=False, slots=True)
class Resolved:
    """A config applied to the layers of one model; `matched[i]` counts the layers of rule i."""

    layers: dict[str, LayerConfig]
    matched: tuple[int, ...]

    def __getitem__(self, layer: str) -> LayerConfig:
        """Return the choice for the layer with a name."""
        return self.layers[layer]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order of execution."""
        return iter(self.layers)


def config_from_dict(raw: object) -> QuantConfig:
    """Return the configuration written by `QuantConfig.to_dict`.

    Raises:
        ConfigError: a key is unknown, a value is of the wrong type or out of bounds.
    """
    if not isinstance(raw, dict) or set(raw) - {"version", "default", "rules"}:
        got = sorted(raw) if isinstance(raw, dict) else raw
        raise ConfigError(f"A configuration has version, default and rules; got {got!r}.")
    if raw.get("version", 1) != 1:
        raise ConfigError(f"A configuration must be of version 1; got {raw['version']!r}.")
    default = _checked_object(raw.get("default", {}), {"weight", "activation"}, "default")
    rules = raw.get("rules", [])
    if not isinstance(rules, list):
        raise ConfigError(f"rules must be a list; got {rules!r}.")
    return QuantConfig(
        LayerConfig(
            replace(WEIGHT_DEFAULT, **read_spec_fields(default.get("weight", {}), "weight")),
            replace(
                ACTIVATION_DEFAULT, **read_spec_fields(default.get("activation", {}), "activation")
            ),
        ),
        tuple(_read_config_rule(rule, position) for position, rule in enumerate(rules)),
    )


def config_from_json(text: str) -> QuantConfig:
    """Return the configuration in JSON `text`.

    Raises:
        ConfigError: the text is not JSON or not a configuration.
    """
    try:
        raw = parse_json(text)
    except JsonError as error:
        raise ConfigError(f"A configuration must be JSON; {error}.") from None
    return config_from_dict(raw)


def _checked_object(raw: object, keys: set[str], where: str) -> dict[str, object]:
    if not isinstance(raw, dict) or set(raw) - keys:
        got = sorted(raw) if isinstance(raw, dict) else raw
        raise ConfigError(f"{where} must be an object of {', '.join(sorted(keys))}; got {got!r}.")
    return raw


def _read_config_rule(raw: object, position: int) -> Rule:
    where = f"rules[{position}]"
    # how many layers it matched where it was written: `config_file` compares
    rule = _checked_object(raw, {"select", "weight", "activation", "matched"}, where)
    select = rule.get("select")
    if not isinstance(select, str) or not select:
        raise ConfigError(f"{where}.select must be a name or pattern; got {select!r}.")
    result = Rule(
        select,
        SpecChange(**read_spec_fields(rule.get("weight", {}), f"{where}.weight")),
        SpecChange(**read_spec_fields(rule.get("activation", {}), f"{where}.activation")),
    )
    try:  # a value out of bounds is so whatever the rule is applied to
        LayerConfig(
            result.weight.apply_to_spec(WEIGHT_DEFAULT),
            result.activation.apply_to_spec(ACTIVATION_DEFAULT),
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return result


def uniform_config(
    weight_bits: int, activation_bits: int, granularity: Granularity = Granularity.PER_CHANNEL
) -> QuantConfig:
    """Return a configuration with one width for weights and one width for activations.

    >>> config = uniform_config(4, 8)
    >>> config.default.weight.bits, config.default.activation.bits
    (4, 8)
    """
    return QuantConfig(
        LayerConfig(
            replace(WEIGHT_DEFAULT, bits=weight_bits, granularity=granularity),
            replace(ACTIVATION_DEFAULT, bits=activation_bits),
        )
    )


def config_to_plain(config: QuantConfig, layers: Sequence[Named]) -> dict[str, object]:
    """Return a configuration for JSON, with the number of matched layers beside each rule.

    Raises:
        ConfigError: a rule matches no layer.
    """
    plain = config.to_dict()
    counts = config.resolve_layers(layers).matched
    for rule, matched in zip(cast("list[dict[str, object]]", plain["rules"]), counts, strict=True):
        rule["matched"] = matched
    return plain


def config_to_file(config: QuantConfig, layers: Sequence[Named]) -> str:
    """Return a configuration as JSON text (`config_to_plain`).

    Raises:
        ConfigError: a rule matches no layer.
    """
    return json.dumps(config_to_plain(config, layers), indent=2)


def config_from_file(text: str, layers: Sequence[Named]) -> tuple[QuantConfig, tuple[str, ...]]:
    """Return a configuration, and a sentence for a rule with another number of layers than before.

    A file without numbers of layers gives no sentences.

    Raises:
        ConfigError: the text is not a configuration, or a rule matches no layer.
    """
    config = config_from_json(text)
    counts = config.resolve_layers(layers).matched
    written = [rule.get("matched") for rule in parse_json(text).get("rules", [])]
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
                f"The rule {rule.select!r} matches {now} {_layer_count_words(now)} here, and "
                f"matched {before} where it was written: the model is another one, or was changed."
            )
    return config, tuple(notes)


def _layer_count_words(count: int) -> str:
    return "layer" if count == 1 else "layers"
