"""An ONNX file on the Model page: uploaded, asked for open sizes, read, quantized and run."""

import io
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto

from data_io.preprocessing import Layout, Preprocess
from tests.model_io.onnx_files import Array, model, node, saved, small, weight
from tests.pages.visit import RUNS, Visit


def upload(visit: Visit, made: ModelProto, name: str = "net.onnx", shape: str = "") -> Visit:
    visit.upload("model.upload", name, made.SerializeToString()).press("model.load").wait()
    if not shape:
        return visit
    visit.at.text_input(key="model.shape").set_value(shape)
    return visit.press("model.shape.load").wait()


def open_sizes() -> ModelProto:
    made = small()
    for axis in (2, 3):
        made.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "side"
    return made


def test_an_uploaded_file_is_read_quantized_and_run(visit: Visit) -> None:
    upload(visit, small())
    assert visit.work.network is not None
    assert visit.work.network.name == "net"
    told = "\n".join(text.value for text in visit.at.text)
    assert "5 nodes of 5 operators, opset 17, written by by hand." in told
    assert "Beside ONNX Runtime on 2 inputs" in told
    names = [layer.name for layer in visit.work.network.graph.layers]
    assert names == ["input", "conv", "pool", "fc"]
    buffer = io.BytesIO()
    images = np.random.default_rng(0).standard_normal((40, 3, 8, 8), dtype=np.float32)
    np.savez(buffer, inputs=images, labels=np.arange(40) % 5)
    place = f"data.{visit.work.data_choices}.npz"
    visit.upload(place, "images.npz", buffer.getvalue()).press("data.use").wait()
    visit.open(RUNS).press("Run").wait()
    assert visit.metric("Quantized top-1").value.endswith(" %")


def test_a_sample_has_no_notes(visit: Visit) -> None:
    assert not any("Beside ONNX Runtime" in text.value for text in visit.at.text)


def test_open_sizes_are_asked_for_at_once_and_only_then(visit: Visit) -> None:
    before = visit.work.network
    assert "Shape of one input" not in [text.label for text in visit.at.text_input]
    upload(visit, open_sizes())
    (error,) = visit.errors
    assert "must be known, got (3, ?, ?)" in error
    assert visit.work.network is before
    assert visit.at.text_input(key="model.shape").value == "3,224,224"  # as the file's form says
    visit.at.text_input(key="model.shape").set_value("3, 12, 12")
    visit.press("model.shape.load").wait()
    assert visit.errors == []
    assert visit.work.network is not None
    assert visit.work.network.graph.input_shape == (3, 12, 12)


def test_a_shape_is_remembered_with_the_file(visit: Visit) -> None:
    made = open_sizes()
    upload(visit, made, shape="3, 12, 12")
    upload(visit, made, name="again.onnx")
    assert visit.errors == []
    assert visit.work.network is not None
    assert visit.work.network.name == "again"


def test_a_path_on_this_machine_that_leaves_sizes_open(visit: Visit, tmp_path: Path) -> None:
    path = saved(tmp_path / "mine.onnx", open_sizes())
    visit.at.text_input(key="model.path.text").set_value(str(path))
    visit.press("Load from path").wait()
    visit.at.text_input(key="model.shape").set_value("3, wide")
    visit.press("model.shape.load")
    assert "A shape must be whole numbers from 1 on" in visit.errors[-1]
    assert "got '3, wide'" in visit.errors[-1]
    assert not visit.work.runner.active_jobs
    visit.at.text_input(key="model.shape").set_value("3,10,10")
    visit.press("model.shape.load").wait()
    assert visit.work.network is not None
    assert (visit.work.network.name, visit.work.network.graph.input_shape) == ("mine", (3, 10, 10))


def test_a_file_that_cannot_come_in_names_its_node(visit: Visit) -> None:
    before = visit.work.network
    upload(visit, model([node("Loop", ["", "", "x"], "y", "the loop")], [1, 3]))
    (error,) = visit.errors
    assert "Loop (the node 'the loop')" in error
    assert visit.work.network is before


def test_channels_last_are_prepared_so(visit: Visit) -> None:
    nodes = [
        node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], "c", "conv"),
        node("GlobalAveragePool", ["c"], "p"),
        node("Flatten", ["p"], "y"),
    ]
    held: dict[str, Array] = {"w": weight(4, 3, 3, 3)}
    upload(visit, model(nodes, ["n", 9, 9, 3], held, kind=TensorProto.FLOAT))
    steps = Preprocess.from_json(visit.work.data.preprocess)
    assert (steps.layout, steps.channels, steps.resize) == (Layout.NHWC, 3, 9)
