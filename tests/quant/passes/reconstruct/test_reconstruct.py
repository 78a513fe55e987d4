"""Reconstruction of blocks: against all roundings, never worse, and to the bit after a kill."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.config import LayerConfig, QuantConfig, uniform_config
from quant.errors import CalibrationError
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.passes.adaround import AdaRound
from quant.passes.calibrate import Calibrate
from quant.passes.correct_bias import CorrectBias
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.passes.reconstruct import block_problem
from quant.passes.reconstruct.block_problem import BlockProblem
from quant.passes.reconstruct.block_samples import gather_samples
from quant.passes.reconstruct.blocks import find_blocks
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.passes.reconstruct.soft_rounding import BlockMethod
from quant.passes.reconstruct.stored_state import StoredState
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.spec import FLOAT_BITS, Granularity, QuantSpec, ScaleKind
from quant.training.trainable import make_trainable
from tests.networks import CASES, Wired, graph_of

FAST = Reconstruct(iterations=60, output_steps=0, batch=8)
NETWORKS = ("plain", "attention", "gated", "transposed")


def two_layers(seed: int) -> tuple[FloatGraph, QuantGraph, Tensor]:
    """Return two small layers with a ReLU between, weights at 3 bits, and inputs."""
    torch.manual_seed(seed)
    parts = {"one": nn.Linear(2, 2), "two": nn.Linear(2, 2)}
    model = Wired(lambda m, x: m.two(m.one(x).relu()), **parts)
    graph = capture_graph(model, (2,))
    weights = QuantConfig(LayerConfig(QuantSpec(3), QuantSpec(FLOAT_BITS)))
    inputs = torch.randn(256, 1) + 0.4 * torch.randn(256, 2)
    return graph, quantize_graph(graph, weights), inputs


def least_error(graph: FloatGraph, quantized: QuantGraph, inputs: Tensor) -> float:
    """Return the least error of the output over all 256 roundings, with the old biases."""
    wanted, best = graph(inputs), float("inf")
    forms: list[list[Tensor]] = []
    for name in ("one", "two"):
        encoding = quantized.quantizers[f"{name} weight"].encoding
        assert encoding is not None
        low = (graph.stored_tensor(f"{name}.weight") / encoding.scale).floor()
        forms.append(
            [
                (low + torch.tensor(ups).reshape(2, 2)).clamp(encoding.qmin, encoding.qmax)
                * encoding.scale
                for ups in product((0.0, 1.0), repeat=4)
            ]
        )
    biases = [graph.stored_tensor(f"{name}.bias") for name in ("one", "two")]
    for first in forms[0]:
        middle = F.linear(inputs, first, biases[0]).relu()
        for second in forms[1]:
            error = (F.linear(middle, second, biases[1]) - wanted).double().square().mean()
            best = min(best, float(error))
    return best


def mean_square(graph: FloatGraph, quantized: QuantGraph, inputs: Tensor) -> float:
    return float((quantized(inputs) - graph(inputs)).double().square().mean())


def test_a_block_comes_close_to_the_best_of_all_256_roundings() -> None:
    reached, nearest, by_layer = [], [], []
    for seed in range(2):
        graph, quantized, inputs = two_layers(seed)
        nearest.append(mean_square(graph, quantized, inputs))
        best = least_error(graph, quantized, inputs)
        settings = replace(FAST, iterations=150, batch=64, learning_rate=0.05)
        (found,) = drain_steps(settings(graph, quantized, [inputs])).blocks
        reached.append(mean_square(graph, quantized, inputs) / best)
        graph, quantized, inputs = two_layers(seed)
        drain_steps(AdaRound(iterations=150, rows=256, batch=64)(graph, quantized, [inputs]))
        by_layer.append(mean_square(graph, quantized, inputs) / best)
        assert found.after <= found.before
        nearest[-1] /= best
    assert max(reached) < 1.3  # below 1 where the biases help
    assert sum(reached) < sum(by_layer) < sum(nearest)


def calibrated(name: str, config: QuantConfig) -> tuple[FloatGraph, QuantGraph, Tensor]:
    graph = FoldBatchNorm()(graph_of(name))
    images = CASES[name].inputs(graph.batch or 24)
    statistics = drain_steps(Calibrate()(graph, [images]))
    return graph, quantize_graph(graph, config, statistics, (-3.0, 3.0)), images


@pytest.mark.parametrize("name", NETWORKS)
def test_the_float_network_stays_and_no_block_gets_worse(name: str) -> None:
    graph, quantized, images = calibrated(name, uniform_config(3, 8))
    wanted, before = graph(images), mean_square(graph, quantized, images)
    settings = replace(FAST, iterations=15, output_steps=6)
    found = drain_steps(settings(graph, quantized, [images]))
    assert torch.equal(graph(images), wanted)
    assert found.blocks
    assert all(block.after <= block.before for block in found.blocks)
    assert found.tuning is not None
    assert found.tuning.after <= found.tuning.before
    assert mean_square(graph, quantized, images) < 1.5 * before


def test_reported_errors_are_those_of_the_product() -> None:
    """The last block ends at the outputs: its error is that of the simulated network."""
    graph, quantized, images = calibrated("plain", uniform_config(3, 8))
    found = drain_steps(replace(FAST, output_steps=8)(graph, quantized, [images]))
    held = images[:3]  # one of eight judges
    wanted = graph(images)
    power = float(wanted.double().square().mean())
    assert found.tuning is not None
    with torch.no_grad():
        answers = quantized(held)
    error = float((answers - wanted[:3]).double().square().mean()) / power
    divergence = F.kl_div(
        answers.log_softmax(1), wanted[:3].log_softmax(1), reduction="batchmean", log_target=True
    )
    assert found.tuning.after == pytest.approx(error + float(divergence), rel=1e-3)


def test_weights_are_whole_numbers_of_the_present_encoding() -> None:
    graph, quantized, images = calibrated("plain", uniform_config(3, 8))
    drain_steps(replace(FAST, output_steps=8)(graph, quantized, [images]))
    for layer in graph.layers:
        if layer.weight is None:
            continue
        encoding = quantized.quantizers[f"{layer.name} weight"].encoding
        assert encoding is not None
        weight = quantized.graph.stored_tensor(layer.weight)
        assert torch.equal(encoding.fake_quantize(weight), weight)


def test_at_32_bits_nothing_changes() -> None:
    graph, quantized, images = calibrated("plain", uniform_config(FLOAT_BITS, FLOAT_BITS))
    found = drain_steps(replace(FAST, output_steps=5)(graph, quantized, [images]))
    assert not found.blocks
    assert set(found.skipped.values()) == {"its weight is float"}
    assert torch.equal(quantized(images), graph(images))


def test_a_weight_of_two_operations_keeps_its_rounding_and_says_so() -> None:
    graph, quantized, images = calibrated("shared", uniform_config(3, 8))
    found = drain_steps(FAST(graph, quantized, [images]))
    assert "another operation shares its weight" in found.skipped.values()


def test_powers_of_two_stay_powers_of_two() -> None:
    plain = uniform_config(3, 8)
    spec = replace(plain.default.weight, scale=ScaleKind.POWER_OF_TWO)
    config = replace(plain, default=replace(plain.default, weight=spec))
    graph, quantized, images = calibrated("plain", config)
    drain_steps(replace(FAST, iterations=5, output_steps=8)(graph, quantized, [images]))
    for name, quantizer in quantized.quantizers.items():
        if name.endswith(" weight") and quantizer.encoding is not None:
            exponents = torch.log2(quantizer.encoding.scale)
            assert torch.equal(exponents, exponents.round())


def digest(quantized: QuantGraph) -> list[Tensor]:
    tensors = [one.clone() for one in quantized.module.state_dict().values()]
    encodings = [one.encoding for one in quantized.quantizers.values() if one.encoding is not None]
    return tensors + [one.scale for one in encodings]


@pytest.mark.parametrize("word", ["reading", "Tuning"])
def test_a_stopped_reconstruction_goes_on_to_the_same_bits(tmp_path: Path, word: str) -> None:
    settings = replace(FAST, iterations=12, output_steps=20, block_layers=1)

    def state(name: str) -> StoredState:
        return StoredState(tmp_path / name, "question", every_s=0.0)

    graph, whole, images = calibrated("plain", uniform_config(3, 8))
    drain_steps(settings(graph, whole, [images]))
    graph, quantized, images = calibrated("plain", uniform_config(3, 8))
    steps = settings(graph, quantized, [images], state("a"))
    seen = 0
    for progress in steps:
        seen += word in progress.text
        if seen == 3:  # two blocks are done, or ten steps of the tuning
            break
    kept = (tmp_path / "a").read_bytes()
    steps.close()
    (tmp_path / "b").write_bytes(kept)  # as a kill leaves the file, without the last words
    for name in ("a", "b"):
        graph, quantized, images = calibrated("plain", uniform_config(3, 8))
        texts = [one.text for one in settings(graph, quantized, [images], state(name))]
        assert sum("reading" in text for text in texts) > sum(": step 0" in text for text in texts)
        for one, other in zip(digest(whole), digest(quantized), strict=True):
            assert torch.equal(one, other)


def test_a_finished_reconstruction_is_read_and_another_question_is_not(tmp_path: Path) -> None:
    settings = replace(FAST, iterations=30, output_steps=10)
    graph, first, images = calibrated("plain", uniform_config(3, 8))
    wanted = drain_steps(settings(graph, first, [images], StoredState(tmp_path / "s", "one")))
    for question, fewer in (("one", True), ("two", False)):
        graph, second, images = calibrated("plain", uniform_config(3, 8))
        steps = settings(graph, second, [images], StoredState(tmp_path / "s", question))
        texts = []
        while True:
            try:
                texts.append(next(steps).text)
            except StopIteration as stop:
                found = stop.value
                break
        assert any(text.endswith("step 10") for text in texts) is not fewer
        assert found.blocks == wanted.blocks
        for one, other in zip(digest(first), digest(second), strict=True):
            assert torch.equal(one, other)


def test_a_damaged_state_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"no tensors")
    graph, quantized, images = calibrated("plain", uniform_config(3, 8))
    settings = replace(FAST, iterations=3)
    assert drain_steps(settings(graph, quantized, [images], StoredState(tmp_path / "s"))).blocks


def test_a_cancelled_pass_leaves_finished_blocks_and_a_usable_network() -> None:
    graph, quantized, images = calibrated("plain", uniform_config(3, 8))
    before = {
        layer.name: quantized.graph.stored_tensor(layer.weight).clone()
        for layer in graph.layers
        if layer.weight
    }
    steps = replace(FAST, iterations=30, block_layers=1)(graph, quantized, [images])
    texts = []
    for progress in steps:
        texts.append(progress.text)
        if len([text for text in texts if "reading" in text]) == 2:
            break
    steps.close()
    changed = [
        name
        for name, tensor in before.items()
        if not torch.equal(quantized.graph.stored_tensor(f"{graph[name].weight}"), tensor)
    ]
    assert changed == [next(iter(before))]
    assert torch.isfinite(quantized(images)).all()


def test_bias_correction_behind_it_does_no_harm() -> None:
    graph, quantized, images = calibrated("plain", uniform_config(3, 8))
    drain_steps(replace(FAST, iterations=100)(graph, quantized, [images]))
    before = mean_square(graph, quantized, images)
    drain_steps(CorrectBias()(graph, quantized, [images]))
    assert mean_square(graph, quantized, images) < 1.3 * before


def test_it_starts_from_the_rounding_of_adaround() -> None:
    graph, quantized, images = calibrated("plain", uniform_config(3, 8))
    drain_steps(AdaRound(iterations=60, rows=100)(graph, quantized, [images]))

    def weights() -> list[Tensor]:
        names = [layer.weight for layer in graph.layers if layer.weight]
        return [quantized.graph.stored_tensor(name).clone() for name in names]

    before = weights()
    still = Reconstruct(iterations=1, output_steps=0, learning_rate=1e-9)
    drain_steps(still(graph, quantized, [images]))
    for one, other in zip(before, weights(), strict=True):
        torch.testing.assert_close(one, other)


def test_no_image_is_an_error_and_so_are_impossible_numbers() -> None:
    graph, quantized, _ = two_layers(0)
    with pytest.raises(CalibrationError, match="at least one image"):
        drain_steps(FAST(graph, quantized, []))
    with pytest.raises(ValueError, match="at least 1"):
        Reconstruct(iterations=0)


def test_groups_keep_their_common_scale() -> None:
    spec = QuantSpec(3, granularity=Granularity.PER_GROUP, group_size=4)
    config = QuantConfig(LayerConfig(spec, QuantSpec(FLOAT_BITS)))
    torch.manual_seed(0)
    graph = capture_graph(Wired(lambda m, x: m.one(x), one=nn.Linear(8, 4)), (8,))
    quantized = quantize_graph(graph, config)
    before = quantized.quantizers["one weight"].encoding
    drain_steps(replace(FAST, output_steps=8)(graph, quantized, [torch.randn(32, 8)]))
    after = quantized.quantizers["one weight"].encoding
    assert before is not None
    assert after is not None
    assert torch.equal(before.scale, after.scale)


def scales_of_weights(quantized: QuantGraph) -> dict[str, Tensor]:
    return {
        name: one.encoding.scale
        for name, one in quantized.quantizers.items()
        if name.endswith(" weight") and one.encoding is not None
    }


def test_scales_of_weights_learn_in_blocks_if_outputs_are_tuned_and_stay_otherwise() -> None:
    for steps in (0, 1):
        graph, quantized, images = calibrated("plain", uniform_config(3, 8))
        before = scales_of_weights(quantized)
        settings = replace(FAST, iterations=8, output_steps=steps)
        drain_steps(settings(graph, quantized, [images]))
        after = scales_of_weights(quantized)
        same = [torch.equal(scale, after[name]) for name, scale in before.items()]
        assert all(same) is (steps == 0)


def test_biases_that_follow_the_decided_weights_leave_a_smaller_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors = []
    for share in (0.0, block_problem.SETTLE_SHARE):
        monkeypatch.setattr(block_problem, "SETTLE_SHARE", share)
        graph, quantized, images = calibrated("plain", uniform_config(3, 8))
        settings = replace(FAST, iterations=40)
        errors.append(drain_steps(settings(graph, quantized, [images])).blocks[0].after)
    assert errors[1] < errors[0]


def test_where_nothing_but_the_rounding_learns_the_last_steps_rest() -> None:
    torch.manual_seed(0)
    graph = capture_graph(Wired(lambda m, x: m.one(x), one=nn.Linear(8, 4, bias=False)), (8,))
    quantized = quantize_graph(graph, uniform_config(3, FLOAT_BITS, Granularity.PER_TENSOR))
    inputs = torch.randn(64, 1) + 0.3 * torch.randn(64, 8)
    settings = replace(FAST, batch=32)
    (block,) = drain_steps(settings(graph, quantized, [inputs])).blocks
    assert block.after < block.before


def test_only_activations_of_few_bits_are_dropped_inside_a_block() -> None:
    found = []
    for bits in (4, 8):
        graph, quantized, images = calibrated("plain", uniform_config(4, bits))
        blocks = find_blocks(graph)
        samples = gather_samples(graph, blocks, [images], mirror=False)
        method = BlockMethod(
            {one.name: graph.stored_tensor(one.weight) for one in graph.layers if one.weight}
        )
        with make_trainable(quantized, method) as network:
            found.append(len(BlockProblem(graph, network, blocks[0], samples, None).drops))
    assert found[0] > 0
    assert found[1] == 0


def test_mirrored_copies_teach_and_images_that_judge_stay_apart() -> None:
    graph = graph_of("plain")
    images = CASES["plain"].inputs(24)
    samples = gather_samples(graph, find_blocks(graph), [images], mirror=True)
    assert (samples.held, len(samples)) == (3, 24 + 21)
    torch.testing.assert_close(samples.inputs[0][:24], images)
    torch.testing.assert_close(samples.inputs[0][24:], images[3:].flip(-1))
    behind = gather_samples(graph, find_blocks(graph), [images.permute(0, 2, 3, 1)], mirror=True)
    assert len(behind) == 24  # with the channels last, a flip would exchange colours
