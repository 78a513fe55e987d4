"""Architectures as people bring them: exported three ways, loaded, scored, costed, exported again.

python -m benchmarks.wild_models [NAME ...] prints a row for each file.
"""

import argparse
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from accelerator.machine import load_preset
from analysis.network import Network, forward_first_output
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.sensitivity.analyze import analyze_sensitivity
from analysis.sensitivity.sweep import Depth, Sweep
from analysis.split import ImageChoice, choose_data_split
from analysis.study import Study
from commands.inputs import open_network
from commands.work.write_export import ExportWish, write_export
from quant.config import uniform_config
from quant.inputs import KINDS, draw_batch, tensors_of_batch
from quant.progress import drain_steps
from tests.networks_wild import VISION, Wild
from tests.networks_wild_sequences import SEQUENCES

WILD = {**VISION, **SEQUENCES}
HEAD = (
    "| architecture | file | batch | W8A8 dB | W4A8 dB | screened | weights | float | MACs |"
    " Q/DQ file dB | s |"
)
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


@dataclass(frozen=True, slots=True)
class Found:
    """What became of a file: batch, SQNR at two widths, counts, and how the exported file agrees.

    `screened` counts layers with an answer; `macs` holds both counts where cost and layers differ.
    """

    batch: str
    sqnr_db: tuple[float, ...]
    screened: int
    weights: int
    floating: int
    macs: str
    exported_db: float

    def cells(self) -> str:
        """Return the cells of a row."""
        levels = " | ".join(f"{level:.0f}" for level in self.sqnr_db)
        return (
            f"{self.batch} | {levels} | {self.screened} | {self.weights} | {self.floating} | "
            f"{self.macs} | {self.exported_db:.0f}"
        )


def images_file(network: Network, path: Path, count: int) -> Path:
    """Write random images, with the float network's best class as labels of a classifier."""
    drawn = draw_batch(network.graph.inputs, count)
    arrays = {
        one.name if len(network.graph.inputs) > 1 else "inputs": values.numpy()
        for one, values in zip(network.graph.inputs, tensors_of_batch(drawn), strict=True)
    }
    if "mask" in arrays:  # a row without a place to attend to has no answer
        arrays["mask"][:, 0] = 1
    if network.is_classifier:
        with torch.no_grad():
            outputs = forward_first_output(network.graph, network.graph.batch, drawn)
        arrays["labels"] = outputs.argmax(-1).numpy()
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def measured(network: Network, folder: Path) -> Found:
    """Score, screen, cost and export a network, with a check of the file in ONNX Runtime."""
    count = max(16, 2 * (network.graph.batch or 1))
    data = images_file(network, folder / "data.npz", count)
    config = uniform_config(8, 8)
    experiment = Experiment(config, load_preset("edge_systolic_8b"))
    split = choose_data_split("wild", network, config, ImageChoice(data, calibration=count // 2))
    study = Study.of_split(network, split)
    scored = [drain_steps(measure_experiment(study, one)) for one in
              (experiment, experiment.with_config(uniform_config(4, 8)))]  # fmt: skip
    screened = drain_steps(
        analyze_sensitivity(study, Sweep(config, bits=(4,)), depth=Depth.SCREENING)
    )
    macs = scored[0].cost.macs
    wish = ExportWish(study, experiment, "onnx-qdq", folder / "out.onnx", "wild", check=True)
    answer, _ = drain_steps(write_export(wish))
    execution = cast("dict[str, dict[str, float | None]]", answer["execution"])
    plain = execution["node_by_node"]["sqnr_db"]
    return Found(
        "any" if network.graph.batch is None else str(network.graph.batch),
        tuple(run.evaluation.sqnr_db for run in scored),
        len({cell.question.layer for cell in screened.scores}),
        sum(bool(layer.weight) for layer in network.graph.layers),
        len(network.float_weights),
        str(macs) if macs == network.mac_count else f"{network.mac_count} != {macs}",
        math.inf if plain is None else plain,
    )


def row_of_file(path: Path) -> str:
    """Return the cells of a file: what was measured, or the sentence that refuses it."""
    try:
        network = open_network(str(path), None, None)
        return measured(network, path.parent).cells()
    except ValueError as error:
        return f"refused: {' '.join(str(error).split())}"
    except Exception as error:  # noqa: BLE001  a row of the table says what broke
        return f"BROKEN {type(error).__name__}: {' '.join(str(error).split())[:300]}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="architectures; all by default")
    chosen = parser.parse_args().names or list(WILD)
    warnings.simplefilter("ignore")
    print(HEAD)
    print("|---" * HEAD.count(" |") + "|")
    for name in chosen:
        torch.manual_seed(0)
        model = WILD[name].build().eval()
        for title, (export, file) in EXPORTS.items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / file
                try:
                    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                        export(model, WILD[name], path)
                except Exception as error:  # noqa: BLE001  the exporters raise every kind
                    print(f"| {name} | {title} | not exported: {str(error)[:160]!r} |", flush=True)
                    continue
                start = time.monotonic()
                with redirect_stdout(sys.stderr):
                    found = row_of_file(path)
            print(f"| {name} | {title} | {found} | {time.monotonic() - start:.1f} |", flush=True)


if __name__ == "__main__":
    main()
