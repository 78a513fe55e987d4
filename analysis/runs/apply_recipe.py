"""Passes on a network, in order: float form, ranges, quantized form."""

from dataclasses import dataclass, replace
from pathlib import Path

from analysis.calibration import Calibrated, calibrate_network, config_needs_data
from analysis.evaluation.evaluate import Data
from analysis.network import Network
from analysis.runs.reconstruction_state import open_state
from analysis.study import Study
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.inputs import Inputs, arrange_batch, sample_count
from quant.passes.absorb_bias import AbsorbBias, Absorbed, minima_of_channels
from quant.passes.adaround import AdaRound, AdaRoundResult
from quant.passes.correct_bias import CorrectBias, Corrected
from quant.passes.equalize import Equalize, Equalized
from quant.passes.methods import Method, Reach
from quant.passes.recipe import Pass, Recipe, check_recipe_order, is_float_pass
from quant.passes.reconstruct.reconstruct import Reconstruct, Reconstructed
from quant.passes.smooth import Smooth, Smoothed
from quant.passes.use_encodings import EncodingsUsed, UseEncodings
from quant.progress import Progress, Steps, drain_steps, part_of_progress
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.training.state.use_training import UseTraining

Outcome = (
    Equalized | Absorbed | Smoothed | Corrected | AdaRoundResult | Reconstructed | EncodingsUsed
)
SMOOTH_TITLE = "Smooth activations"
MOST_IMAGES = 512  # that are held at once for the passes that learn from data


@dataclass(frozen=True, eq=False, slots=True)
class Stage:
    """A network between passes: float form, statistics, quantized form.

    `network` is the float network after the passes so far, with the function of the original unless
    a pass declares a change.
    """

    network: Network
    calibrated: Calibrated
    quantized: QuantGraph


def title_of_pass(step: Pass) -> str:
    """Return the title of a pass on a page."""
    match step:
        case Equalize():
            by = ", by root mean squares" if step.reach is Reach.RMS else ""
            return f"Equalize{by}{', ReLU6 as ReLU' if step.replace_relu6 else ''}"
        case Smooth():
            return SMOOTH_TITLE
        case AbsorbBias(from_data=from_data):
            return f"Absorb biases ({'from images' if from_data else 'data-free'})"
        case CorrectBias(method=method):
            return f"Correct biases ({method})"
        case AdaRound(iterations=iterations):
            return f"AdaRound ({iterations} iterations)"
        case Reconstruct(iterations=iterations, output_steps=behind):
            return f"Reconstruct blocks ({iterations} steps, {behind} for the outputs)"
        case UseEncodings(source=source, encodings=encodings):
            return f"Encodings of {source} ({len(encodings)} tensors)"
        case UseTraining(state=state, source=source):
            return f"Training {source} ({state.record.steps} steps)"


def plain_quantized_stage(network: Network, config: QuantConfig, calibrated: Calibrated) -> Stage:
    """Return the plainly quantized network, as `measure_experiment` would score the network."""
    quantized = quantize_graph(network.graph, config, calibrated.statistics, calibrated.input_range)
    return Stage(network, calibrated, quantized)


def apply_recipe_pass(
    stage: Stage,
    step: Pass,
    config: QuantConfig,
    images: Data | None,
    folder: Path | None = None,
) -> Steps[tuple[Stage, Outcome]]:
    """Run one pass; after a float pass, ranges are chosen anew.

    A pass that takes long keeps its state in `folder`: stopped, it goes on there.

    Raises:
        QuantError: the pass needs images and the study has none.
    """
    if is_float_pass(step):
        return (yield from _apply_float_pass(stage, step, config, images))
    if isinstance(step, UseTraining):
        return (yield from _use_trained_state(stage, step, config, images))
    batches = _calibration_batches(stage.network, images) if pass_needs_images(step) else []
    outcome: Outcome
    if isinstance(step, Reconstruct):
        state = open_state(folder, stage.network, stage.quantized, step, images)
        outcome = yield from step(stage.network.graph, stage.quantized, batches, state)
        return stage, outcome
    if isinstance(step, CorrectBias | AdaRound | UseEncodings):
        outcome = yield from step(stage.network.graph, stage.quantized, batches)
        return stage, outcome
    raise QuantError(f"A recipe is made of known passes; got {type(step).__name__}.")


def pass_needs_images(step: Pass) -> bool:
    """Whether the pass needs images."""
    match step:
        case AdaRound() | Reconstruct() | Smooth():
            return True
        case AbsorbBias(from_data=from_data):
            return from_data
        case CorrectBias(method=method):
            return method is Method.EMPIRICAL
    return False


