"""Small seeded networks of other tasks: several inputs, several outputs, tokens, dense outputs."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.inputs import Input, Inputs, draw_batch
from tests.networks import randomize_batch_norms

ROWS, CLASSES = 11, 4


class Towers(nn.Module):
    """An image and some figures, each in a tower of its own, judged together."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.side, self.head = nn.Linear(5, 6), nn.Linear(12, CLASSES)

    def forward(self, image: Tensor, figures: Tensor) -> Tensor:
        seen = F.relu(self.norm(self.conv(image))).mean((2, 3))
        out: Tensor = self.head(torch.cat([seen, F.relu(self.side(figures))], 1))
        return out


class Segments(nn.Module):
    """An image and a mask of whole numbers; a map of classes comes out, (N, C, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, CLASSES, 1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        seen = F.relu(self.first(image)) * mask.unsqueeze(1).float()
        out: Tensor = self.second(seen)
        return out


class Tokens(nn.Module):
    """Tokens and their mask: embeddings, masked attention, a mean over the tokens that count."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(ROWS, 8), nn.Embedding(6, 8)
        self.norm, self.out, self.head = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, CLASSES)
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(self.words(ids) + self.places(torch.arange(6)))
        shut = (1.0 - mask[:, None, :].float()) * -10000.0
        scores = self.q(x) @ self.k(x).transpose(1, 2) / 8**0.5 + shut
        x = x + self.out(scores.softmax(-1) @ self.v(x))
        counted = mask[:, :, None].float()
        out: Tensor = self.head((x * counted).sum(1) / counted.sum(1).clamp(min=1.0))
        return out


class Recurrent(nn.Module):
    """Tokens, an embedding, an LSTM, and a class from its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm = nn.Embedding(ROWS, 6), nn.LSTM(6, 5, batch_first=True)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.head(self.lstm(self.words(ids))[0][:, -1])
        return out


class Detector(nn.Module):
    """An image; scores and boxes of 16 places come out, and the best class as a whole number."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.scores, self.boxes = nn.Conv2d(6, CLASSES, 1), nn.Conv2d(6, 4, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.relu(self.stem(image))
        scores = self.scores(x).flatten(2).transpose(1, 2)
        return scores, 100 * self.boxes(x).flatten(2).transpose(1, 2), scores.argmax(-1)


@dataclass(frozen=True)
class Task:
    """How to build a network, and what it takes."""

    build: type[nn.Module]
    inputs: tuple[Input, ...]

    def model(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = self.build().eval()
            randomize_batch_norms(model)
        return model

    def draw(self, count: int, seed: int = 1) -> Inputs:
        return draw_batch(self.inputs, count, seed)


IMAGE = Input("image", (3, 8, 8))
TASKS = {
    "towers": Task(Towers, (IMAGE, Input("figures", (5,)))),
    "segments": Task(Segments, (IMAGE, Input("mask", (8, 8), "int64", 2))),
    "tokens": Task(Tokens, (Input("ids", (6,), "int64", ROWS), Input("mask", (6,), "int64", 2))),
    "recurrent": Task(Recurrent, (Input("ids", (7,), "int64", ROWS),)),
    "detector": Task(Detector, (IMAGE,)),
}


@cache
def task_graph(name: str) -> FloatGraph:
    """Return the captured network of that name; one for all tests, so none may change it."""
    return capture_graph(TASKS[name].model(), TASKS[name].inputs)
