"""Good files load and compute what they computed before; others are refused in clear words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from model_io.digest import module_state_digest
from model_io.errors import ModelError
from model_io.input_specs import InputSpec, read_input_specs, write_input_specs
from model_io.load import load_model, load_sample_model, load_uploaded_model
from model_io.loaded_model import LoadedModel, ModelOrigin
from model_io.pt2.archive import PROGRAM
from sample_models.registry import sample_named
from tests.model_io.pt2_files import Net


def net() -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = Net().eval()
    return model


@pytest.mark.parametrize("dynamic", [False, True])
def test_exported_networks_give_equal_outputs(
    good: dict[bool, bytes], tmp_path: Path, dynamic: bool
) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(good[dynamic])
    loaded = load_model(path)
    assert (loaded.name, loaded.input_shape, loaded.origin) == (
        "net",
        (1, 6, 6),
        ModelOrigin.EXPORTED,
    )
    assert loaded.batch == (None if dynamic else 2)
    x = torch.randn(2, 1, 6, 6)
    with torch.no_grad():
        assert torch.equal(loaded.module(x), net()(x))
        if dynamic:
            x = torch.randn(5, 1, 6, 6)
            assert torch.equal(loaded.module(x), net()(x))
    assert loaded.example_inputs(7).shape == ((7, 1, 6, 6) if dynamic else (2, 1, 6, 6))
    again = load_uploaded_model(path, "folder/other.pt2")
    assert again.name == "other"
    assert again.digest == loaded.digest


@pytest.mark.parametrize("name", ["fashion-mobilenet-imbalanced", "fashion-resnet", "fashion-vit"])
def test_samples_survive_export_and_load(tmp_path: Path, name: str) -> None:
    try:
        model = sample_named(name).build_network()
    except FileNotFoundError:
        pytest.skip("weights are not there")
    x = torch.randn(2, *sample_named(name).input_shape)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "net.pt2")
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "net.pt2").module(x), model(x))


class Wide(nn.Module):
    """Operators, types and arguments that small convolutional networks do not need."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = nn.Buffer(torch.ones(4, 4).tril().bool())
        self.norm = nn.LayerNorm(4)
        self.act = nn.GELU(approximate="tanh")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = torch.einsum("bij,bkj->bik", x, x).masked_fill(~self.mask, float("-inf"))
        y = nn.functional.scaled_dot_product_attention(x, x, x) + scores.softmax(-1)
        y = torch.cat([self.act(self.norm(y)), x.half().float()], dim=1)
        y = nn.functional.interpolate(y[:, None], scale_factor=2, mode="bilinear")
        padded = nn.functional.pad(y, (1, 1, 1, 1), mode="reflect")
        return padded.reshape(x.shape[0], -1)


@pytest.mark.parametrize("dynamic", [False, True])
def test_wide_range_of_operators(tmp_path: Path, dynamic: bool) -> None:
    shapes = ({0: torch.export.Dim("batch", min=1)},) if dynamic else None
    x = torch.randn(3, 4, 4)
    program = torch.export.export(Wide().eval(), (x,), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "wide.pt2")
    loaded = load_model(tmp_path / "wide.pt2")
    assert torch.equal(loaded.module(x), Wide().eval()(x))


def test_shared_weights_stay_shared(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.b = nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.b(self.a(x))
            return y

    model = Tied().eval()
    x = torch.randn(2, 4)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "tied.pt2")
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "tied.pt2").module(x), model(x))


def test_train_mode_is_refused(tmp_path: Path) -> None:
    program = torch.export.export(Net().train(), (torch.randn(2, 1, 6, 6),))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(ModelError, match=r"eval mode.*\.eval\(\)"):
        load_model(tmp_path / "net.pt2")


class Two(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b


def saved_two(folder: Path, second: torch.Tensor) -> Path:
    program = torch.export.export(Two(), (torch.zeros(2, 3), second))
    torch.export.save(program, folder / "two.pt2")
    return folder / "two.pt2"


def test_two_inputs_come_in_by_their_names(tmp_path: Path) -> None:
    loaded = load_model(saved_two(tmp_path, torch.zeros(2, 1, dtype=torch.int64)))
    assert loaded.inputs == (InputSpec("a", (3,)), InputSpec("b", (1,), "int64"))
    assert loaded.expected_inputs == loaded.inputs
    assert (loaded.input_shape, loaded.batch) == ((3,), 2)


def test_inputs_of_different_batches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"of one size, got the sizes .* in two\.pt2"):
        load_model(saved_two(tmp_path, torch.zeros(1, 3)))


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("3, 224,224", [InputSpec("", (3, 224, 224))]),
        ("3x8x8", [InputSpec("", (3, 8, 8))]),
        ("int:16", [InputSpec("", (16,), "int64")]),
        ("image=3,8,8; ids = int : 16;mask=bool:8,8", [
            InputSpec("image", (3, 8, 8)), InputSpec("ids", (16,), "int64"),
            InputSpec("mask", (8, 8), "bool"),
        ]),
        ("", []),
    ],
)  # fmt: skip
def test_shapes_are_read_and_written(text: str, inputs: list[InputSpec]) -> None:
    assert list(read_input_specs(text)) == inputs
    assert list(read_input_specs(write_input_specs(inputs))) == inputs


