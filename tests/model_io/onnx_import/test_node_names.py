"""Names of layers of files whose nodes an exporter numbered."""

import pytest
from onnx import NodeProto, StringStringEntryProto, helper

from model_io.onnx_import.program.node_names import NAME_SCOPES, module_name_of_node

WEIGHTS = {"layer1.0.conv1.weight", "layer1.0.conv1.bias", "onnx::Conv_5"}
SCOPES = "['', 'layer1', 'layer1.0', 'add_3']"


def node(operator: str, name: str, *inputs: str, scopes: str = "") -> NodeProto:
    made = helper.make_node(operator, ["x", *inputs], ["y"], name)
    if scopes:
        made.metadata_props.append(StringStringEntryProto(key=NAME_SCOPES, value=scopes))
    return made


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (node("Conv", "node_Conv_1463", "layer1.0.conv1.weight"), "layer1.0.conv1"),
        (node("Conv", "Conv_12", "onnx::Conv_5"), "Conv_12"),
        (node("Add", "node_add_3", scopes=SCOPES), "layer1.0.add"),
        (node("Relu", "", scopes="['', 'act', 'relu_1']"), "act.relu"),
        (node("Conv", "my stem", "layer1.0.conv1.weight"), "my stem"),
        (node("Conv", "/layer1/conv1/Conv", "layer1.0.conv1.weight"), "/layer1/conv1/Conv"),
        (node("Add", "node_add_3", scopes="no list"), "node_add_3"),
    ],
)
def test_a_made_up_name_gives_way_to_the_module(made: NodeProto, name: str) -> None:
    assert module_name_of_node(made, WEIGHTS) == name
