"""The path without kernels of the CPU, as CUDA takes it, learns the same within rounding."""

import pytest
import torch

from quant.progress import drain_steps
from quant.training import fake_quantize
from quant.training.settings import TrainingSettings
from quant.training.state.trained_state import TrainedState
from quant.training.train import train_network
from tests.quant.training.problems import problem

BRIEF = TrainingSettings(steps=4, batch=32, watch_every=1)


def learn(settings: TrainingSettings) -> TrainedState:
    given = problem(equalized=True)
    steps = train_network(given.quantized(8, 8), given.graph, given.data, given.watched, settings)
    return drain_steps(steps)


def check_equal_within_rounding(found: TrainedState, wanted: TrainedState) -> None:
    for name, tensor in wanted.tensors.items():
        assert torch.allclose(found.tensors[name], tensor, rtol=2e-3, atol=2e-4), name
    for site, encoding in wanted.encodings.items():
        assert torch.allclose(found.encodings[site].scale, encoding.scale, rtol=2e-3), site
    for first, second in zip(found.record.curve, wanted.record.curve, strict=True):
        assert first.watch_loss == pytest.approx(second.watch_loss, rel=1e-2)


def test_the_portable_path_learns_as_the_kernels_do(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = learn(BRIEF)
    monkeypatch.setattr(fake_quantize._Rows, "rows_of_tensor", lambda *_: None)
    check_equal_within_rounding(learn(BRIEF), wanted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_a_gpu_learns_as_the_cpu_does() -> None:
    settings = TrainingSettings(steps=4, batch=32, watch_every=1, device="cuda")
    check_equal_within_rounding(learn(settings), learn(BRIEF))
