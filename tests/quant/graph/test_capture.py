"""Capture: the graph computes what the network computes, or a sentence says why there is none."""

import copy
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from quant.errors import CaptureError
from quant.graph.capture import capture_graph
from tests.networks import CASES, SMALL, Wired, graph_of


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_graph_computes_what_the_module_computes_for_any_batch(name: str) -> None:
    case, graph = CASES[name], graph_of(name)
    model = case.model()
    assert graph.batch is None
    assert graph.input_shape == case.shape
    for count in (1, 3, 8):
        inputs = case.inputs(count, seed=count)
        wanted = model(inputs)
        assert torch.equal(graph(inputs), wanted)
        assert graph.output_shape == wanted.shape[1:]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_the_module_of_the_caller_stays_as_it_was(name: str, *, training: bool) -> None:
    model = CASES[name].model().train(training)
    before = copy.deepcopy(model.state_dict())
    graph = capture_graph(model, CASES[name].shape)
    with torch.no_grad():
        for tensor in (*graph.module.parameters(), *graph.module.buffers()):
            tensor.zero_()
    assert all(module.training == training for module in model.modules())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_network_in_training_mode_is_captured_as_in_eval_mode() -> None:
    case = CASES["plain"]
    inputs = case.inputs(3)
    assert torch.equal(
        capture_graph(case.model().train(), case.shape)(inputs), case.model()(inputs)
    )


def test_an_exported_program_gives_the_same_graph() -> None:
    case = CASES["kitchen"]
    program = export(case.model(), (case.inputs(2),), dynamic_shapes=({0: Dim("n", min=1)},))
    graph = capture_graph(program, case.shape)
    assert graph.batch is None
    assert graph.layers == graph_of("kitchen").layers
    assert torch.equal(graph(case.inputs(5)), case.model()(case.inputs(5)))


def test_a_program_exported_for_one_batch_size_says_which() -> None:
    case = CASES["plain"]
    graph = capture_graph(export(case.model(), (case.inputs(4),)), case.shape)
    assert graph.batch == 4
    assert torch.equal(graph(case.inputs(4)), case.model()(case.inputs(4)))


def test_a_network_is_captured_for_the_batch_size_asked_for() -> None:
    model = Wired(lambda m, x: m.linear(x.reshape(4, 6)), linear=nn.Linear(6, 2))
    graph = capture_graph(model, (6,), batch=4)
    assert graph.batch == 4
    inputs = torch.randn(4, 6)
    assert torch.equal(graph(inputs), model(inputs))
    with pytest.raises(CaptureError, match=r"traceable by torch\.export"):
        capture_graph(model, (6,))


def test_a_network_that_takes_one_image_only_is_captured_for_one() -> None:
    model = Wired(lambda m, x: m.linear(x.reshape(1, 6)), linear=nn.Linear(6, 2))
    graph = capture_graph(model, (6,))
    assert graph.batch == 1
    inputs = torch.randn(1, 6)
    assert torch.equal(graph(inputs), model(inputs))


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return x + other


class Whole(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(1)


class Raising(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError(f"out of cheese at {x.dim()} axes\nsecond line")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (Branching, r"by torch.export with an input of shape \(batch, 3\); it stopped in .*py"),
        (Branching, r"Replace control flow that depends on values"),
        (lambda: nn.Sequential(nn.Linear(3, 3), Branching()), "Replace control flow"),
        (lambda: nn.Linear(4, 4), "same reduction dim.*or check the input shape"),
        (Raising, "out of cheese.*check the input shape"),
        (TwoInputs, "missing a required argument: 'other'"),
        (Whole, "must return real numbers; got 1 outputs without real numbers"),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_captured_is_refused_in_one_line(
    build: Callable[[], nn.Module], words: str
) -> None:
    with pytest.raises(CaptureError, match=words) as error:
        capture_graph(build().eval(), (3,))
    assert "\n" not in str(error.value)


def test_the_message_names_the_function_at_fault() -> None:
    model = nn.Sequential(nn.Linear(3, 3), Branching())
    with pytest.raises(CaptureError) as error:
        capture_graph(model, (3,))
    line = Branching.forward.__code__.co_firstlineno + 1
    assert re.search(rf"test_capture\.py\", line {line}, in forward", str(error.value))


def test_an_exported_program_whose_inputs_differ_in_their_batch_is_refused() -> None:
    program = export(TwoInputs(), (torch.zeros(2, 3), torch.zeros(1, 3)))
    with pytest.raises(CaptureError, match="of one size; got the sizes 2, 1"):
        capture_graph(program, (3,))


def test_weights_used_twice_stay_one_tensor() -> None:
    case = CASES["shared"]
    graph, model = graph_of("shared").copy_graph(), case.model()
    assert graph["conv"].weight == graph["conv_2"].weight == "conv.weight"
    assert graph.parameter_count() == sum(p.numel() for p in model.parameters())
    graph.store_tensor("conv.weight", 2 * graph.stored_tensor("conv.weight"))
    model.get_parameter("conv.weight").data.mul_(2)
    assert torch.equal(graph(case.inputs(2)), model(case.inputs(2)))


def test_a_copy_has_weights_and_a_graph_of_its_own() -> None:
    original, inputs = graph_of("kitchen"), CASES["kitchen"].inputs(2)
    wanted = original(inputs)
    copied = original.copy_graph()
    assert torch.equal(copied(inputs), wanted)
    for layer in copied.layers:
        if layer.weight:
            copied.store_tensor(layer.weight, torch.zeros(layer.weight_shape))
    copied.module.graph.erase_node(next(n for n in copied.module.graph.nodes if n.op == "output"))
    assert torch.equal(original(inputs), wanted)


def test_an_unknown_layer_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"No layer 'conv9'; there are \['input', 'conv1'"):
        graph_of("kitchen")["conv9"]


def test_a_node_is_found_by_its_present_name_after_every_change_of_the_graph() -> None:
    graph = capture_graph(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), (3,))
    layer = graph.layers[-1]
    node = graph.node_named(layer.node)
    other = copy.deepcopy(graph)
    assert other.node_named(layer.node) in other.module.graph.nodes
    with graph.module.graph.inserting_after(node):
        new = graph.module.graph.call_function(torch.abs, (node,))
    assert graph.node_named(new.name) is new
    name = new.name
    new._rename("renamed")
    assert graph.node_named("renamed") is new
    with pytest.raises(KeyError):
        graph.node_named(name)
    graph.module.graph.erase_node(new)
    with pytest.raises(KeyError):
        graph.node_named("renamed")
