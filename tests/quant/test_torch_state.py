"""Several people at once: torch's state is one for the process, and each gets their own results."""

import threading
from collections.abc import Callable

import torch
import torch.fx.config
from torch import Tensor

from quant.encoding import Encoding
from quant.engine.depthwise import encode_values
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.ranges.range_search import search_row_ranges
from quant.spec import QuantSpec
from quant.torch_state import exclusive_torch


def at_once(*work: Callable[[], None]) -> list[BaseException]:
    """Run functions in a thread each; return what they raised."""
    problems: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001  any is a failure of the test
            problems.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems


def network(width: int) -> torch.nn.Module:
    torch.manual_seed(width)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, width, 3, padding=1), torch.nn.BatchNorm2d(width), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, 4),
    ).eval()  # fmt: skip


def test_networks_captured_at_once_are_those_captured_alone() -> None:
    networks = {width: network(width) for width in (2, 3)}
    found: dict[int, FloatGraph] = {}

    def one(width: int) -> Callable[[], None]:
        def work() -> None:
            found[width] = capture_graph(networks[width], (3, 8, 8))

        return work

    assert at_once(*(one(width) for width in networks)) == []
    for width, one_network in networks.items():
        alone = capture_graph(one_network, (3, 8, 8))
        assert [layer.name for layer in found[width].layers] == [x.name for x in alone.layers]
        x = torch.rand(2, 3, 8, 8)
        assert torch.equal(found[width](x), alone(x))


def test_forwards_are_the_same_to_the_last_bit_while_another_thread_traces() -> None:
    graph = capture_graph(network(24), (3, 32, 32))
    x = torch.rand(8, 3, 32, 32)
    traced = threading.Event()
    outputs: list[Tensor] = []

    def trace() -> None:
        try:
            capture_graph(network(6), (3, 8, 8))
        finally:
            traced.set()

    def run() -> None:
        torch.set_num_threads(1)
        while not traced.is_set():
            with torch.inference_mode():
                outputs.append(graph(x))

    with torch.inference_mode():
        expected = graph(x)
    assert at_once(trace, run) == []
    assert outputs
    assert all(torch.equal(output, expected) for output in outputs)
    assert torch.backends.mkldnn.enabled


def test_machine_code_is_neither_imported_nor_compiled_while_another_thread_traces() -> None:
    """torch.export replaces functions of math; Numba then finds lambdas where functions were."""
    begun, over = threading.Event(), threading.Event()
    seen: list[bool] = []

    def trace() -> None:
        with exclusive_torch():
            begun.set()
            over.wait(0.3)
            over.set()

    def choose_ranges() -> None:
        begun.wait()
        search_row_ranges(
            torch.rand(2, 8), torch.zeros(2), torch.ones(2), QuantSpec(8, symmetric=False)
        )
        seen.append(over.is_set())

    def encode() -> None:
        begun.wait()
        encode_values(Encoding(torch.tensor(0.1), torch.tensor(0.0), 0, 255), torch.rand(4096))
        seen.append(over.is_set())

    assert at_once(trace, choose_ranges, encode) == []
    assert seen == [True, True]


def test_a_traced_graph_holds_no_stack_of_the_machine_that_traced_it() -> None:
    with exclusive_torch():
        program = torch.export.export(torch.nn.Linear(3, 2), (torch.ones(1, 3),))
    assert not any("stack_trace" in node.meta for node in program.graph.nodes)
    assert not torch.fx.config.do_not_emit_stack_traces
