"""The device of a training: tensors go there, results come back to the CPU."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quant.encoding import Encoding
from quant.graph.float_graph import FloatGraph
from quant.inputs import Inputs, arrange_batch, map_each_tensor, sample_count
from quant.training.losses import TrainingLoss
from quant.training.settings import TrainingError
from quant.training.trainable import Trainable
from quant.training.training_data import Watched


@dataclass(frozen=True, slots=True)
class Placement:
    """The device, and the only batch size of the network (None for any)."""

    device: torch.device
    batch: int | None

    def place_inputs(self, inputs: Inputs) -> Inputs:
        """Return inputs (N, ...) on the device, N filled up to the network's batch size."""
        arranged = arrange_batch(inputs, self.batch)
        return map_each_tensor(lambda one: one.to(self.device), arranged)

    def place_targets(self, targets: Tensor | None) -> Tensor | None:
        """Return targets of shape (N, ...) on the device."""
        return None if targets is None else targets.to(self.device)


def device_of_name(name: str) -> torch.device:
    """Return the device with a name such as cpu or cuda; TrainingError if torch lacks it."""
    if name == "cpu" or (name.startswith("cuda") and torch.cuda.is_available()):
        return torch.device(name)
    raise TrainingError(
        f"The device must be cpu, or cuda where torch sees one; got {name!r}. Leave --device out."
    )


def encoding_on_cpu(one: Encoding) -> Encoding:
    """Return an encoding with its tensors on the CPU."""
    bits = None if one.channel_bits is None else one.channel_bits.cpu()
    return replace(one, scale=one.scale.cpu(), zero_point=one.zero_point.cpu(), channel_bits=bits)


@torch.no_grad()
def measure_watched_images(
    network: Trainable, teacher: FloatGraph, watched: Watched, loss: TrainingLoss, place: Placement
) -> tuple[float | None, float | None]:
    """Return loss and score of the watched images; None without images or classes."""
    summed, right, seen = 0.0, 0, 0
    for inputs, targets in watched:
        placed, goal = place.place_inputs(inputs), place.place_targets(targets)
        count = sample_count(inputs)
        outputs, wished = network(placed)[:count], teacher(placed)[:count]
        summed += float(loss(outputs, goal, wished)) * count
        if loss.classes:
            wanted = wished.argmax(-1) if goal is None else goal
            right += int((outputs.argmax(-1) == wanted).sum())
        seen += count
    if not seen:
        return None, None
    return summed / seen, right / seen if loss.classes else None
