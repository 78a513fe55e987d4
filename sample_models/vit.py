"""A small vision transformer: patches, pre-norm blocks, softmax attention, GELU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head self-attention written as matmul and softmax, with every edge visible."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = width // heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def _split_heads(self, x: Tensor) -> Tensor:
        """Map (N, T, width) to (N, heads, T, head width)."""
        heads: Tensor = x.unflatten(2, (self.heads, self.head_width)).transpose(1, 2)
        return heads

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, width) to a tensor of equal shape."""
        q, k, v = (
            self._split_heads(self.query(x)),
            self._split_heads(self.key(x)),
            self._split_heads(self.value(x)),
        )
        scores = torch.matmul(q, k.transpose(-2, -1)) * self.head_width**-0.5
        mixed = torch.matmul(scores.softmax(-1), v)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a two-layer perceptron with GELU."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, width * expansion)
        self.fc2 = nn.Linear(width * expansion, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, width) to a tensor of equal shape."""
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return out


class FashionViT(nn.Module):
    """28 x 28 grey images to 10 logits: 49 patches of 4 x 4, five blocks of width 96, mean pool."""

    def __init__(self, classes: int = 10, width: int = 96, depth: int = 5, heads: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, width, 4, 4)
        self.position = nn.Parameter(torch.zeros(1, 49, width))
        self.blocks = nn.Sequential(*(Block(width, heads, 2) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 1, 28, 28) to logits (N, classes)."""
        tokens = self.patch(x).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.classifier(self.norm(self.blocks(tokens)).mean(1))
        return logits


def untrained_fashion_vit() -> nn.Module:
    """Return the untrained network of the sample `fashion-vit`."""
    return FashionViT()
