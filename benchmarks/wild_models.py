"""Architectures as people bring them: exported three ways, loaded, scored, costed, exported again.

python -m benchmarks.wild_models [NAME ...] prints a row for each file.
"""

import argparse
import math
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import onnxruntime as ort
import torch
from torch import Tensor, nn

from analysis.cost.workload import build_workload
from analysis.network import prepare_network
from model_io.load import load_model
from model_io.qdq_export.export_qdq import export_qdq_onnx
from quant.config import uniform_config
from quant.inputs import KINDS, draw_batch, tensors_of_batch
from quant.passes.calibrate import Calibrate
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from tests.networks_wild import VISION, Wild
from tests.networks_wild_sequences import SEQUENCES

WILD = {**VISION, **SEQUENCES}
HEAD = "| architecture | file | batch | W8A8 dB | W4A8 dB | weights | MACs | float | Q/DQ file dB |"
Export = Callable[[nn.Module, Wild, Path], None]
BATCH = {0: torch.export.Dim("batch", min=1, max=4096)}


def examples(wild: Wild) -> tuple[Tensor, ...]:
    """Return a batch of two zeros for each input."""
    return tuple(torch.zeros(2, *one.shape, dtype=KINDS[one.kind]) for one in wild.inputs)


def write_pt2(model: nn.Module, wild: Wild, path: Path) -> None:
    """Write a .pt2 file with a free batch."""
    given = examples(wild)
    program = torch.export.export(model, given, dynamic_shapes=tuple(BATCH for _ in given))
    torch.export.save(program, path)


def write_onnx(model: nn.Module, wild: Wild, path: Path) -> None:
    """Write an ONNX file by the exporter that traces with torch.export."""
    given = examples(wild)
    shapes = tuple(BATCH for _ in given)
    torch.onnx.export(model, given, str(path), dynamo=True, dynamic_shapes=shapes, verbose=False)


def write_old_onnx(model: nn.Module, wild: Wild, path: Path) -> None:
    """Write an ONNX file by the older exporter."""
    names = [one.name for one in wild.inputs]
    axes = {name: {0: "batch"} for name in names}
    torch.onnx.export(
        model, examples(wild), str(path), dynamo=False, input_names=names, dynamic_axes=axes
    )


EXPORTS: dict[str, tuple[Export, str]] = {
    ".pt2": (write_pt2, "net.pt2"),
    "ONNX": (write_onnx, "net.onnx"),
    "older ONNX": (write_old_onnx, "old.onnx"),
}


def sqnr_db(expected: Tensor, found: Tensor) -> float:
    """Return the signal to noise ratio; infinity for equal values."""
    noise = float((expected - found).double().square().sum())
    signal = float(expected.double().square().sum())
    return math.inf if noise == 0 else 10 * math.log10(max(signal, 1e-30) / noise)


def row(path: Path) -> str:
    """Load a file, quantize, cost and export it; return the cells of its row."""
    loaded = load_model(str(path))
    model = loaded.program or loaded.module
    network = prepare_network(
        loaded.name, model, loaded.expected_inputs, loaded.digest, loaded.batch
    )
    graph = network.graph
    inputs = draw_batch(graph.inputs, graph.batch or 4)
    calibration = drain_steps(Calibrate()(graph, [inputs]))
    with torch.inference_mode():
        expected = graph(inputs)
        noise = [
            sqnr_db(expected, quantize_graph(graph, uniform_config(bits, 8), calibration)(inputs))
            for bits in (8, 4)
        ]
    counted = sum(op.macs for op in build_workload("wild", graph, uniform_config(8, 8)).ops)
    quantized = quantize_graph(graph, uniform_config(8, 8), calibration)
    exported = export_qdq_onnx(quantized).model.SerializeToString()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
    feed = zip(session.get_inputs(), tensors_of_batch(inputs), strict=True)
    theirs = session.run(None, {one.name: values.numpy() for one, values in feed})[0]
    apart = sqnr_db(quantized(inputs), torch.from_numpy(theirs))
    weights = sum(bool(layer.weight) for layer in graph.layers)
    macs = f"{network.mac_count}"
    if counted != network.mac_count:
        macs += f" != {counted}"
    return (
        f"{graph.batch or 'any'} | {noise[0]:.0f} | {noise[1]:.0f} | {weights} | {macs} | "
        f"{len(network.float_weights)} | {apart:.0f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="architectures; all by default")
    chosen = parser.parse_args().names or list(WILD)
    warnings.simplefilter("ignore")
    print(HEAD)
    print("|---" * 9 + "|")
    for name in chosen:
        torch.manual_seed(0)
        model = WILD[name].build().eval()
        for title, (export, file) in EXPORTS.items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / file
                try:
                    with redirect_stdout(sys.stderr):
                        export(model, WILD[name], path)
                        found = row(path)
                except Exception as error:  # noqa: BLE001  the exporters raise every kind
                    found = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            print(f"| {name} | {title} | {found} |", flush=True)


if __name__ == "__main__":
    main()
