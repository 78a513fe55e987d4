"""Networks built by hand for the tests of the cost model."""

from dataclasses import replace

from accelerator import Op, OpKind, TensorInfo, Workload


def conv(
    name: str,
    c_in: int,
    c_out: int,
    size: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    batch: int = 1,
    groups: int = 1,
    padded: bool = False,
    w: int = 8,
    a: int = 8,
) -> Op:
    """A square convolution with `size` output rows; depthwise where groups equal c_in."""
    in_size = (size - 1) * stride + kernel if padded else size * stride
    depthwise = groups == c_in and groups > 1
    return Op(
        name=name,
        kind=OpKind.DEPTHWISE if depthwise else OpKind.CONV,
        inputs=(f"{name}.in",),
        output=f"{name}.out",
        batch=batch,
        c_in=c_in,
        c_out=c_out,
        in_h=in_size,
        in_w=in_size,
        out_h=size,
        out_w=size,
        kernel_h=kernel,
        kernel_w=kernel,
        stride_h=stride,
        stride_w=stride,
        groups=1 if depthwise else groups,
        weight_bits=w,
        activation_bits=a,
        output_bits=a,
    )


def linear(name: str, c_in: int, c_out: int, rows: int = 1, *, w: int = 8, a: int = 8) -> Op:
    """A fully connected layer over `rows` rows."""
    return Op(
        name=name,
        kind=OpKind.LINEAR,
        inputs=(f"{name}.in",),
        output=f"{name}.out",
        batch=rows,
        c_in=c_in,
        c_out=c_out,
        weight_bits=w,
        activation_bits=a,
        output_bits=a,
    )


def alone(op: Op) -> Workload:
    """A network of one op with one or more inputs of its own size."""
    rows = op.lower_to_gemm().rows * op.lower_to_gemm().columns * op.lower_to_gemm().groups
    sizes = {op.output: (rows, op.output_bits)}
    sizes |= dict.fromkeys(op.inputs, (op.count_input_elements, op.activation_bits))
    tensors = tuple(TensorInfo(name, count, bits) for name, (count, bits) in sizes.items())
    return Workload(op.name, (op,), tensors, op.inputs, (op.output,))


class Chain:
    """Builds a network op by op, remembering the tensors."""

    def __init__(self, channels: int, size: int, bits: int = 8, weight_bits: int = 8) -> None:
        self.bits, self.weight_bits = bits, weight_bits
        self.ops: list[Op] = []
        self.tensors: dict[str, TensorInfo] = {}
        self.shapes: dict[str, tuple[int, int]] = {}
        self.x = self._store("input", channels, size)

    def _store(self, name: str, channels: int, size: int) -> str:
        self.tensors[name] = TensorInfo(name, channels * size * size, self.bits)
        self.shapes[name] = (channels, size)
        return name

    def conv(self, c_out: int, kernel: int = 3, stride: int = 1, *, depthwise: bool = False) -> str:
        """Append a same-padded convolution."""
        c_in, size = self.shapes[self.x]
        name, out = f"op{len(self.ops)}", size // stride
        groups = c_in if depthwise else 1
        op = conv(name, c_in, c_out, out, kernel, stride=stride, groups=groups)
        return self._append(op, c_out, out)

    def pool(self, kernel: int, stride: int) -> str:
        """Append a pooling layer."""
        channels, size = self.shapes[self.x]
        op = Op(f"op{len(self.ops)}", OpKind.POOL, (self.x,), "", kernel_h=kernel, kernel_w=kernel)
        return self._append(op, channels, size // stride)

    def add(self, other: str) -> str:
        """Append the sum of the last tensor and another."""
        op = Op(f"op{len(self.ops)}", OpKind.ELTWISE, (self.x, other), "")
        return self._append(op, *self.shapes[self.x], inputs=(self.x, other))

    def linear(self, c_out: int) -> str:
        """Append a classifier over everything."""
        channels, size = self.shapes[self.x]
        op = linear(f"op{len(self.ops)}", channels * size * size, c_out)
        return self._append(op, c_out, 1)

    def _append(
        self, op: Op, channels: int, size: int, *, inputs: tuple[str, ...] | None = None
    ) -> str:
        out = self._store(f"t{len(self.ops)}", channels, size)
        self.ops.append(
            replace(
                op,
                inputs=inputs or (self.x,),
                output=out,
                weight_bits=self.weight_bits,
                activation_bits=self.bits,
                output_bits=self.bits,
            )
        )
        self.x = out
        return out

    def build(self, name: str) -> Workload:
        """Finish the network; the last tensor is its output."""
        tensors = tuple(self.tensors.values())
        return Workload(name, tuple(self.ops), tensors, ("input",), (self.x,))


def resnet18(bits: int = 8, weight_bits: int = 8) -> Workload:
    """ResNet-18 at 224 x 224 (He et al. 2016)."""
    net = Chain(3, 224, bits, weight_bits)
    net.conv(64, 7, 2)
    net.pool(3, 2)
    for stage, channels in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            start = net.x
            net.conv(channels, 3, stride)
            main = net.conv(channels, 3)
            if stride == 2:
                net.x = start
                start = net.conv(channels, 1, 2)
                net.x = main
            net.add(start)
    net.pool(7, 7)
    net.linear(1000)
    return net.build("resnet18")


def mobilenet_v2() -> Workload:
    """MobileNetV2 at 224 x 224 (Sandler et al. 2018)."""
    net = Chain(3, 224)
    net.conv(32, 3, 2)
    blocks = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2))
    for expand, c_out, count, first in (*blocks, (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for index in range(count):
            stride = first if index == 0 else 1
            start, (c_in, _) = net.x, net.shapes[net.x]
            if expand > 1:
                net.conv(c_in * expand, 1)
            net.conv(c_in * expand, 3, stride, depthwise=True)
            net.conv(c_out, 1)
            if index:
                net.add(start)
    net.conv(1280, 1)
    net.pool(7, 7)
    net.linear(1000)
    return net.build("mobilenet_v2")


def resnet50() -> Workload:
    """ResNet-50 at 224 x 224, stride in the 3 x 3 convolutions."""
    net = Chain(3, 224)
    net.conv(64, 7, 2)
    net.pool(3, 2)
    for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(count):
            stride = 2 if stage and not block else 1
            start = net.x
            net.conv(width, 1)
            net.conv(width, 3, stride)
            main = net.conv(4 * width, 1)
            if block == 0:
                net.x = start
                start = net.conv(4 * width, 1, stride)
                net.x = main
            net.add(start)
    net.pool(7, 7)
    net.linear(1000)
    return net.build("resnet50")
