"""The loop of a training: batches, steps, looks at watched images, states on the disk."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, optim

from quant.graph.float_graph import ChannelNormal, FloatGraph
from quant.inputs import Inputs, first_output_of, map_each_tensor, tensors_of_batch
from quant.progress import Steps
from quant.simulation.quant_graph import QuantGraph
from quant.training.learned_encoding import RatedParameter
from quant.training.losses import TrainingLoss
from quant.training.methods.alpha_blend import AlphaBlend
from quant.training.methods.learned_step import LearnedStep
from quant.training.methods.neuron_widths import NeuronWidthMethod
from quant.training.norms import average_batch_statistics, set_norm_workers, set_norms_live
from quant.training.optimizer import make_optimizer, rate_at_step, set_group_rates
from quant.training.oscillation import Oscillation
from quant.training.placement import (
    Placement,
    device_of_name,
    encoding_on_cpu,
    measure_watched_images,
)
from quant.training.settings import TrainingError, TrainingMethod, TrainingSettings
from quant.training.state.checkpoint import Checkpoint, Position
from quant.training.state.trained_state import CurvePoint, TrainedState, TrainingRecord
from quant.training.trainable import Trainable, make_trainable
from quant.training.training_data import TrainingData, TrainingProgress, Watched
from quant.training.weights import check_finite_step, codes_of_weights, share_of_changed_codes
from quant.training.workers import present_workers

RE_ESTIMATED_BATCHES = 20
REPORT_EVERY = 5


@dataclass(eq=False)
class Training:
    """One training: a simulated network, data, settings; `run_training` is a generator of progress.

    `teacher` is the float network. `loss` is the function to minimize. The network is left as
    before, whether training ends, fails or is cancelled; the result holds the learned values.
    """

    quantized: QuantGraph
    teacher: FloatGraph
    data: TrainingData
    watched: Watched
    settings: TrainingSettings
    loss: TrainingLoss
    method: LearnedStep
    checkpoint: Checkpoint
    probe: Tensor | None = None

    def run_training(self) -> Steps[TrainedState]:
        """Train; yield `TrainingProgress`, return the best state.

        Raises:
            TrainingError: the data are too few, or the loss is not finite; the sentence names
                the first layer without finite values.
        """
        least = self.batch * present_workers().count
        if len(self.data) < least:
            raise TrainingError(
                f"Training needs at least a batch of {least} images; got {len(self.data)}. "
                "Bring more images, or make the batch smaller."
            )
        device = device_of_name(self.settings.device)
        with make_trainable(self.quantized, self.method, self.settings.norms) as network:
            self.quantized.module.to(device)
            self._teacher = self.teacher if device.type == "cpu" else self.teacher.copy_graph()
            self._teacher.module.to(device)
            self._place = Placement(device, self.teacher.batch)
            try:
                state = yield from self._train_network(network)
            finally:
                self.quantized.module.to("cpu")
        if device.type == "cpu":
            self._check_same_bits(state)
        return state

    @torch.no_grad()
    def _check_same_bits(self, state: TrainedState) -> None:
        """Check that the product's quantizers give the same bits on watched images.

        Raises:
            TrainingError: the bits differ.
        """
        if self.probe is None:
            return
        simulated = state.simulate_trained(self.teacher, self.quantized.sites)
        found = simulated(self._place.place_inputs(self.watched[0][0]))
        if not torch.equal(found, self.probe):
            apart = float((found - self.probe).abs().max())
            raise TrainingError(
                "A trained network must give the same outputs with the product's own quantizers; "
                f"they lie {apart:.3g} apart. This is an error of the product: report it."
            )

    @property
    def batch(self) -> int:
        """Images of a step; the network's batch size if the network has only one."""
        return self.teacher.batch or self.settings.batch

    def _train_network(self, network: Trainable) -> Steps[TrainedState]:
        rated = network.rated_parameters
        optimizer = make_optimizer(rated, self.settings)
        self._workers = present_workers()
        set_norm_workers(network.norms.values(), self._workers)
        self._shared = self._workers.share_gradients(
            self.quantized.module, some_rest=self.method.parameters_rest
        )
        before = codes_of_weights(network)
        self._oscillation = Oscillation(self.settings)
        self._oscillation.begin_history(network)
        position = self._resume_from_checkpoint(network, optimizer, rated)
        began = time.monotonic() - position.seconds
        if position.step == 0 and not position.curve:
            self._look_at_watched(network, position)
            yield self._progress_at(position, "Looked at the watched images")
        try:
            while position.step < self.settings.steps and not self._is_out_of_patience(position):
                self._take_step(network, optimizer, position)
                position.seconds = time.monotonic() - began
                at_end = position.step == self.settings.steps
                if position.step % self.settings.watch_interval == 0 or at_end:
                    self._look_at_watched(network, position)
                if self.checkpoint.is_due() or at_end:
                    self.checkpoint.write(position, self._all_tensors(network), optimizer, rated)
                if position.step % REPORT_EVERY == 0 or at_end:
                    yield self._progress_at(position, self._progress_text(position))
        except GeneratorExit:  # cancelled between two steps: nothing is lost
            self.checkpoint.write(position, self._all_tensors(network), optimizer, rated)
            raise
        state = yield from self._finish_training(network, position, before)
        return state

    def _resume_from_checkpoint(
        self, network: Trainable, optimizer: optim.Optimizer, rated: list[RatedParameter]
    ) -> Position:
        found = self.checkpoint.read_state(self._all_tensors(network), optimizer, rated)
        if found is None:
            return Position()
        position, tensors = found
        network.restore_tensors(tensors)
        for name, tensor in self._oscillation.history_tensors().items():
            tensor.copy_(tensors[name])
        return position

    def _all_tensors(self, network: Trainable) -> dict[str, Tensor]:
        """Return the tensors, of any shape, changed by steps, without the optimizer's tensors."""
        return {**network.all_tensors(), **self._oscillation.history_tensors()}

    @property
    def _steps_per_epoch(self) -> int:
        """Steps to train every image once; the rest of an epoch is left out."""
        return max(1, len(self.data) // (self.batch * self._workers.count))

    def _take_step(
        self,
        network: Trainable,
        optimizer: optim.Optimizer,
        position: Position,
    ) -> None:
        """Take a step; the step depends on the position alone, not on the process's past."""
        share = position.step / self.settings.steps
        self.method.prepare_step(network.quantizers, share)
        inputs, targets = self._batch_of_step(position.step)
        set_group_rates(optimizer, rate_at_step(position.step, self.settings))
        set_norms_live(network.norms.values(), live=True)
        with torch.enable_grad():
            outputs = first_output_of(self._shared(*tensors_of_batch(inputs)))
            loss = self.loss(outputs, targets, self._teacher_answers(inputs))
            extra = self.method.loss_penalty(network.quantizers)
            dampening = self._oscillation.loss_penalty(network)
            total = sum((one for one in (extra, dampening) if one is not None), loss)
            optimizer.zero_grad(set_to_none=True)
            total.backward()
        value = self._workers.mean_of_value(total)
        check_finite_step(value, network, position.step)
        optimizer.step()
        set_norms_live(network.norms.values(), live=False)
        self.method.finish_step(network.quantizers, (position.step + 1) / self.settings.steps)
        self._oscillation.finish_step(network)
        position.summed += value
        position.counted += 1
        position.step += 1

    def _batch_of_step(self, step: int) -> tuple[Inputs, Tensor | None]:
        """Return inputs (N, ...) and targets (N,) of a step, by seed, epoch and step alone."""
        epoch, place = divmod(step, self._steps_per_epoch)
        order = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + epoch)
        chosen = torch.randperm(len(self.data), generator=order)
        whole = self.batch * self._workers.count
        places = chosen[place * whole : (place + 1) * whole].tolist()
        chance = torch.Generator().manual_seed(self.settings.seed * 1_000_033 + 7 * step + 1)
        inputs, targets = self.data.take(places, chance if self.settings.augment else None)
        if self._workers.count > 1:  # chance belongs to the whole batch, as in one process
            own = self._workers.own_part(self.batch)
            inputs = map_each_tensor(lambda one: one[own], inputs)
            targets = None if targets is None else targets[own]
        return self._place.place_inputs(inputs), self._place.place_targets(targets)

    @torch.no_grad()
    def _teacher_answers(self, inputs: Inputs) -> Tensor | None:
        return self._teacher(inputs) if self.loss.needs_teacher else None

    @torch.no_grad()
    def _look_at_watched(self, network: Trainable, position: Position) -> None:
        """Measure the watched images, and keep the state if the state is the best."""
        self.method.prepare_look(network.quantizers)
        loss, score = measure_watched_images(
            network, self._teacher, self.watched, self.loss, self._place
        )
        share = position.step / max(1, self.settings.steps)
        position.curve.append(
            CurvePoint(
                step=position.step,
                seconds=position.seconds,
                loss=position.summed / position.counted if position.counted else None,
                watch_loss=loss,
                watch_score=score,
                rate=rate_at_step(position.step, self.settings),
                measures=self._measures_for_curve(network),
            )
        )
        position.summed, position.counted = 0.0, 0
        # the state before the first step is quantized as the product quantizes it
        final = self.method.is_final_step(share) or position.step == 0
        if final and (position.best_loss is None or loss is None or loss < position.best_loss):
            position.best_loss, position.best_step, position.waited = loss, position.step, 0
            position.best = {n: t.detach().cpu().clone() for n, t in network.all_tensors().items()}
        else:
            position.waited += 1

    def _measures_for_curve(self, network: Trainable) -> dict[str, float]:
        shaking = self._oscillation.oscillating_share()
        found = self.method.curve_measures(network.quantizers)
        return found if shaking is None else {**found, "oscillating": shaking}

    def _is_out_of_patience(self, position: Position) -> bool:
        return 0 < self.settings.patience <= position.waited

    def _progress_at(self, position: Position, text: str) -> TrainingProgress:
        share = position.step / max(1, self.settings.steps)
        point = position.curve[-1] if position.curve else None
        return TrainingProgress(share, text, point=point)

    def _progress_text(self, position: Position) -> str:
        steps, point = self.settings.steps, position.curve[-1]
        score = "" if point.watch_score is None else f", {point.watch_score:.1%} of the watched"
        return f"Training: step {position.step} of {steps}{score}"

    def _finish_training(
        self, network: Trainable, position: Position, before: dict[str, Tensor]
    ) -> Steps[TrainedState]:
        """Restore the best state (tensors of shape as before), re-estimate and fold the norms."""
        network.restore_tensors(position.best)
        self.method.prepare_look(network.quantizers)
        if network.norms and position.best_step:
            yield self._progress_at(position, "Averaging the statistics of batch norms")
            self._re_estimate_norms(network)
        normals = {
            node: ChannelNormal(one.mean.cpu(), one.std.cpu())
            for node, one in network.fold_open_norms().items()
        }
        encodings = {name: encoding_on_cpu(one) for name, one in network.encodings().items()}
        tensors = {name: t.detach().cpu().clone() for name, t in network.stored.items()}
        record = TrainingRecord(
            settings=self.settings,
            steps=position.step,
            seconds=position.seconds,
            images=position.step * self.batch * self._workers.count,
            best_step=position.best_step,
            curve=tuple(position.curve),
            changed=share_of_changed_codes(before, codes_of_weights(network)),
            stopped_early=position.step < self.settings.steps,
        )
        if self.watched:
            with torch.no_grad():
                self.probe = network(self._place.place_inputs(self.watched[0][0])).cpu()
        return TrainedState(tensors, encodings, record, normals)

    @torch.no_grad()
    def _re_estimate_norms(self, network: Trainable) -> None:
        batches = min(RE_ESTIMATED_BATCHES, self._steps_per_epoch)
        with average_batch_statistics(network.norms.values()):
            for step in range(batches):
                network(self._batch_of_step(step)[0])


def train_network(
    quantized: QuantGraph,
    teacher: FloatGraph,
    data: TrainingData,
    watched: Iterable[tuple[Inputs, Tensor | None]],
    settings: TrainingSettings,
    *,
    classes: bool = True,
    checkpoint: Checkpoint | None = None,
) -> Steps[TrainedState]:
    """Train a simulated network; `quantized` is left as before.

    `teacher` is the float network for distillation; `classes` says whether outputs are logits of
    classes; `watched` holds inputs (N, ...) and targets (N,).

    Raises:
        TrainingError: the settings do not fit, the data are too few, or the loss is not finite.
    """
    loss = TrainingLoss(settings.loss, classes, settings.temperature)
    training = Training(
        quantized,
        teacher,
        data,
        tuple(watched),
        settings,
        loss,
        training_method_of(settings),
        checkpoint or Checkpoint(None),
    )
    return (yield from training.run_training())


def training_method_of(settings: TrainingSettings) -> LearnedStep:
    """Return the method named in the settings."""
    if settings.method is TrainingMethod.NEURON_WIDTHS:
        return NeuronWidthMethod(settings)
    if settings.method is TrainingMethod.ALPHA_BLEND:
        return AlphaBlend(settings)
    return LearnedStep(settings)
