"""A `.pt2` of the simulated network: torch alone loads it, and it computes the same to the bit."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from model_io.artefacts.pt2_program import write_pt2_program
from model_io.load import load_uploaded_model
from quant.config import uniform_config
from quant.passes.calibrate import Calibrate
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.spec import Granularity, SpecChange
from tests.networks import CASES, SMALL, graph_of

ALONE = """
import sys
import torch
sys.path = [place for place in sys.path if place]
program = torch.export.load(sys.argv[1])
inputs = torch.load(sys.argv[2], weights_only=True)
torch.save(program.module()(inputs), sys.argv[3])
assert not [name for name in sys.modules if name.partition(".")[0] in ("quant", "model_io")]
names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
assert all(name.startswith(("aten.", "<built-in")) for name in names), names
"""


@cache
def simulated(name: str, weight_bits: int = 8, bits: int = 8, **more: Granularity) -> QuantGraph:
    graph = graph_of(name)
    calibration = drain_steps(Calibrate(8)(graph, [CASES[name].inputs(8)]))
    config = uniform_config(weight_bits, bits, **more)
    return quantize_graph(graph, config, calibration)


@cache
def written(name: str) -> bytes:
    """Return the program of `simulated(name)`; once for all tests."""
    return write_pt2_program(simulated(name))


def loaded(program: bytes, folder: Path) -> torch.nn.Module:
    path = folder / "net.pt2"
    path.write_bytes(program)
    return torch.export.load(path).module()


@pytest.mark.parametrize("name", [*SMALL, "fashion-vit", "fashion-mobilenet"])
def test_it_computes_the_same_to_the_bit(name: str, tmp_path: Path) -> None:
    quantized = simulated(name)
    module = loaded(written(name), tmp_path)
    for count in (1, 5) if quantized.graph.batch is None else (quantized.graph.batch,):
        inputs = CASES[name].inputs(count)
        with torch.inference_mode():
            assert torch.equal(module(inputs), quantized(inputs))


@pytest.mark.parametrize(
    ("bits", "granularity"),
    [
        ((3, 5), Granularity.PER_GROUP), ((16, 16), Granularity.PER_TENSOR),
        ((4, 32), Granularity.PER_CHANNEL), ((32, 8), Granularity.PER_CHANNEL),
    ],
)  # fmt: skip
def test_every_width_and_granularity(
    bits: tuple[int, int], granularity: Granularity, tmp_path: Path
) -> None:
    quantized = simulated("kitchen", *bits, granularity=granularity)
    inputs = CASES["kitchen"].inputs(3)
    module = loaded(write_pt2_program(quantized), tmp_path)
    with torch.inference_mode():
        assert torch.equal(module(inputs), quantized(inputs))


def test_images_whose_channels_come_last_in_memory(tmp_path: Path) -> None:
    quantized = simulated("fashion-mobilenet")
    module = loaded(written("fashion-mobilenet"), tmp_path)
    inputs = CASES["fashion-mobilenet"].inputs(64).contiguous(memory_format=torch.channels_last)
    inputs = inputs.as_strided(inputs.shape, (784, 1, 28, 1))  # as a data set gives them
    with torch.inference_mode():
        assert torch.equal(module(inputs), quantized(inputs))


def test_asymmetric_weights(tmp_path: Path) -> None:
    graph = graph_of("plain")
    change = SpecChange(symmetric=False)
    config = uniform_config(8, 8).with_layer_change(graph.layers[1].name, weight=change)
    inputs = CASES["plain"].inputs(3)
    quantized = quantize_graph(graph, config, drain_steps(Calibrate(3)(graph, [inputs])))
    module = loaded(write_pt2_program(quantized), tmp_path)
    with torch.inference_mode():
        assert torch.equal(module(inputs), quantized(inputs))


def test_weights_are_held_as_whole_numbers(tmp_path: Path) -> None:
    quantized = simulated("fashion-mobilenet")
    (tmp_path / "net.pt2").write_bytes(written("fashion-mobilenet"))
    held = torch.export.load(tmp_path / "net.pt2").state_dict
    whole = sum(t.numel() for t in held.values() if t.dtype is torch.int8)
    assert whole == sum(
        quantized.graph.stored_tensor(str(layer.weight)).numel()
        for layer in quantized.graph.layers
        if layer.weight
    )


def test_a_fresh_process_without_our_code_loads_it(tmp_path: Path) -> None:
    quantized = simulated("kitchen")
    inputs = CASES["kitchen"].inputs(4)
    (tmp_path / "net.pt2").write_bytes(written("kitchen"))
    torch.save(inputs, tmp_path / "in.pt")
    names = [str(tmp_path / name) for name in ("net.pt2", "in.pt", "out.pt")]
    subprocess.run([sys.executable, "-c", ALONE, *names], cwd=tmp_path, check=True)
    with torch.inference_mode():
        wanted = quantized(inputs)
    assert torch.equal(torch.load(tmp_path / "out.pt", weights_only=True), wanted)


def test_it_may_come_in_again_as_a_model(tmp_path: Path) -> None:
    quantized = simulated("plain")
    path = tmp_path / "net.pt2"
    path.write_bytes(written("plain"))
    back = load_uploaded_model(path, "net.pt2")
    inputs = CASES["plain"].inputs(4)
    with torch.inference_mode():
        assert torch.equal(back.module(inputs), quantized(inputs))
