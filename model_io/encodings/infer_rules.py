"""Few rules that describe the specs of a network's layers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from quant.config import (
    ACTIVATION_DEFAULT,
    WEIGHT_DEFAULT,
    LayerConfig,
    QuantConfig,
    Rule,
)
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import Layer
from quant.spec import QuantSpec, SpecChange


@dataclass(frozen=True, slots=True)
class LayerSpecs:
    """The specs of one layer; `weight` is None for a layer without a weight."""

    weight: QuantSpec | None
    activation: QuantSpec


def infer_config(graph: FloatGraph, wishes: Mapping[str, LayerSpecs]) -> QuantConfig:
    """Return a configuration that gives every layer the wanted specs; the commonest is the default.

    A kind of layers with equal specs gets one rule; other layers get a rule for each layer.
    """
    weights = Counter(wish.weight for wish in wishes.values() if wish.weight is not None)
    activations = Counter(wish.activation for wish in wishes.values())
    default = LayerConfig(
        _commonest_spec(weights, WEIGHT_DEFAULT), _commonest_spec(activations, ACTIVATION_DEFAULT)
    )
    return QuantConfig(default, tuple(_infer_rules(graph, wishes, default)))


def _commonest_spec(counted: Counter[QuantSpec], otherwise: QuantSpec) -> QuantSpec:
    return counted.most_common(1)[0][0] if counted else otherwise


def _infer_rules(
    graph: FloatGraph, wishes: Mapping[str, LayerSpecs], default: LayerConfig
) -> Iterator[Rule]:
    """Yield a rule for each kind with equal differences, then a rule for each other layer."""
    changes = {
        layer.name: _layer_spec_changes(wishes[layer.name], default) for layer in graph.layers
    }
    kinds: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        kinds.setdefault(str(layer.kind), []).append(layer)
    for kind, layers in kinds.items():
        wanted = {changes[layer.name] for layer in layers}
        if wanted == {_NOTHING}:
            continue
        if len(wanted) == 1 and len(layers) > 1:
            yield Rule(f"kind:{kind}", *wanted.pop())
            continue
        for layer in layers:
            if changes[layer.name] != _NOTHING:
                yield Rule(layer.name, *changes[layer.name])


_NOTHING = (SpecChange(), SpecChange())


def _layer_spec_changes(wish: LayerSpecs, default: LayerConfig) -> tuple[SpecChange, SpecChange]:
    weight = SpecChange() if wish.weight is None else _spec_difference(wish.weight, default.weight)
    return weight, _spec_difference(wish.activation, default.activation)


def _spec_difference(wish: QuantSpec, start: QuantSpec) -> SpecChange:
    """Return the change from `start` to `wish`; a float wish changes the bits only."""
    if wish.is_float:
        return SpecChange() if start.is_float else SpecChange(bits=wish.bits)
    own = {field.name: getattr(wish, field.name) for field in fields(wish)}
    return SpecChange(
        **{name: value for name, value in own.items() if getattr(start, name) != value}
    )
