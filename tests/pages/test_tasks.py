"""Models of other tasks on the pages: what they take, a metric of one's own, the import checked."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from analysis.evaluation.tasks.kinds import Head, TaskKind
from model_io.onnx_import.operators import TABLE, Operator
from quant.errors import QuantError
from quant.inputs import tensors_of_batch
from tests.commands.test_ssd_head import prior_boxes, write_ssd_files
from tests.commands.test_tasks import METRIC, file_of
from tests.model_io.onnx_files import model, node, saved
from tests.pages.visit import CONFIGURE, MODEL, RUNS, Visit, leave_choices, read
from tests.task_networks import TASKS
from ui.navigation import DIAGNOSE, REPAIR, SENSITIVITY
from ui.widgets.metric_field import CLOSED, load_named_metric

pytestmark = pytest.mark.filterwarnings("ignore")


def with_model(visit: Visit, path: Path) -> Visit:
    visit.at.text_input(key="model.path.text").set_value(str(path))
    visit.press("Load from path").wait()
    assert visit.errors == []
    assert visit.work.network is not None
    assert visit.work.network.name == path.stem
    return visit


def with_data(visit: Visit, name: str, **more: Any) -> Visit:
    buffer, task = io.BytesIO(), TASKS[name]
    given = zip(task.inputs, tensors_of_batch(task.draw(30)), strict=True)
    arrays: dict[str, Any] = {one.name: values.numpy() for one, values in given}
    if len(arrays) == 1 and "image" in arrays:
        arrays = {"inputs": arrays["image"]}
    np.savez(buffer, **arrays, **more)
    place = f"data.{visit.work.data_choices}.npz"
    visit.upload(place, "data.npz", buffer.getvalue()).press("data.use").wait()
    assert visit.work.data_problem == ""
    return visit


def held(visit: Visit) -> list[str]:
    """Return what the table of inputs says that they hold."""
    (found,) = (item.value for item in visit.at.dataframe if "holds" in item.value)
    return list(found["holds"])


def test_a_model_of_image_and_mask_from_file_to_run(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METRIC)
    with_model(visit, file_of("segments", tmp_path))
    assert "takes image 3 x 8 x 8, mask 8 x 8 (whole numbers); gives 4 x 8 x 8" in visit.words
    assert visit.metric("Output").value == "4 x 8 x 8"
    maps = np.random.default_rng(0).integers(0, 4, (30, 8, 8))
    with_data(visit, "segments", targets=maps)
    assert "Beside ONNX Runtime on 15 of your inputs" in visit.words
    assert held(visit) == ["real numbers", "whole numbers"]
    visit.open(RUNS)
    assert "Scored by mIoU." in visit.words
    visit.at.text_input(key="runs.metric").set_value(f"{tmp_path}/mine.py:iou")
    visit.press("Run")
    assert "mine.py** is Python code. It will run on this machine" in visit.at.warning[0].value
    assert visit.work.store.all_runs() == ()
    visit.press("runs.code.run").wait()
    assert float(visit.metric("Quantized iou").value) > 0
    assert "to" in visit.metric("Quantized iou").delta
    assert float(visit.metric("Output cosine").value) > 0.9
    assert visit.metric("Output SQNR").value.endswith("dB")
    assert not [m for m in visit.at.metric if "top-1" in m.label or "Agreement" in m.label]
    assert visit.work.metric.endswith("mine.py:iou")
    visit.open(CONFIGURE)


def test_a_metric_of_the_task_stands_for_accuracy_on_every_page(
    visit: Visit, tmp_path: Path
) -> None:
    with_model(visit, file_of("segments", tmp_path))
    with_data(visit, "segments", targets=np.random.default_rng(0).integers(0, 4, (30, 8, 8)))
    assert visit.metric("Float mIoU").value == "?"
    visit.open(RUNS).press("Run").wait()
    told = visit.metric("Float mIoU").value
    columns = list(visit.at.dataframe[0].value)
    assert "metric" in columns
    assert not {"top-1 %", "drop", "agreement %"} & set(columns), "no run has answers"
    assert visit.open(MODEL).metric("Float mIoU").value == told
    assert "others are scored by mIoU" in visit.open(REPAIR).words
    visit.open(SENSITIVITY).press("sensitivity.start").wait()
    assert "SQNR stands for mIoU, which an exact sweep measures" in visit.words
    assert "in mIoU at the present bits is told by an exact sweep" in visit.words


def test_tokens_are_shown_in_words_and_score_as_classes(visit: Visit, tmp_path: Path) -> None:
    with_model(visit, file_of("tokens", tmp_path))
    assert "takes ids 6 (whole numbers 0 to 10), mask 6" in visit.words
    with_data(visit, "tokens", labels=np.arange(30) % 4)
    assert "The first images as the model sees them" not in visit.words
    assert visit.metric("Float top-1").value.endswith("%")
    visit.open(RUNS).press("Run").wait()
    assert visit.metric("Quantized top-1").value.endswith("%")


def test_a_detector_of_two_outputs(visit: Visit, tmp_path: Path) -> None:
    with_model(visit, file_of("detector", tmp_path))
    assert visit.metric("2 outputs").value == "16 x 4"
    with_data(visit, "detector")
    visit.open(RUNS).press("Run").wait()
    assert float(visit.metric("Output cosine").value) > 0.9
    visit.at.segmented_control(key="runs.view").set_value("Disagreements")
    visit.run()
    assert "there are no answers to compare" in visit.words
    visit.open(DIAGNOSE)
    assert "or targets for the task's metric. Name the targets beside the data" in visit.words
    assert "Choose data and targets" in visit.links()


def test_a_metric_that_is_not_there_stops_nothing_else(visit: Visit, tmp_path: Path) -> None:
    visit.open(RUNS)
    visit.at.text_input(key="runs.metric").set_value(f"{tmp_path}/gone.py:iou")
    visit.press("Run")
    (error,) = visit.errors
    assert "A metric's file must exist, got gone.py" in error
    assert visit.work.store.all_runs() == ()
    assert visit.work.metric == ""


def test_a_metric_that_fails_is_told_beside_all_that_was_measured(
    visit: Visit, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(METRIC)
    visit.open(RUNS)
    visit.at.text_input(key="runs.metric").set_value(f"{tmp_path}/mine.py:broken")
    visit.press("Run").press("runs.code.run").wait()
    assert visit.metric("Quantized top-1").value.endswith("%")
    told = [read(w.value) for w in visit.at.warning]  # the verdict is undecided, too
    (warning,) = (text for text in told if "mine.py" in text)
    assert "mine.py:broken must give a number for each image" in warning
    assert "IndexError in line 16" in warning


def test_on_a_shared_server_there_is_no_metric(
    runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QUANTSCOPE_LOCAL_PATHS", "0")
    leave_choices(runs, metric=f"{tmp_path}/mine.py:iou")
    (tmp_path / "mine.py").write_text("raise SystemExit('it ran')")
    visit = Visit().wait()
    visit.open(RUNS)
    assert not [text for text in visit.at.text_input if text.key == "runs.metric"]
    with pytest.raises(QuantError, match="this server is shared"):
        load_named_metric(visit.work, f"{tmp_path}/mine.py:iou")
    assert "this server is shared" in CLOSED


def test_an_import_that_differs_on_the_data_is_told(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [node("Relu", ["x"], "r", "first"), node("Abs", ["r"], "y", "second")]
    path = saved(tmp_path / "far.onnx", model(nodes, ["n", 3]))
    monkeypatch.setitem(
        TABLE, "Abs", Operator(lambda call: call.input_tensor(0).abs().clamp(max=200))
    )
    with_model(visit, path)
    buffer = io.BytesIO()
    np.savez(buffer, inputs=np.full((20, 3), 300, np.float32))
    visit.upload(f"data.{visit.work.data_choices}.npz", "far.npz", buffer.getvalue())
    visit.press("data.use").wait()
    (error,) = visit.errors
    assert "On your data: The imported network must compute what ONNX Runtime computes" in error
    assert "The first layer that differs is The node 'second' (Abs)" in error


def test_open_sizes_of_several_inputs_are_asked_for_once_and_remembered(
    visit: Visit, tmp_path: Path
) -> None:
    nodes = [node("GlobalAveragePool", ["x"], "p"), node("Flatten", ["p"], "f"),
             node("Mul", ["f", "z"], "y")]  # fmt: skip
    made = model(nodes, ["n", 3, "h", "w"])
    made.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", "t"]))
    path = str(saved(tmp_path / "open.onnx", made))
    before = visit.work.network
    visit.at.text_input(key="model.path.text").set_value(path)
    visit.press("Load from path").wait()
    (error,) = visit.errors
    assert "such as x=3,224,224; z=128" in error
    assert visit.work.network is before
    visit.at.text_input(key="model.shape").set_value("x=3,6,6; z=3")
    visit.press("model.shape.load").wait()
    assert visit.work.network is not None
    assert [one.shape for one in visit.work.network.graph.inputs] == [(3, 6, 6), (3,)]
    visit.press("model.use.fashion-resnet").wait()
    with_model(visit, Path(path))
    assert [one.shape for one in visit.work.network.graph.inputs] == [(3, 6, 6), (3,)]
    again = Visit().wait()  # another tab
    assert again.work.network is not None
    assert again.work.network.name == "open"


def test_a_shape_of_one_input_is_remembered_for_an_upload(visit: Visit) -> None:
    nodes = [node("GlobalAveragePool", ["x"], "p"), node("Flatten", ["p"], "y")]
    content = model(nodes, ["n", 3, "h", "w"]).SerializeToString()
    for shape in ("3,6,6", ""):
        visit.press("model.use.fashion-resnet").wait()
        visit.upload("model.upload", "net.onnx", content).press("model.load").wait()
        if shape:
            visit.at.text_input(key="model.shape").set_value(shape)
            visit.press("model.shape.load").wait()
        assert visit.work.network is not None
        assert visit.work.network.graph.input_shape == (3, 6, 6), shape
    visit.open(MODEL)


def test_the_page_takes_prior_boxes_of_an_ssd_head(visit: Visit, tmp_path: Path) -> None:
    files = write_ssd_files(tmp_path)
    visit.at.text_input(key="model.path.text").set_value(str(files["ssd.pt2"]))
    visit.press("Load from path").wait()
    visit.upload(f"data.{visit.work.data_choices}.npz", "d.npz", files["data.npz"].read_bytes())
    visit.press("data.use").wait()
    visit.at.selectbox(key=f"task.{visit.work.data_choices}.kind").set_value(TaskKind.DETECTION)
    visit.run().wait()
    visit.at.selectbox(key=f"task.{visit.work.data_choices}.head").set_value(Head.SSD)
    visit.run().wait()
    buffer = io.BytesIO()
    np.save(buffer, prior_boxes())
    key = f"task.{visit.work.data_choices}.priors.file"
    visit.upload(key, "p.npy", buffer.getvalue()).wait()
    assert visit.errors == []
    choice, parts = visit.work.data, visit.work.parts
    assert choice.head is Head.SSD
    assert np.array_equal(np.load(choice.priors), prior_boxes())
    assert parts is not None
    assert parts.metric is not None
    assert parts.metric.name == "mAP"
