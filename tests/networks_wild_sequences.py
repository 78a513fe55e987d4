"""Architectures that people bring, at small size: sequences, tables, points, volumes and sound."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from quant.inputs import Input
from tests.networks_wild import Wild, image

TOKENS = Input("tokens", (6,), "int64", 20)
ROWS = Input("x", (6, 8))


class Vit(nn.Module):
    """Patches, a class token, positions, and torch's own encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.cls = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.place = nn.Parameter(torch.randn(1, 17, 8) * 0.1)
        self.norm, self.mix = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class of the first token."""
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.place
        y = self.norm(x)
        x = x + self.mix(y, y, y, need_weights=False)[0]
        found: Tensor = self.head((x + self.mlp(x))[:, 0])
        return found


class Swin(nn.Module):
    """Attention inside shifted windows with a relative bias, then merging of patches."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv, self.out = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 24), nn.Linear(8, 8)
        self.table = nn.Parameter(torch.randn(49, 2) * 0.1)
        self.register_buffer("index", torch.randint(0, 49, (16, 16)))
        self.norm, self.merge, self.head = nn.LayerNorm(32), nn.Linear(32, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return 5 scores."""
        x = torch.roll(self.embed(x).permute(0, 2, 3, 1), (-2, -2), (1, 2))
        n, h, w, c = x.shape
        y = x.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.qkv(y).view(-1, 16, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.index.view(-1)].view(16, 16, 2).permute(2, 0, 1)  # type: ignore[operator]
        scores = (q * (c // 2) ** -0.5) @ k.transpose(-2, -1) + bias.unsqueeze(0)
        y = self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, 16, c))
        y = y.view(n, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        x = x + torch.roll(y, (2, 2), (1, 2))
        x = torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)
        found: Tensor = self.head(self.merge(self.norm(x)).mean((1, 2)))
        return found


class Bert(nn.Module):
    """Tokens, positions and a mask through torch's encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 8), nn.Embedding(6, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return 3 scores of the first token."""
        x = self.words(tokens) + self.places(torch.arange(6))
        found: Tensor = self.head(self.layer(x, src_key_padding_mask=mask == 0)[:, 0])
        return found


class Decoder(nn.Module):
    """torch's decoder layer with a stored memory of its own input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Return scores of each place."""
        mask = torch.triu(torch.full((6, 6), float("-inf")), 1)
        found: Tensor = self.head(self.layer(x, memory, tgt_mask=mask))
        return found


class Gpt(nn.Module):
    """A block of GPT with its own causal attention, and tied words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.qkv, self.out = nn.Embedding(20, 8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.one, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.register_buffer("mask", torch.tril(torch.ones(6, 6)).view(1, 1, 6, 6))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores of the next word at each place."""
        x = self.words(tokens)
        n = x.shape[0]
        q, k, v = self.qkv(self.one(x)).split(8, -1)
        q, k, v = (t.view(n, 6, 2, 4).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(4)
        scores = scores.masked_fill(self.mask == 0, float("-inf"))
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, 6, 8)
        x = x + self.out(y)
        x = x + self.down(F.gelu(self.up(x), approximate="tanh"))
        found: Tensor = x @ self.words.weight.t()
        return found


class Recurrent(nn.Module):
    """A recurrent layer and a classifier of its last state."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU], **how: bool) -> None:
        super().__init__()
        self.layer = kind(8, 6, batch_first=True, **how)
        self.head = nn.Linear(12 if how.get("bidirectional") else 6, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return 5 scores."""
        found: Tensor = self.head(self.layer(x)[0][:, -1])
        return found


class Dlrm(nn.Module):
    """Numbers and bags of categories, their products, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
        self.one, self.two = (nn.EmbeddingBag(20, 8, mode="sum") for _ in range(2))
        self.top = nn.Linear(17, 2)

    def forward(self, dense: Tensor, one: Tensor, two: Tensor) -> Tensor:
        """Return 2 scores."""
        x = self.dense(dense)
        rows = torch.stack([x, self.one(one), self.two(two)], 1)
        products = torch.bmm(rows, rows.transpose(1, 2)).flatten(1)
        found: Tensor = self.top(torch.cat([x, products], 1))
        return found


class PointNet(nn.Module):
    """Points through shared layers, a learned transform, a maximum over points."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Sequential(
            nn.Conv1d(3, 8, 1), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(8, 9)
        )
        self.body = nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return 5 scores of points (N, 3, P)."""
        turned = torch.bmm(self.turn(x).view(-1, 3, 3) + torch.eye(3), x)
        found: Tensor = self.head(self.body(turned).max(2)[0])
        return found


class Vae(nn.Module):
    """An auto-encoder that draws its code."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.back = nn.Linear(8, 8), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Return the decoded draw."""
        mean, spread = self.squeeze(x).chunk(2, -1)
        found: Tensor = self.back(mean + torch.exp(0.5 * spread) * torch.randn_like(mean))
        return found


class Sound(nn.Module):
    """A spectrogram inside the network, then convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(16))
        self.body = nn.Sequential(
            nn.Conv1d(9, 8, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(8, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return 5 scores of sound (N, 64)."""
        window: Tensor = self.window  # type: ignore[assignment]
        parts = torch.stft(x, 16, 8, window=window, return_complex=True)
        found: Tensor = self.body(torch.log1p(parts.abs()))
        return found


def volume() -> nn.Module:
    """Return 3-D convolutions down and up."""
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2),
        nn.ConvTranspose3d(4, 4, 2, 2), nn.ReLU(), nn.Conv3d(4, 2, 1),
    )  # fmt: skip


def wave() -> nn.Module:
    """Return 1-D convolutions down and up."""
    return nn.Sequential(
        nn.Conv1d(2, 8, 5, 2, 2), nn.BatchNorm1d(8), nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(8, 2, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def normed(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Return a convolution and a linear layer whose weights a norm computes."""
    conv, linear = norm(nn.Conv2d(3, 8, 3)), norm(nn.Linear(8, 5))
    return nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


SEQUENCES: dict[str, Wild] = {
    "ViT": Wild(Vit, image()),
    "Swin": Wild(Swin, image()),
    "BERT": Wild(Bert, (TOKENS, Input("mask", (6,), "int64", 2))),
    "Decoder": Wild(Decoder, (ROWS, Input("memory", (4, 8)))),
    "GPT": Wild(Gpt, (TOKENS,)),
    "LSTM": Wild(lambda: Recurrent(nn.LSTM), (ROWS,)),
    "LSTM, both ways, two layers": Wild(
        lambda: Recurrent(nn.LSTM, bidirectional=True), (ROWS,)
    ),
    "GRU": Wild(lambda: Recurrent(nn.GRU), (ROWS,)),
    "MLP": Wild(
        lambda: nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ELU(), nn.Linear(16, 5)),
        (Input("x", (8,)),),
    ),
    "DLRM": Wild(
        Dlrm,
        (Input("dense", (6,)), Input("one", (3,), "int64", 20), Input("two", (3,), "int64", 20)),
    ),
    "PointNet": Wild(PointNet, (Input("x", (3, 12)),)),
    "1-D convolutions": Wild(wave, (Input("x", (2, 16)),)),
    "3-D convolutions": Wild(volume, (Input("x", (1, 4, 4, 4)),)),
    "Weight norm": Wild(lambda: normed(parametrizations.weight_norm), image()),
    "Spectral norm": Wild(lambda: normed(parametrizations.spectral_norm), image()),
    "VAE": Wild(Vae, (Input("x", (8,)),)),
    "STFT front end": Wild(Sound, (Input("x", (64,)),)),
}  # fmt: skip
