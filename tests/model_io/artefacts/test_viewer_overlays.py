"""Node data of Model Explorer and Netron's attachment, against their formats written by hand."""

import json
import math

from model_io.artefacts.viewer_overlays import (
    LayerNumber,
    write_model_explorer,
    write_netron_attachment,
)

NODES = {"stem": "stem", "head.fc": "head.fc", "pool": "pool/GlobalAveragePool"}
SQNR = LayerNumber("SQNR", "dB", {"stem": 31.5, "head.fc": 12.0, "pool": math.inf}, low_is_bad=True)
ENERGY = LayerNumber("Energy", "nJ", {"stem": 3.0, "pool": 0.5, "input": 9.0})


def test_model_explorer() -> None:
    found = json.loads(write_model_explorer(SQNR, NODES))
    assert found["results"] == {"stem": {"value": 31.5}, "head.fc": {"value": 12.0}}
    assert [end["stop"] for end in found["gradient"]] == [0, 1]
    other = json.loads(write_model_explorer(ENERGY, NODES))
    assert other["results"] == {"stem": {"value": 3.0}, "pool/GlobalAveragePool": {"value": 0.5}}
    # the hot end is the bad one
    assert found["gradient"][0]["bgColor"] == other["gradient"][1]["bgColor"]


def test_netron() -> None:
    found = json.loads(write_netron_attachment([SQNR, ENERGY], NODES, {"configuration": "W8A8"}))
    assert found == {
        "signature": "netron:attachment",
        "metadata": [{"kind": "model", "target": "", "name": "configuration", "value": "W8A8"}],
        "metrics": [
            {"kind": "node", "target": node, "name": name, "value": value, "type": "float32"}
            for node, name, value in (
                ("stem", "SQNR (dB)", 31.5),
                ("head.fc", "SQNR (dB)", 12.0),
                ("stem", "Energy (nJ)", 3.0),
                ("pool/GlobalAveragePool", "Energy (nJ)", 0.5),
            )
        ],
    }