@pytest.mark.parametrize(
    "text", ["3,wide", "0,3", "3;4", "a=3;a=4", "=,", "word:3", "-1,3", "3..4"]
)
def test_shapes_that_are_none_are_told(text: str) -> None:
    with pytest.raises(ModelError, match="got"):
        read_input_specs(text)


def test_a_builder_takes_what_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(
        "import torch\nclass N(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.words = torch.nn.Embedding(5, 3)\n"
        "    def forward(self, ids, scale):\n        return self.words(ids).sum(1) * scale\n"
        "def make():\n    return N()\n"
    )
    save_file({"words.weight": torch.randn(5, 3)}, tmp_path / "two.safetensors")
    builder = f"{tmp_path}/two.py:make"
    loaded = load_model(tmp_path / "two.safetensors", builder, read_input_specs("int:4; scale=3"))
    assert loaded.expected_inputs == (InputSpec("ids", (4,), "int64"), InputSpec("scale", (3,)))


def test_program_without_its_parts(
    tampered_json: Callable[[str, Callable[[dict[str, Any]], object]], Path],
) -> None:
    path = tampered_json(PROGRAM, lambda program: program.pop("graph_module"))
    with pytest.raises(ModelError, match=r"JSON that torch\.export\.save writes"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"not a zip", b"[" * 99])
def test_files_that_are_no_archives(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.pt2 must"):
        load_model(path)


def test_sample_names() -> None:
    try:
        loaded = load_sample_model("fashion-resnet")
    except FileNotFoundError:
        pytest.skip("weights are not there")
    assert load_model("fashion-resnet").digest == loaded.digest
    assert loaded.origin is ModelOrigin.SAMPLE
    assert loaded.module(loaded.example_inputs(3)).shape == (3, 10)


@pytest.mark.parametrize("source", ["no-such-sample", "net.h5", "gone.pt2", ""])
def test_what_is_no_model(source: str) -> None:
    with pytest.raises(ModelError, match=r"sample \(fashion-mobilenet.*\.pt2"):
        load_model(source)


def test_uploads_are_formats_that_run_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    with pytest.raises(
        ModelError, match=r"upload must be one of \.pt2, \.onnx, got 'net\.safetensors'"
    ):
        load_uploaded_model(path, "net.safetensors")


BUILDER = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

def broken():
    raise RuntimeError("no such luck")

def no_net():
    return 3
"""


@pytest.fixture
def builder(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(BUILDER)
    return path


def load_weights_of(model: nn.Module, builder: Path, function: str = "net") -> LoadedModel:
    path = builder.with_name("weights.safetensors")
    save_file(model.state_dict(), path)
    return load_model(path, f"{builder}:{function}", (4,))


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def test_weights_with_a_builder(builder: Path) -> None:
    model = small()
    loaded = load_weights_of(model, builder)
    x = torch.randn(5, 4)
    with torch.no_grad():
        assert torch.equal(loaded.module(x), model(x))
    assert not loaded.module.training
    assert (loaded.name, loaded.input_shape) == ("weights", (4,))
    assert loaded.digest == load_weights_of(model, builder).digest
    assert loaded.digest != load_weights_of(small(), builder).digest


def test_weights_that_do_not_fit(builder: Path) -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 3)
            self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))

    with pytest.raises(ModelError, match=r"lacks 4: 0\.weight, .*, \.\.\.; has unknown 10: "):
        load_weights_of(Other(), builder)
    wide = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(ModelError, match=r"other shapes in 1: 0\.weight .*3 x 5.*has 3 x 4"):
        load_weights_of(wide, builder)


def test_builders_that_fail(builder: Path) -> None:
    cases = {
        "broken": r"nets\.py:broken must return a network.*RuntimeError: no such luck",
        "no_net": r"must return a torch\.nn\.Module, got int",
        "gone": r"nets\.py must define the function gone",
    }
    for function, match in cases.items():
        with pytest.raises(ModelError, match=match):
            load_weights_of(small(), builder, function)
    builder.write_text("import no_such_module_here")
    with pytest.raises(ModelError, match=r"nets\.py must run without errors, got ModuleNotFound"):
        load_weights_of(small(), builder)
    with pytest.raises(ModelError, match=r"builder's file must exist, got gone\.py"):
        load_model(builder.with_name("weights.safetensors"), "gone.py:net")
    with pytest.raises(ModelError, match=r"path\.py:function, got 'nets'"):
        load_model(builder.with_name("weights.safetensors"), "nets")
    with pytest.raises(ModelError, match="Weights alone are no network"):
        load_model(builder.with_name("weights.safetensors"))


def test_no_safetensors(builder: Path) -> None:
    path = builder.with_name("weights.safetensors")
    path.write_bytes(json.dumps({"a": 1}).encode())
    with pytest.raises(ModelError, match="must be a safetensors file"):
        load_model(path, f"{builder}:net")


def test_example_without_a_shape() -> None:
    loaded = LoadedModel("net", net(), (), None, "", ModelOrigin.BUILDER)
    with pytest.raises(ModelError, match="needs the input's shape"):
        loaded.example_inputs()


def test_digest_follows_the_values() -> None:
    model = net()
    before = module_state_digest(model)
    assert before == module_state_digest(net())
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1
    assert module_state_digest(model) != before
