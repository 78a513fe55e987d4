"""The networks of MLPerf Tiny, and AlexNet, as tables of layers: shapes without weights."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from accelerator.workload import Op, OpKind, TensorInfo, Workload

Shape = tuple[int, int, int]
"""Channels, height and width of an activation."""


@dataclass
class TableBuilder:
    """Appends operations to a network; an operation reads the last written activation `x`.

    Weights have `weight_bits`, activations `activation_bits`; `batch` images run at once.
    """

    weight_bits: int
    activation_bits: int
    batch: int = 1
    ops: list[Op] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    x: str = "input"

    def start_with_input(self, *shape: int) -> None:
        """Begin with an input of channels, height and width."""
        channels, height, width = shape
        self.shapes[self.x] = (channels, height, width)

    def add_convolution(
        self,
        c_out: int,
        kernel: tuple[int, int] = (3, 3),
        stride: int = 1,
        *,
        groups: int = 1,
        out: tuple[int, int] | None = None,
    ) -> str:
        """Append a convolution, padded to an output of 1 / stride of the input's size."""
        c_in, height, width = self.shapes[self.x]
        size = out or (-(-height // stride), -(-width // stride))
        depthwise = groups == c_in == c_out
        op = Op(
            name=f"{'depthwise' if depthwise else 'conv'} {len(self.ops)}",
            kind=OpKind.DEPTHWISE if depthwise else OpKind.CONV,
            inputs=(self.x,),
            output=f"t{len(self.ops)}",
            batch=self.batch,
            c_in=c_in,
            c_out=c_out,
            in_h=height,
            in_w=width,
            out_h=size[0],
            out_w=size[1],
            kernel_h=kernel[0],
            kernel_w=kernel[1],
            stride_h=stride,
            stride_w=stride,
            groups=1 if depthwise else groups,
            bias_elements=c_out,
        )
        return self._append_op(op, (c_out, *size))

    def add_depthwise(self, stride: int = 1) -> str:
        """Append a depthwise 3 x 3 convolution."""
        channels = self.shapes[self.x][0]
        return self.add_convolution(channels, stride=stride, groups=channels)

    def add_linear(self, c_out: int) -> str:
        """Append a linear layer over the whole output of the last operation."""
        channels, height, width = self.shapes[self.x]
        op = Op(
            name=f"linear {len(self.ops)}",
            kind=OpKind.LINEAR,
            inputs=(self.x,),
            output=f"t{len(self.ops)}",
            batch=self.batch,
            c_in=channels * height * width,
            c_out=c_out,
            bias_elements=c_out,
        )
        return self._append_op(op, (c_out, 1, 1))

    def add_pool(self, kernel: tuple[int, int], stride: int, out: tuple[int, int]) -> str:
        """Append a pooling layer with an output of height and width `out`."""
        channels, height, width = self.shapes[self.x]
        op = Op(
            name=f"pool {len(self.ops)}",
            kind=OpKind.POOL,
            inputs=(self.x,),
            output=f"t{len(self.ops)}",
            batch=self.batch,
            c_in=channels,
            c_out=channels,
            in_h=height,
            in_w=width,
            out_h=out[0],
            out_w=out[1],
            kernel_h=kernel[0],
            kernel_w=kernel[1],
            stride_h=stride,
            stride_w=stride,
        )
        return self._append_op(op, (channels, *out))

    def add_global_pool(self) -> str:
        """Append the mean over the positions."""
        _, height, width = self.shapes[self.x]
        return self.add_pool((height, width), 1, (1, 1))

    def add_residual_sum(self, other: str) -> str:
        """Append the sum of the last activation and `other`."""
        op = Op(
            name=f"add {len(self.ops)}",
            kind=OpKind.ELTWISE,
            inputs=(self.x, other),
            output=f"t{len(self.ops)}",
        )
        return self._append_op(op, self.shapes[self.x])

    def build_workload(self, name: str) -> Workload:
        """Return the network; the output is the result of the last operation."""
        sizes = {name: self.batch * c * h * w for name, (c, h, w) in self.shapes.items()}
        tensors = tuple(TensorInfo(n, size, self.activation_bits) for n, size in sizes.items())
        return Workload(name, tuple(self.ops), tensors, ("input",), (self.x,))

    def _append_op(self, op: Op, shape: Shape) -> str:
        bits = self.activation_bits
        self.ops.append(
            replace(op, weight_bits=self.weight_bits, activation_bits=bits, output_bits=bits)
        )
        self.shapes[op.output] = shape
        self.x = op.output
        return op.output


def _resnet8_table(table: TableBuilder) -> None:
    """Image classification: ResNet-8 on CIFAR-10, 12.50 M MACs."""
    add_cifar_resnet(table, 1)


def add_cifar_resnet(table: TableBuilder, blocks: int) -> None:
    """Add a ResNet for CIFAR-10 with `blocks` residual blocks in each of its three stages."""
    table.start_with_input(3, 32, 32)
    table.add_convolution(16)
    for channels, first in ((16, 1), (32, 2), (64, 2)):
        for stride in (first, *(1,) * (blocks - 1)):
            skip = table.x
            table.add_convolution(channels, stride=stride)
            main = table.add_convolution(channels)
            if stride == 2:
                table.x = skip
                skip = table.add_convolution(channels, (1, 1), 2)
                table.x = main
            table.add_residual_sum(skip)
    table.add_global_pool()
    table.add_linear(10)


def _ds_cnn_table(table: TableBuilder) -> None:
    """Keyword spotting: DS-CNN on 49 x 10 spectra, 2.66 M MACs."""
    table.start_with_input(1, 49, 10)
    table.add_convolution(64, (10, 4), 2)
    for _ in range(4):
        table.add_depthwise()
        table.add_convolution(64, (1, 1))
    table.add_global_pool()
    table.add_linear(12)


def _mobilenet_quarter_table(table: TableBuilder) -> None:
    """Visual wake words: MobileNetV1 of width 0.25 on 96 x 96 images, 7.49 M MACs."""
    table.start_with_input(3, 96, 96)
    table.add_convolution(8, stride=2)
    blocks = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *((128, 1),) * 5, (256, 2))
    for channels, stride in (*blocks, (256, 1)):
        table.add_depthwise(stride)
        table.add_convolution(channels, (1, 1))
    table.add_global_pool()
    table.add_linear(2)


def _auto_encoder_table(table: TableBuilder) -> None:
    """Anomaly detection: an auto-encoder over 640 values, 0.264 M MACs."""
    table.start_with_input(640, 1, 1)
    for channels in (128, 128, 128, 128, 8, 128, 128, 128, 128, 640):
        table.add_linear(channels)


def _alexnet_convolutions(table: TableBuilder) -> None:
    """AlexNet's convolutions with the groups of the two towers, without the linear layers."""
    table.start_with_input(3, 227, 227)
    table.add_convolution(96, (11, 11), 4, out=(55, 55))
    table.add_pool((3, 3), 2, (27, 27))
    table.add_convolution(256, (5, 5), groups=2)
    table.add_pool((3, 3), 2, (13, 13))
    table.add_convolution(384)
    table.add_convolution(384, groups=2)
    table.add_convolution(256, groups=2)


def _alexnet_table(table: TableBuilder) -> None:
    """AlexNet with the groups of the two towers."""
    _alexnet_convolutions(table)
    table.add_pool((3, 3), 2, (6, 6))
    for channels in (4096, 4096, 1000):
        table.add_linear(channels)


NETWORKS: dict[str, Callable[[TableBuilder], None]] = {
    "ic": _resnet8_table,
    "kws": _ds_cnn_table,
    "vww": _mobilenet_quarter_table,
    "ad": _auto_encoder_table,
    "alexnet": _alexnet_table,
    "alexnet_convolutions": _alexnet_convolutions,
}
TINY = ("ic", "kws", "vww", "ad")
"""The tasks of MLPerf Tiny."""


def network_table(
    name: str, weight_bits: int = 8, activation_bits: int = 8, batch: int = 1
) -> Workload:
    """Return a published network as a table of layers with equal widths.

    Raises:
        ValueError: the name is not in `NETWORKS`.
    """
    if name not in NETWORKS:
        raise ValueError(
            f"A published network must be one of {', '.join(NETWORKS)}; got {name!r}. Choose one."
        )
    table = TableBuilder(weight_bits, activation_bits, batch)
    NETWORKS[name](table)
    return table.build_workload(name)


def describe_networks() -> Iterator[tuple[str, str]]:
    """Yield the names of the published networks, with a line about the network."""
    for name, build in NETWORKS.items():
        yield name, (build.__doc__ or "").strip()
