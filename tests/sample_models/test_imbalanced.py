import copy

import pytest
import torch
from torch import nn

from data_io.bundled import fashion_test_set
from sample_models.imbalanced import ClippedReLU, unbalance_channels
from sample_models.mobilenet import FashionMobileNet
from sample_models.registry import sample_named


def network() -> FashionMobileNet:
    """Seeded, with batch norm statistics as if trained, so that activations reach the cap of 6."""
    torch.manual_seed(0)
    model = FashionMobileNet().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 3.0)
                module.bias.normal_()
                module.get_buffer("running_mean").normal_(std=0.2)
                module.get_buffer("running_var").uniform_(0.2, 1.0)
    return model


def test_the_function_stays_the_same() -> None:
    model = network()
    x = next(fashion_test_set().batches(32)).inputs
    with torch.no_grad():
        before = model(x)
        after = unbalance_channels(copy.deepcopy(model)).eval()(x)
    assert (before - after).abs().max() <= 1e-4 * before.abs().max()


def test_caps_are_reached() -> None:
    """Without clipping per channel the outputs would differ, so the test above can fail."""
    model = network()
    x = next(fashion_test_set().batches(32)).inputs
    spoilt = unbalance_channels(copy.deepcopy(model)).eval()
    for module in spoilt.modules():
        if isinstance(module, ClippedReLU):
            module.cap.fill_(6.0)
    with torch.no_grad():
        before = model(x)
        assert (before - spoilt(x)).abs().max() > 0.01 * before.abs().max()


def test_channels_differ_by_large_factors() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    after = unbalance_channels(model).state_dict()
    for name in ("blocks.4.expand.1.weight", "blocks.4.depthwise.0.weight"):
        ratio = after[name] / before[name]
        assert float(ratio.max() / ratio.min()) > 100
        assert float(ratio.min()) >= 0.9999 / 16
        assert float(ratio.max()) <= 1.0001 * 16


def test_seeded() -> None:
    first, again, other = (unbalance_channels(network(), seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["blocks.1.expand.1.weight"], other["blocks.1.expand.1.weight"])


def test_all_but_expansions_and_their_depthwise_layers_are_left_alone() -> None:
    before, after = network().state_dict(), unbalance_channels(network()).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        f"blocks.{block}.{name}"
        for block in range(1, 8)
        for name in ("expand.1.weight", "expand.1.bias", "depthwise.0.weight")
    }


def test_clipped_relu_cuts_per_channel_and_exports_as_one_operator() -> None:
    module = ClippedReLU(torch.tensor([1.0, 2.0]))
    x = torch.tensor([-1.0, 0.5, 3.0]).expand(2, 3).reshape(1, 2, 1, 3)
    assert module(x).tolist() == [[[[0.0, 0.5, 1.0]], [[0.0, 0.5, 2.0]]]]
    program = torch.export.export(module, (x,))
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert calls == ["aten.clamp.Tensor"]


def test_one_scale_a_tensor_ruins_it() -> None:
    """Symmetric 8-bit weights with batch norms folded, one scale a layer, 500 test images."""
    part = next(fashion_test_set().batches(500))
    scores = {}
    for name in ("fashion-mobilenet", "fashion-mobilenet-imbalanced"):
        try:
            model = sample_named(name).build_network()
        except FileNotFoundError as error:
            pytest.skip(str(error))
        with torch.inference_mode():
            for layer in [m for m in model.modules() if isinstance(m, nn.Sequential)]:
                if len(layer) > 1 and isinstance(layer[1], nn.BatchNorm2d):
                    fake_quantize_folded(layer)
            scores[name] = float((model(part.inputs).argmax(1) == part.labels).float().mean())
    assert scores["fashion-mobilenet"] > 0.8
    assert scores["fashion-mobilenet-imbalanced"] < 0.5


def fake_quantize_folded(layer: nn.Sequential) -> None:
    """Round the weights as they are after folding, written back before the batch norm."""
    weight, variance = layer.get_parameter("0.weight"), layer.get_buffer("1.running_var")
    gain = (layer.get_parameter("1.weight") / torch.sqrt(variance + 1e-5)).reshape(-1, 1, 1, 1)
    folded = weight * gain
    scale = folded.abs().max() / 127
    weight.copy_((folded / scale).round() * scale / gain)


def test_another_network_is_refused() -> None:
    model = network()
    model.blocks.append(nn.Identity())
    with pytest.raises(TypeError, match="Blocks must be InvertedResidual, got Identity"):
        unbalance_channels(model)
