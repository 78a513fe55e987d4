"""Several processes that train one network, a part of each batch each (torchrun)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from quant.training.settings import TrainingError

LONGEST_WAIT = timedelta(minutes=30)
"""A process waits so long for the others: they load and calibrate at different speeds."""


@dataclass(frozen=True, slots=True)
class WorkerProcesses:
    """The processes of a training: the own place from 0, and the number of processes.

    Each process trains `batch` images of a step; the gradients are averaged, so a step is that of
    one process with `count` times the batch.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether the process writes files and prints."""
        return self.rank == 0

    def own_part(self, batch: int) -> slice:
        """Return the part of a common batch (`count` x `batch` images) of the process.

        >>> WorkerProcesses(1, 2).own_part(32)
        slice(32, 64, None)
        """
        return slice(self.rank * batch, (self.rank + 1) * batch)

    def share_gradients(self, module: nn.Module, *, some_rest: bool = False) -> nn.Module:
        """Return a module with equal outputs whose backward averages gradients over processes.

        `some_rest` says that a parameter may take no part in a step.
        """
        if self.count == 1:
            return module
        return DistributedDataParallel(
            module, forward_sync_buffers=False, find_unused_parameters=some_rest
        )

    @torch.no_grad()
    def mean_of_value(self, value: Tensor) -> float:
        """Return the mean of a scalar over the processes."""
        if self.count == 1:
            return float(value)
        held = value.detach().clone()
        dist.all_reduce(held)
        return float(held) / self.count

    def mean_of_tensor(self, x: Tensor) -> Tensor:
        """Return the mean of tensors of equal shape over the processes; gradients flow through."""
        if self.count == 1:
            return x
        summed: Tensor = _SumOverWorkers.apply(x)  # type: ignore[no-untyped-call]
        return summed / self.count


class _SumOverWorkers(torch.autograd.Function):
    """The sum over the processes; each process's loss pulls at each summand."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        """Return the sum of the processes' tensors, of x's shape."""
        del ctx
        held = x.detach().clone()
        dist.all_reduce(held)
        return held

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        """Return the sum of the gradients of the processes, of x's shape."""
        del ctx
        held = gradients[0].clone()
        dist.all_reduce(held)
        return held


def present_workers() -> WorkerProcesses:
    """Return the processes of the present group; one process without a group."""
    if dist.is_available() and dist.is_initialized():
        return WorkerProcesses(dist.get_rank(), dist.get_world_size())
    return WorkerProcesses()


@contextmanager
def join_workers(device: str) -> Iterator[WorkerProcesses]:
    """Join the processes that torchrun started, for the block; without torchrun there is one.

    torchrun tells each process its place in the environment (RANK, WORLD_SIZE, LOCAL_RANK). On CUDA
    each process has a GPU of its own, and NCCL carries the gradients; on the CPU gloo does.

    Raises:
        TrainingError: there are fewer GPUs than processes on the machine.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield WorkerProcesses()
        return
    place = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = device.startswith("cuda")
    if cuda and place >= torch.cuda.device_count():
        raise TrainingError(
            f"Each process on CUDA needs a GPU of its own; got process {place} and "
            f"{torch.cuda.device_count()} GPUs. Start fewer processes, or leave --device out."
        )
    if cuda:
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=LONGEST_WAIT)
    try:
        yield present_workers()
    finally:
        dist.destroy_process_group()
