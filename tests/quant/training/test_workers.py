"""Two processes with a batch each train as one process with the double batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from quant.progress import drain_steps
from quant.training.settings import NormHandling, TrainingSettings
from quant.training.state.checkpoint import Checkpoint
from quant.training.state.trained_state import TrainedState, load_trained_state
from quant.training.train import train_network
from quant.training.workers import WorkerProcesses
from tests.quant.training.problems import Problem, problem

ROOT = Path(__file__).parents[3]


def learn(given: Problem, settings: TrainingSettings, checkpoint: Checkpoint) -> TrainedState:
    torch.set_num_threads(1)
    return drain_steps(
        train_network(
            given.quantized(8, 8),
            given.graph,
            given.data,
            given.watched,
            settings,
            checkpoint=checkpoint,
        )
    )


def settings_with(batch: int, norms: NormHandling) -> TrainingSettings:
    return TrainingSettings(steps=4, batch=batch, watch_every=1, norms=norms, dampening=0.1)


def train_in_process(rank: int, place: str) -> None:
    folder = Path(place)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
    )
    for norms in NormHandling:
        written = Checkpoint(folder / f"{norms}.checkpoint", "", 0.0, writes=rank == 0)
        state = learn(problem(), settings_with(16, norms), written)
        state.save(folder / f"{norms}.{rank}")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch was built without distributed")
def test_two_processes_learn_what_one_learns_from_the_double_batch(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    # neither forked nor spawned: autograd's threads do not fork, and Streamlit leaves another
    # main module behind, which a spawned process would run
    program = f"import sys, {__name__} as t; t.train_in_process(int(sys.argv[1]), sys.argv[2])"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(rank), str(tmp_path)],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    for one in both:
        _, said = one.communicate()
        assert one.returncode == 0, said
    for norms in NormHandling:
        found = [load_trained_state(tmp_path / f"{norms}.{rank}") for rank in (0, 1)]
        assert found[0].digest == found[1].digest
        alone = learn(problem(), settings_with(32, norms), Checkpoint(None))
        begun = learn(problem(), TrainingSettings(steps=0, norms=norms), Checkpoint(None))
        assert found[0].record.images == alone.record.images == 4 * 32
        for name, wanted in alone.tensors.items():
            moved = (wanted - begun.tensors[name]).abs().max()
            assert moved > 0, name
            assert (found[0].tensors[name] - wanted).abs().max() < 0.02 * moved, name
        losses, wanted_losses = (
            [point.loss for point in state.record.curve] for state in (found[0], alone)
        )
        # statistics in another order of summation turn a code of the outputs now and then
        first = 1e-6 if norms is NormHandling.FOLDED else 5e-3
        assert losses[1] == pytest.approx(wanted_losses[1], rel=first)
        assert losses[2:] == pytest.approx(wanted_losses[2:], rel=1e-2)


def test_one_process_has_the_whole_batch() -> None:
    assert WorkerProcesses().own_part(8) == slice(0, 8)
    assert [WorkerProcesses(rank, 2).own_part(8) for rank in (0, 1)] == [slice(0, 8), slice(8, 16)]
