"""A network that is a graph already: an imported file, which needs no trace by torch.export."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor, nn


class StaticNetwork(nn.Module):
    """A network whose forward calls the same operators for all values of the inputs.

    The capture records two runs of the network, which takes a tenth of the time of torch.export.
    """

    @abstractmethod
    def run_by_operation(
        self, inputs: Sequence[Tensor], leave: Callable[[str], None]
    ) -> tuple[Tensor, ...]:
        """Return the outputs for inputs of shape (N, ...); tell `leave` each module that ran.

        The path belongs to all calls since the module before.
        """
