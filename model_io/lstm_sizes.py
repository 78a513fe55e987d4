"""The sizes of an LSTM's tensors: torch's fast kernel reads outside tensors of other sizes."""

from collections.abc import Sequence

from torch import Tensor


def find_lstm_misfit(
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    *,
    layers: int = 1,
    directions: int = 1,
    has_biases: bool = True,
    batch_first: bool = False,
) -> str | None:
    """Return what does not fit the inputs (T, N, F), or (N, T, F) if `batch_first`; None if all do.

    `states` are the first output (L, N, P) and the first cell (L, N, H) of every layer and
    direction; `weights` are the arguments of `torch.lstm`, in its order.

    Example:
        >>> import torch
        >>> zeros = torch.zeros(1, 2, 4)
        >>> given = [torch.zeros(16, 3), torch.zeros(16, 4)]
        >>> find_lstm_misfit(torch.zeros(5, 2, 3), [zeros, zeros], given, has_biases=False)
        >>> find_lstm_misfit(torch.zeros(5, 9, 3), [zeros, zeros], given, has_biases=False)
        'states of shape (1, 9, 4), got (1, 2, 4)'
    """
    if x.dim() != 3 or len(states) != 2 or any(state.dim() != 3 for state in states):
        return f"inputs and two states of 3 axes, got {[tuple(t.shape) for t in (x, *states)]}"
    batch, features = x.shape[0 if batch_first else 1], x.shape[2]
    outputs, hidden = states[0].shape[2], states[1].shape[2]
    for state, size in zip(states, (outputs, hidden), strict=True):
        if tuple(state.shape) != (layers * directions, batch, size):
            wanted = layers * directions, batch, size
            return f"states of shape {wanted}, got {tuple(state.shape)}"
    expected: list[tuple[int, ...]] = []
    for layer in range(layers):
        width = outputs * directions if layer else features
        own: list[tuple[int, ...]] = [(4 * hidden, width), (4 * hidden, outputs)]
        own += [(4 * hidden,)] * 2 if has_biases else []
        own += [(outputs, hidden)] if outputs != hidden else []
        expected += own * directions
    found = [tuple(weight.shape) for weight in weights]
    return None if found == expected else f"weights of shapes {expected}, got {found}"
