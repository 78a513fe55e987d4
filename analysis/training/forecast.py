"""The worth of a training: the cost, and the gain of a short probe over repair."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from analysis.evaluation.evaluate import Data
from analysis.evaluation.intervals import paired_interval
from analysis.evaluation.measures import Interval
from analysis.network import Network, forward_first_output
from analysis.runs.apply_recipe import Stage, apply_whole_recipe
from analysis.training.memory import forget_peak_memory, peak_memory_bytes
from analysis.training.run_training import (
    TrainingTask,
    train_stage,
    trained_config,
    training_start_stage,
)
from quant.inputs import rows_of_output
from quant.passes.recipe import Recipe, build_recipe
from quant.progress import Progress, Steps, part_of_progress
from quant.simulation.quant_graph import QuantGraph
from quant.training.settings import TrainingSettings
from quant.training.state.use_training import UseTraining

PROBE_STEPS = 50
TIMED_STEPS = 3
ADAROUND_ITERATIONS = 300
DECAY = 0.5
"""The loss that is left falls at most as steps^-1/2: our choice, an optimistic end."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """The cost of a training, measured on three steps with and without looks at watched images.

    `seconds` are those of a step, `look_seconds` those of a look. `memory_bytes` is the peak of the
    whole process during the steps and looks: a longer training repeats them.
    """

    seconds: float
    memory_bytes: int
    look_seconds: float = 0.0

    def duration_s(self, settings: TrainingSettings) -> float:
        """Return the expected seconds of a training."""
        looks = 2 + settings.steps // settings.watch_interval
        return settings.steps * self.seconds + looks * self.look_seconds

    def duration_sentence(self, settings: TrainingSettings) -> str:
        """Return the duration and memory of a training in words."""
        minutes = self.duration_s(settings) / 60
        return (
            f"A step takes {self.seconds:.2g} s here, so {settings.steps} steps with their looks "
            f"at the watched data take about {minutes:.1f} minutes. The process needs "
            f"{self.memory_bytes / 2**20:.0f} MiB of memory at its peak."
        )


@dataclass(frozen=True, slots=True)
class Forecast:
    """The expected gain of training over the best repair, as shares of 1, on watched images.

    `scores` are the shares of right answers (without labels of agreeing answers) of each arm, by
    title; `probe` is the share of the short training. `gain` reaches from the sure gain of the
    probe to the possible gain of a longer training.
    """

    scores: dict[str, float]
    float_score: float
    probe: float
    best: str
    gain: Interval
    images: int
    steps: int

    @property
    def forecast_sentence(self) -> str:
        """The answer in words."""
        low, high = 100 * self.gain.low, 100 * self.gain.high
        if low > 0:
            return (
                f"Training is expected to gain {low:.1f} to {high:.1f} points over {self.best}, "
                f"judged by {PROBE_STEPS} steps and {self.images} watched answers."
            )
        if high <= 0:
            return f"Training is not expected to gain over {self.best}."
        return (
            f"Training cannot be shown to help over {self.best} with {self.images} watched "
            f"answers: {low:.1f} to {high:+.1f} points."
        )


def measure_step_cost(task: TrainingTask) -> Steps[StepCost]:
    """Run three real training steps, and three without watched images; discard the results."""
    forget_peak_memory()
    stage = yield from part_of_progress(training_start_stage(task), 0.0, 0.4)
    short = replace(task, settings=replace(task.settings, steps=TIMED_STEPS), points=[])
    with_looks = yield from part_of_progress(train_stage(short, stage), 0.4, 0.7)
    memory = peak_memory_bytes()
    blind = replace(short, split=replace(task.split, watch=task.split.watch.first(0)))
    steps_alone = yield from part_of_progress(train_stage(blind, stage), 0.7, 1.0)
    whole, steps = with_looks.record.seconds, steps_alone.record.seconds
    # the clock of a training stops before the last look, so one look is in it
    return StepCost(steps / TIMED_STEPS, memory, max(0.0, whole - steps))


def usual_arms() -> dict[str, Recipe]:
    """Return the recipes that a training is compared with, by title."""
    return {
        "quantization without repair": (),
        "equalization": build_recipe(equalize=True),
        "AdaRound": build_recipe(adaround=ADAROUND_ITERATIONS),
    }


def forecast_training(
    task: TrainingTask, others: Mapping[str, Recipe] | None = None
) -> Steps[Forecast]:
    """Score recipes and a short training on the watched images.

    `others` are the recipes by title; None for plain quantization and the usual repairs.
    """
    watch, network = task.split.watch, task.network
    arms = usual_arms() if others is None else others
    plain = yield from part_of_progress(training_start_stage(replace(task, recipe=())), 0.0, 0.1)
    hits: dict[str, torch.Tensor] = {}
    for number, (title, recipe) in enumerate(arms.items()):
        start, end = (0.1 + 0.6 * place / len(arms) for place in (number, number + 1))
        known = ", ".join(
            f"{name} {100 * float(hit.float().mean()):.1f} %" for name, hit in hits.items()
        )
        yield Progress(start, f"Scoring {title}", known)
        fresh = (
            yield from training_start_stage(replace(task, recipe=()))
            if recipe
            else _unchanged_stage(plain)
        )
        steps = apply_whole_recipe(fresh, recipe, task.config, task.split.calibration)
        stage = yield from part_of_progress(steps, start, end)
        hits[title] = _hits_by_image(network, stage.quantized, watch)
    probe = replace(task, settings=replace(task.settings, steps=PROBE_STEPS))
    stage = yield from part_of_progress(training_start_stage(probe), 0.7, 0.75)
    state = yield from part_of_progress(train_stage(probe, stage), 0.75, 0.97)
    trained = yield from apply_whole_recipe(
        stage, (UseTraining(state),), trained_config(task, state), None
    )
    after = _hits_by_image(network, trained.quantized, watch)
    reached = _hits_by_image(network, None, watch)
    return judge_forecast(hits, after, reached, task.settings.steps)


def _unchanged_stage(stage: Stage) -> Steps[Stage]:
    yield Progress(0.0, "Scoring")
    return stage


def judge_forecast(
    hits: dict[str, torch.Tensor], after: torch.Tensor, float_hits: torch.Tensor, steps: int
) -> Forecast:
    """Return the forecast from the right answers of each arm, of shape (N,)."""
    scores = {title: float(one.float().mean()) for title, one in hits.items()}
    best = max(scores, key=lambda title: scores[title])
    lost, won = int((after & ~hits[best]).sum()), int((~after & hits[best]).sum())
    shown = paired_interval(lost, won, len(after))
    room = max(0.0, float((float_hits.float() - after.float()).mean()))
    more = room * (1 - (PROBE_STEPS / max(PROBE_STEPS, steps)) ** DECAY)
    return Forecast(
        scores=scores,
        float_score=float(float_hits.float().mean()),
        probe=float(after.float().mean()),
        best=best,
        gain=Interval(shown.low, shown.high + more),
        images=len(after),
        steps=steps,
    )


def _hits_by_image(network: Network, quantized: QuantGraph | None, data: Data) -> torch.Tensor:
    """Return a boolean of shape (N,): right answers, or without labels agreement with float."""
    found = []
    for batch in data.batches(network.forward_batch_size):
        run = network.graph if quantized is None else quantized
        outputs = forward_first_output(run, network.graph.batch, batch.inputs)
        answers, goal = rows_of_output(outputs).argmax(-1), batch.labels
        if goal is None:
            wanted = forward_first_output(network.graph, network.graph.batch, batch.inputs)
            goal = rows_of_output(wanted).argmax(-1)
        found.append((answers == goal).reshape(len(answers), -1).all(1))
    return torch.cat(found)
