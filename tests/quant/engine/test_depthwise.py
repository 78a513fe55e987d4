"""Depthwise convolutions and rounding in one pass, against torch."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from quant.config import uniform_config
from quant.encoding import Encoding
from quant.engine.depthwise import (
    DepthwiseConvolution,
    Padding,
    encode_values,
    is_plain,
    read_convolutions,
)
from quant.engine.fused_convolution import Clip
from quant.engine.portable import PortableOperation, make_portable_graph
from quant.engine.program import compile_program
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import plan_sites

ENCODING = Encoding(torch.tensor(0.037), torch.tensor(11.0), 0, 255)


def images(channels: int, height: int, width: int, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(channels + height)
    return torch.randn(count, channels, height, width, generator=generator)


@pytest.mark.parametrize(
    ("channels", "size", "kernel", "stride", "dilation", "padding", "clip"),
    [
        (32, (9, 11), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (0.0, 6.0)),
        (45, (7, 6), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (0.0, None)),
        (45, (7, 12), (5, 5), (2, 2), (1, 1), (1, 2, 1, 2), None),  # zeros only on one side more
        (3, (8, 9), (3, 5), (1, 2), (2, 1), (0, 3, 4, 0), (-0.5, 0.5)),
        (70, (3, 2), (5, 5), (1, 1), (1, 1), (2, 2, 2, 2), None),  # never a whole kernel inside
        (16, (3, 3), (3, 3), (3, 3), (1, 1), (4, 4, 4, 4), None),  # positions without any input
        (40, (16, 16), (4, 2), (1, 1), (1, 3), (0, 0, 0, 0), (0.0, None)),
    ],
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_it_is_the_convolution_of_torch(
    channels: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: Padding,
    clip: Clip | None,
    *,
    with_bias: bool,
) -> None:
    x, generator = images(channels, *size), torch.Generator().manual_seed(5)
    weight = torch.randn(channels, 1, *kernel, generator=generator)
    bias = torch.randn(channels, generator=generator) if with_bias else None
    ours = DepthwiseConvolution("x", "w", None, stride, dilation, padding, clip)
    packed = ours.pack_weight(weight, 8)
    found = ours(x, packed, bias)
    padded = functional.pad(x, padding).double()
    wanted = functional.conv2d(
        padded, weight.double(), None if bias is None else bias.double(), stride, 0, dilation,
        groups=channels,
    )  # fmt: skip
    wanted = wanted if clip is None else wanted.clamp(*clip)
    torch.testing.assert_close(found.double(), wanted, atol=2e-6, rtol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)
    channels_last = ours(x.contiguous(memory_format=torch.channels_last), packed, bias)
    assert torch.equal(channels_last, found)
    # the encoding inside the kernel is the encoding behind it, to the last bit
    assert torch.equal(ours(x, packed, bias, ENCODING), ENCODING.fake_quantize(found))


def test_what_is_no_number_stays_none() -> None:
    ours = DepthwiseConvolution("x", "w", None, (1, 1), (1, 1), (0, 0, 0, 0), (0.0, 6.0))
    x, weight = images(20, 4, 4), torch.ones(20, 1, 1, 1)
    x[0, 3, 2, 1], x[1, 17, 0, 0] = float("nan"), float("inf")
    for encoding in (None, ENCODING):
        found = ours(x, ours.pack_weight(weight, 8), None, encoding)
        assert found.isnan().nonzero().tolist() == [[0, 3, 2, 1]]
        assert found[1, 17, 0, 0] > 5.9


@pytest.mark.parametrize("shape", [(2, 50, 9, 9), (3, 4000), (2, 3)])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_rounding_in_one_pass_has_the_bits_of_the_encoding(
    shape: tuple[int, ...], *, in_place: bool, last: bool
) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 4
    x.view(-1)[:4] = torch.tensor([0.0185, 0.0555, -0.0185, float("inf")])  # ties, and a clip
    if last and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    wanted, kept = ENCODING.fake_quantize(x), x.clone()
    assert torch.equal(encode_values(ENCODING, x, in_place=in_place), wanted)
    assert in_place or torch.equal(x, kept)
    symmetric = Encoding(torch.tensor(0.1), torch.tensor(0.0), -8, 7)
    assert torch.equal(encode_values(symmetric, kept), symmetric.fake_quantize(kept))


def test_scattered_values_and_scales_of_channels_go_to_the_encoding_itself() -> None:
    x = images(64, 10, 10)
    scales = Encoding(torch.full((64, 1, 1), 0.1), torch.zeros(64, 1, 1), -8, 7)
    assert not is_plain(scales)
    assert torch.equal(encode_values(scales, x), scales.fake_quantize(x))
    part = x[:, :, ::2]
    assert torch.equal(encode_values(ENCODING, part), ENCODING.fake_quantize(part))
    assert encode_values(ENCODING, x.double()).dtype is torch.float64


class Padded(nn.Module):
    """Two pads before convolutions, the first read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(6, 6, 3, 2, groups=6)
        self.whole = nn.Conv2d(6, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = functional.pad(x, (0, 1, 0, 1))
        found: Tensor = self.depthwise(functional.pad(x, (0, 1, 1, 2))).relu()
        deep: Tensor = self.whole(functional.pad(x, (1, 1, 2, 2)))
        return found.sum((2, 3)) + (first * 2).sum((2, 3)) + deep.sum((1, 2, 3))[:, None]


def padded_graph() -> FloatGraph:
    torch.manual_seed(0)
    return capture_graph(Padded().eval(), (6, 8, 8))


def test_zeros_around_become_part_of_the_convolution() -> None:
    graph = padded_graph()
    portable = make_portable_graph(graph, ())
    users: dict[str, list[PortableOperation]] = {item.name: [] for item in portable.operations}
    for operation in portable.operations:
        for source in operation.source_names:
            users[source].append(operation)
    convolutions, absorbed = read_convolutions(portable, users)
    assert len(absorbed) == 2
    assert {type(one).__name__: one.padding for one in convolutions.values()} == {
        "DepthwiseConvolution": (0, 1, 1, 2),
        "FusedConvolution": [2, 1],
    }
    x = images(6, 8, 8)
    with torch.no_grad():
        found = compile_program(graph, plan_sites(graph, uniform_config(8, 8)))(x)
        torch.testing.assert_close(found, graph(x), atol=1e-4, rtol=1e-5)
