"""Time the cost model: a network of 200 layers on every preset should take less than 50 ms.

Run from the repository: python -m benchmarks.cost_model
"""

import statistics
import time

from accelerator import (
    Op,
    OpKind,
    TensorInfo,
    Workload,
    estimate_workload,
    load_preset,
    preset_names,
)

LAYERS = 200
BUDGET_MS = 50.0
REPEATS = 7


def build_network(layers: int = LAYERS) -> Workload:
    """Return convolutions of differing shapes with a residual sum after every fourth."""
    tensors = [TensorInfo("t0", 64 * 28 * 28, 8)]
    ops: list[Op] = []
    for index in range(layers):
        name, source = f"t{index + 1}", f"t{index}"
        tensors.append(TensorInfo(name, 64 * 28 * 28, 8))
        if index % 5 == 4:
            ops.append(Op(f"add{index}", OpKind.ELTWISE, (source, f"t{index - 3}"), name))
            continue
        kernel = (1, 3)[index % 2]
        kind = OpKind.DEPTHWISE if index % 5 == 3 else OpKind.CONV
        ops.append(
            Op(
                f"conv{index}",
                kind,
                (source,),
                name,
                c_in=64,
                c_out=64,
                in_h=28,
                in_w=28,
                out_h=28,
                out_w=28,
                kernel_h=kernel,
                kernel_w=kernel,
                weight_bits=(2, 4, 8)[index % 3],
            )
        )
    return Workload("bench", tuple(ops), tuple(tensors), ("t0",), (f"t{layers}",))


def main() -> None:
    """Print the median and the worst of several runs in ms for every preset."""
    started = time.perf_counter()
    network = build_network()
    print(f"build the workload: {1e3 * (time.perf_counter() - started):.1f} ms")
    for name in preset_names():
        started = time.perf_counter()
        machine = load_preset(name)
        load_ms = 1e3 * (time.perf_counter() - started)
        runs = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            estimate_workload(network, machine)
            runs.append(1e3 * (time.perf_counter() - started))
        verdict = "ok" if statistics.median(runs) < BUDGET_MS else f"over {BUDGET_MS:g} ms"
        print(
            f"{name:20} median {statistics.median(runs):5.1f} ms  worst {max(runs):5.1f} ms  "
            f"load {load_ms:4.1f} ms  {verdict}"
        )


if __name__ == "__main__":
    main()
