"""Values of layers for viewers of ONNX files: Model Explorer's node data, Netron's attachment."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_PALE, _HOT = "#fef0d9", "#b30000"
_ON_PALE, _ON_HOT = "#1a1a1a", "#ffffff"


@dataclass(frozen=True, slots=True)
class LayerNumber:
    """A number for each layer; `low_is_bad` tells the viewer to highlight low numbers."""

    name: str
    unit: str
    values: Mapping[str, float]
    low_is_bad: bool = False

    @property
    def title_with_unit(self) -> str:
        """The name with the unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def write_model_explorer(metric: LayerNumber, nodes: Mapping[str, str]) -> str:
    """Return node data of one metric, as JSON for Model Explorer.

    Args:
        metric: a number by layer; infinite values and nan are left out because JSON has no word
            for them.
        nodes: the name of a layer's node in the ONNX file, by layer.
    """
    pale, hot = {"bgColor": _PALE, "textColor": _ON_PALE}, {"bgColor": _HOT, "textColor": _ON_HOT}
    ends = (hot, pale) if metric.low_is_bad else (pale, hot)
    return _json_text(
        {
            "results": {node: {"value": value} for node, value in _values_by_node(metric, nodes)},
            "gradient": [{"stop": stop, **end} for stop, end in enumerate(ends)],
        }
    )


def write_netron_attachment(
    metrics: Sequence[LayerNumber],
    nodes: Mapping[str, str],
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Return the metrics as an attachment, a file that Netron opens beside an ONNX file.

    Args:
        metrics: numbers by layer; infinite values and nan are left out.
        nodes: the name of a layer's node in the ONNX file, by layer.
        metadata: text about the whole model.
    """
    return _json_text(
        {
            "signature": "netron:attachment",
            "metadata": [
                {"kind": "model", "target": "", "name": name, "value": value}
                for name, value in (metadata or {}).items()
            ],
            "metrics": [
                {
                    "kind": "node",
                    "target": node,
                    "name": metric.title_with_unit,
                    "value": value,
                    "type": "float32",
                }
                for metric in metrics
                for node, value in _values_by_node(metric, nodes)
            ],
        }
    )


def _values_by_node(metric: LayerNumber, nodes: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """Yield (node, value) of the layers that have a node and a value, in the order of the nodes."""
    for layer, node in nodes.items():
        value = metric.values.get(layer)
        if value is not None and math.isfinite(value):
            yield node, value


def _json_text(content: object) -> str:
    return json.dumps(content, indent=2, allow_nan=False)
