"""A file that takes uint8 pixels and scales them itself gets the pixels of an .npz as they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from onnxruntime import InferenceSession

from analysis.network import Network, forward_first_output, prepare_network
from analysis.split import ImageChoice, open_user_data
from data_io.errors import DatasetError
from data_io.preprocessing import Preprocess
from model_io.load import load_model
from quant.inputs import first_output_of
from tests.model_io.onnx_files import Array, model, node, saved, weight

SIDE = 6
TYPES = {int(TensorProto.UINT8): "uint8", int(TensorProto.INT32): "int32"}


def network_of(path: Path) -> Network:
    loaded = load_model(str(path))
    made = prepare_network(
        loaded.name, loaded.module, loaded.expected_inputs, loaded.digest, loaded.batch
    )
    return replace(made, takes_pixels=loaded.takes_pixels)


def write_file(path: Path, kind: int, *, channels_last: bool) -> Path:
    start = [node("Cast", ["x"], "f", to=TensorProto.FLOAT)]
    scaled = node("Mul", ["f", "s"], "m")
    turn = [node("Transpose", ["m"], "t", perm=[0, 3, 1, 2])] if channels_last else []
    rest = [
        node("Conv", ["t" if channels_last else "m", "w"], "c", "conv"),
        node("GlobalAveragePool", ["c"], "p"),
        node("Flatten", ["p"], "y"),
    ]
    held: dict[str, Array] = {"s": np.array(1 / 255, np.float32), "w": weight(5, 3, 3, 3)}
    sizes: list[int | str | None]
    sizes = ["n", SIDE, SIDE, 3] if channels_last else ["n", 3, SIDE, SIDE]
    return saved(path, model([*start, scaled, *turn, *rest], sizes, held, kind=kind))


@pytest.mark.parametrize(
    ("channels_last", "kind"),
    [(True, TensorProto.UINT8), (False, TensorProto.UINT8), (False, TensorProto.INT32)],
)
def test_pixels_go_in_as_they_are(tmp_path: Path, kind: int, *, channels_last: bool) -> None:
    file = write_file(tmp_path / "net.onnx", kind, channels_last=channels_last)
    sizes = (4, SIDE, SIDE, 3) if channels_last else (4, 3, SIDE, SIDE)
    pixels = np.random.default_rng(0).integers(0, 256, sizes, np.uint8)
    np.savez(tmp_path / "data.npz", inputs=pixels)
    network = network_of(file)
    data, limits = open_user_data("net", network, ImageChoice(tmp_path / "data.npz"))
    inputs, _ = data.source.read(range(4))
    wanted = InferenceSession(str(file)).run(None, {"x": pixels.astype(TYPES[kind])})[0]
    np.testing.assert_allclose(
        forward_first_output(network.graph, network.graph.batch, inputs).numpy(), wanted, atol=1e-5
    )
    assert limits == (0.0, 255.0)


def test_preprocessing_that_is_named_is_done(tmp_path: Path) -> None:
    network = network_of(write_file(tmp_path / "net.onnx", TensorProto.UINT8, channels_last=False))
    np.savez(tmp_path / "data.npz", inputs=np.full((2, 3, SIDE, SIDE), 51, np.uint8))
    choice = ImageChoice(tmp_path / "data.npz", Preprocess())
    inputs, _ = open_user_data("net", network, choice)[0].source.read([0])
    assert first_output_of(inputs).unique().tolist() == pytest.approx([0.2])


def test_a_file_of_real_inputs_still_asks(tmp_path: Path) -> None:
    network = network_of(write_file(tmp_path / "net.onnx", TensorProto.FLOAT, channels_last=False))
    np.savez(tmp_path / "data.npz", inputs=np.zeros((2, 3, SIDE, SIDE), np.uint8))
    with pytest.raises(DatasetError, match="Images need the preprocessing"):
        open_user_data("net", network, ImageChoice(tmp_path / "data.npz"))


@pytest.mark.parametrize("scale", [1, 1 / 255])
def test_pixels_as_real_numbers_must_not_be_scaled(tmp_path: Path, scale: float) -> None:
    network = network_of(write_file(tmp_path / "net.onnx", TensorProto.UINT8, channels_last=False))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, SIDE, SIDE)).astype(np.float32)
    np.savez(tmp_path / "data.npz", inputs=pixels * np.float32(scale))
    choice = ImageChoice(tmp_path / "data.npz")
    if scale == 1:
        assert len(open_user_data("net", network, choice)[0]) == 2
        return
    with pytest.raises(DatasetError, match=r"takes whole pixels of 0 to 255 .* from 0 to 1 in"):
        open_user_data("net", network, choice)