def repair_float_network(study: Study, recipe: Recipe) -> Study:
    """Return the study of the float network after the float passes of a recipe.

    The images stay; statistics of activations are collected anew.
    """
    network = study.network
    for step in recipe:
        if isinstance(step, Equalize):
            network = replace(network, graph=step(network.graph).graph)
        elif isinstance(step, AbsorbBias):
            minima = None
            if step.from_data:
                minima = minima_of_channels(
                    network.graph, _calibration_batches(network, study.calibration)
                )
            network = replace(network, graph=step(network.graph, minima).graph)
        elif isinstance(step, Smooth):
            smoothed = drain_steps(
                step(network.graph, _calibration_batches(network, study.calibration))
            )
            network = replace(network, graph=smoothed.graph)
    return Study(
        network,
        study.scored,
        study.calibration,
        study.input_range,
        study.store,
        metric=study.metric,
    )


def _apply_float_pass(
    stage: Stage, step: Pass, config: QuantConfig, images: Data | None
) -> Steps[tuple[Stage, Outcome]]:
    yield Progress(0.0, title_of_pass(step))
    outcome: Equalized | Absorbed | Smoothed
    if isinstance(step, AbsorbBias):
        minima = None
        if step.from_data:
            minima = minima_of_channels(
                stage.network.graph, _calibration_batches(stage.network, images)
            )
        outcome = step(stage.network.graph, minima)
    elif isinstance(step, Equalize):
        outcome = step(stage.network.graph)
    elif isinstance(step, Smooth):
        batches = _calibration_batches(stage.network, images)
        outcome = yield from part_of_progress(step(stage.network.graph, batches), 0.0, 0.2)
    else:
        raise QuantError(f"A float pass was expected; got {type(step).__name__}.")
    network = replace(stage.network, graph=outcome.graph)
    calibrated = Calibrated(input_range=stage.calibrated.input_range)
    if images is not None and config_needs_data(network, config):
        steps = calibrate_network(network, images, stage.calibrated.input_range)
        calibrated = yield from part_of_progress(steps, 0.2, 1.0)
    return plain_quantized_stage(network, config, calibrated), outcome


def _use_trained_state(
    stage: Stage, step: UseTraining, config: QuantConfig, images: Data | None
) -> Steps[tuple[Stage, EncodingsUsed]]:
    """Use trained weights and encodings; a layer with edited bits gets a new range."""
    yield Progress(0.0, title_of_pass(step))
    network = replace(stage.network, graph=step(stage.network.graph))
    if stage.calibrated.statistics or not config_needs_data(network, config):
        trained = plain_quantized_stage(network, config, stage.calibrated)
    else:  # the training holds all encodings
        bare = quantize_graph(network.graph, config, None, stage.calibrated.input_range)
        trained = Stage(network, stage.calibrated, bare)
    used = UseEncodings(step.state.encodings, step.source).apply_at_once(trained.quantized)
    if used.kept and images is not None and config_needs_data(network, config):
        # ranges of the untrained network do not suit trained weights
        steps = calibrate_network(network, images, stage.calibrated.input_range)
        trained = plain_quantized_stage(
            network, config, (yield from part_of_progress(steps, 0.1, 1.0))
        )
        used = UseEncodings(step.state.encodings, step.source).apply_at_once(trained.quantized)
    return trained, used


def _calibration_batches(network: Network, images: Data | None) -> list[Inputs]:
    """Return the calibration images in batches that suit the network."""
    if images is None or len(images) == 0:
        raise QuantError("This pass learns from data; got none. Choose data first.")
    found: list[Inputs] = []
    count = 0
    for batch in images.batches(network.forward_batch_size):
        if network.graph.batch is not None and sample_count(batch.inputs) != network.graph.batch:
            continue
        found.append(arrange_batch(batch.inputs))
        count += sample_count(batch.inputs)
        if count >= MOST_IMAGES:
            break
    return found


def apply_whole_recipe(
    stage: Stage,
    recipe: Recipe,
    config: QuantConfig,
    images: Data | None,
    folder: Path | None = None,
) -> Steps[Stage]:
    """Run the passes of a recipe without measurements between passes.

    Raises:
        RecipeError: the order is illegal; no pass has run.
        QuantError: a pass needs images and the study has none.
    """
    check_recipe_order(recipe)
    for number, step in enumerate(recipe):
        steps = apply_recipe_pass(stage, step, config, images, folder)
        stage, _ = yield from part_of_progress(
            steps, number / len(recipe), (number + 1) / len(recipe)
        )
    return stage
