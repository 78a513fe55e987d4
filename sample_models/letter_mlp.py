"""A multi-layer perceptron for tables: four linear layers with ReLU between."""

from torch import Tensor, nn


class LetterMLP(nn.Module):
    """16 standardised columns to 26 logits through three hidden layers of 256 neurons."""

    def __init__(self, columns: int = 16, width: int = 256, classes: int = 26) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(columns, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (N, columns) to logits (N, classes)."""
        logits: Tensor = self.layers(x)
        return logits


def untrained_letter_mlp() -> nn.Module:
    """Return the untrained network of the sample `letter-mlp`."""
    return LetterMLP()
