"""Files for the fuzzer that each loader accepts, and the loaders."""

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast


def whole_files() -> dict[str, bytes]:
    """Return a file that each loader accepts, or nearly; mutations begin with them."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415
    from safetensors.torch import save  # noqa: PLC0415

    from quant.config import uniform_config  # noqa: PLC0415

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    program, arrays, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    batch = torch.export.Dim("batch", min=1, max=65536)
    exported = torch.export.export(
        network.eval(), (torch.zeros(2, 6),), dynamic_shapes={"input": {0: batch}}
    )
    torch.export.save(exported, program)
    values = np.random.default_rng(0).random((8, 6), dtype=np.float32)
    np.savez(arrays, inputs=values, labels=np.arange(8) % 3)
    np.savez_compressed(packed, inputs=values, labels=np.arange(8) % 3)
    weight = numpy_helper.from_array(np.ones((6, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [weight],
    )
    onnx_file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    grid = {"name": "first", "y_scale": 0.5, "y_zero_point": 0, "output_dtype": "uint8"}
    steps = {"channels": 3, "resize": 8, "mean": [1, 2, 3], "std": [1, 1, 1], "layout": "NCHW"}
    return {
        "pt2": program.getvalue(),
        "onnx": onnx_file.SerializeToString(),
        "safetensors": save(network.state_dict()),
        "npz": arrays.getvalue(),
        "packed npz": packed.getvalue(),
        "config": uniform_config(8, 8).to_json().encode(),
        "preprocess": json.dumps(steps).encode(),
        "encodings": json.dumps({"version": "2.0.0", "encodings": [grid]}).encode(),
        "store": _store(),
        **_whole_small_files(),
    }


def _whole_small_files() -> dict[str, bytes]:
    """Return files of text, and arrays without names."""
    import numpy as np  # noqa: PLC0415

    import accelerator  # noqa: PLC0415
    from accelerator.machine import load_preset  # noqa: PLC0415
    from analysis.runs.experiment import Experiment  # noqa: PLC0415
    from analysis.runs.experiment_file import (  # noqa: PLC0415
        ExperimentRecord,
        write_experiment_json,
    )
    from analysis.session_file import (  # noqa: PLC0415
        DataReference,
        ModelReference,
        Session,
        write_session_json,
    )
    from quant.config import uniform_config  # noqa: PLC0415

    array = io.BytesIO()
    np.save(array, np.ones((3, 4), np.float32))
    boxes = {
        "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
        "categories": [{"id": 1}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4],
             "segmentation": [[1, 1, 5, 1, 5, 5]]},
            {"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4],
             "segmentation": {"size": [8, 8], "counts": "o11"}},
        ],
    }  # fmt: skip
    experiment = Experiment(uniform_config(8, 8), load_preset("edge_systolic_8b"))
    presets = Path(accelerator.__file__).parent / "machines"
    session = Session(
        ModelReference("net", "m" * 64, "/home/one/net.pt2", input_shape=(3, 8, 8)),
        DataReference("images", "d" * 64, "/home/one/images", '{"resize": 8}', 16, 100, 3),
        ExperimentRecord(experiment),
    )
    return {
        "machine": (presets / "edge_systolic_8b.toml").read_bytes(),
        "experiment": write_experiment_json(experiment).encode(),
        "session": write_session_json(session).encode(),
        "measurements": b"network,latency_s,energy_j,batch\nkws,0.029,1e-3,1\nvww,0.5,,2\n",
        "table": b"age,size,label\n1,2.5,yes\n3,4.5,no\n5,6.5,yes\n",
        "dump": array.getvalue(),
        "priors": array.getvalue(),
        "names": b'{"conv_out": "conv1", "fc_out": "fc"}',
        "boxes": json.dumps(boxes).encode(),
        "masks": json.dumps(boxes).encode(),
        "labels": b"0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.4 0.1 0.4 0.4\n",
    }


def _store() -> bytes:
    from analysis.runs.run_store import RunStore  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder))
        store.keep_answer("question", [1, 2])
        return (Path(folder) / "runs.sqlite").read_bytes()


def _saved(path: Path, content: bytes) -> Path:
    """Write a file; return its path."""
    path.write_bytes(content)
    return path


def loaders(folder: Path) -> dict[str, Callable[[bytes], object]]:
    """Return what opens each kind of file, as the app does with an upload."""
    import torch  # noqa: PLC0415

    from analysis.runs.run_store import RunStore  # noqa: PLC0415
    from analysis.session_file import read_session_file  # noqa: PLC0415
    from data_io.arrays import open_array_file  # noqa: PLC0415
    from data_io.preprocessing import Preprocess  # noqa: PLC0415
    from model_io.builder.safetensors import load_safetensors_weights  # noqa: PLC0415
    from model_io.encodings.aimet_read import read_aimet_encodings  # noqa: PLC0415
    from model_io.load import load_uploaded_model  # noqa: PLC0415
    from quant.config import config_from_json  # noqa: PLC0415

    network = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))

    def store(content: bytes) -> object:
        for path in folder.glob("runs*"):
            path.unlink()
        _saved(folder / "runs.sqlite", content)
        return RunStore(folder).all_runs()

    def arrays(content: bytes) -> object:
        return open_array_file(_saved(folder / "a.npz", content), Preprocess())

    return {
        "pt2": lambda content: load_uploaded_model(_saved(folder / "a.upload", content), "a.pt2"),
        "onnx": lambda content: load_uploaded_model(_saved(folder / "a.upload", content), "a.onnx"),
        "safetensors": lambda content: load_safetensors_weights(
            network, _saved(folder / "a.safetensors", content)
        ),
        "npz": arrays,
        "packed npz": arrays,
        "config": lambda content: config_from_json(content.decode(errors="replace")),
        "preprocess": lambda content: Preprocess.from_json(content.decode(errors="replace")),
        "encodings": lambda content: read_aimet_encodings(content, "a.encodings"),
        "session": read_session_file,
        "store": store,
        **_small_loaders(folder),
    }


def _small_loaders(folder: Path) -> dict[str, Callable[[bytes], object]]:
    """Return what opens files of text, arrays without names, and targets of one image."""
    from PIL import Image  # noqa: PLC0415

    from accelerator.calibration.measurement_file import read_measurement_bytes  # noqa: PLC0415
    from accelerator.machine import load_machine, load_preset  # noqa: PLC0415
    from analysis.runs.experiment_file import read_experiment_json  # noqa: PLC0415
    from data_io.dump_files import read_dump, read_dump_names  # noqa: PLC0415
    from data_io.folder import open_folder  # noqa: PLC0415
    from data_io.preprocessing import Preprocess  # noqa: PLC0415
    from data_io.table_columns import TableColumns  # noqa: PLC0415
    from data_io.table_file import open_csv_table  # noqa: PLC0415
    from data_io.targets.attach_targets import with_targets  # noqa: PLC0415
    from data_io.targets.prior_boxes import read_prior_boxes  # noqa: PLC0415

    machine = load_preset("edge_systolic_8b")
    shown, labels = folder / "images", folder / "labels"
    for place in (shown, labels):
        place.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(shown / "a.png")

    def table(content: bytes) -> object:
        steps = Preprocess(table=TableColumns(label="label"))
        return open_csv_table(_saved(folder / "a.csv", content), steps)

    def targets(path: Path, classes: int | None = None) -> object:
        images = with_targets(open_folder(shown, Preprocess(resize=4)), path, classes)
        return cast("Any", images.source).read_targets(range(1))

    return {
        "machine": lambda content: load_machine(_saved(folder / "a.toml", content)),
        "experiment": lambda content: read_experiment_json(
            content.decode(errors="replace"), machine
        ),
        "measurements": read_measurement_bytes,
        "table": table,
        "dump": lambda content: read_dump(_saved(folder / "a.npy", content)),
        "priors": lambda content: read_prior_boxes(_saved(folder / "b.npy", content)),
        "names": lambda content: read_dump_names(content, "a.json"),
        "boxes": lambda content: targets(_saved(folder / "a.json", content)),
        "masks": lambda content: targets(_saved(folder / "a.json", content), 3),
        "labels": lambda content: targets(_saved(folder / "labels/a.txt", content).parent),
    }
