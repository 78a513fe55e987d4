"""The settings of a training, as a form that describes one training."""

from dataclasses import replace
from pathlib import Path

import streamlit as st

from analysis.network import Network
from analysis.split import ImageChoice
from analysis.training.divide import divide_training_images
from analysis.training.run_training import TrainingTask, loss_for_split
from data_io.preprocessing import Preprocess
from quant.passes.equalize import Equalize
from quant.passes.recipe import Recipe, build_recipe
from quant.training.settings import (
    BlendGradient,
    LossKind,
    NormHandling,
    OptimizerKind,
    TrainingMethod,
    TrainingSettings,
)
from quant.training.state.use_training import UseTraining
from ui.plain_text import plain
from ui.state.model_and_data import is_bundled_data
from ui.state.workspace import Workspace

ADAM_CANCELS = (
    "Adam divides each gradient by its own size, so the factor (1 - alpha) of alpha-blending "
    "cancels while alpha changes slowly: what remains is the end, where weights stand still. SGD "
    "keeps the factor."
)


def training_form(workspace: Workspace, network: Network) -> TrainingTask:
    """Draw the settings; return the described training of the present experiment.

    Raises:
        ValueError: settings or images do not fit.
    """
    first, second, third = st.columns(3)
    method = first.selectbox("Method", list(TrainingMethod), key="train.method")
    loss = second.selectbox(
        "Loss",
        [None, *LossKind],
        key="train.loss",
        format_func=lambda one: "both where there are labels" if one is None else str(one),
        help="Labels, the float network's answers (distil), or both",
    )
    steps = int(
        third.number_input("Steps", 0, 100_000, 400, key="train.steps", help="Batches to train on")
    )
    chosen = method or TrainingMethod.LEARNED_STEP
    with st.expander("More settings"):
        settings = _further_settings(TrainingSettings(method=chosen, steps=steps), network.noun)
        recipe = _starting_recipe(workspace)
    choice = image_choice_of(workspace)
    split = divide_training_images(workspace.model.source, network, choice)
    settings = replace(settings, loss=loss_for_split(split, loss), seed=choice.seed)
    return TrainingTask(network, workspace.config, split, settings, workspace.settings.runs, recipe)


def _further_settings(settings: TrainingSettings, noun: str) -> TrainingSettings:
    """Draw the fields of an expert, in three columns; return the settings with them."""
    left, middle, right = st.columns(3)
    batch = int(left.number_input(f"{noun.capitalize()}s per step", 2, 512, 32, key="train.batch"))
    rate = middle.number_input(
        "Relative rate",
        0.0001,
        0.1,
        0.003,
        format="%.4f",
        key="train.rate",
        help="Share of its own size by which a tensor moves in a step",
    )
    norms = right.selectbox("Batch norms", list(NormHandling)[::-1], key="train.norms")
    optimizer = left.selectbox("Optimizer", list(OptimizerKind), key="train.optimizer")
    patience = int(
        middle.number_input(
            "Patience",
            0,
            1000,
            0,
            key="train.patience",
            help="Looks at the watched data without a better state until it stops; 0: never",
        )
    )
    dampening = right.number_input(
        "Dampening",
        0.0,
        10.0,
        0.0,
        key="train.dampening",
        help="Pulls weights of at most 4 bits to their codes, against oscillation",
    )
    result = replace(
        settings,
        batch=batch,
        rate=rate,
        norms=norms,
        optimizer=optimizer or OptimizerKind.ADAM,
        patience=patience,
        dampening=dampening,
    )
    if settings.method is TrainingMethod.ALPHA_BLEND:
        return _blend_settings(result)
    return _width_settings(result) if settings.method is TrainingMethod.NEURON_WIDTHS else result


def _blend_settings(settings: TrainingSettings) -> TrainingSettings:
    left, right = st.columns(2)
    cubic = left.selectbox("Schedule", ["cubic", "linear"], key="train.schedule") == "cubic"
    gradient = right.selectbox("Gradient", list(BlendGradient), key="train.gradient")
    if settings.optimizer is OptimizerKind.ADAM:
        st.caption(ADAM_CANCELS)
    blend = replace(
        settings.blend,
        exponent=3.0 if cubic else 1.0,
        gradient=gradient or BlendGradient.BLEND,
    )
    return replace(settings, blend=blend)


def _width_settings(settings: TrainingSettings) -> TrainingSettings:
    left, middle = st.columns(2)
    rate = left.number_input(
        "Rate of the widths",
        0.0001,
        0.1,
        settings.widths.rate,
        format="%.4f",
        key="train.width_rate",
        help="A knob of compression: faster intensities end at wider channels",
    )
    pressure = middle.number_input(
        "Pressure",
        0.0,
        10.0,
        0.0,
        key="train.pressure",
        help="Times the mean width, added to the loss; 0 is the paper's method",
    )
    widths = replace(settings.widths, rate=rate, pressure=pressure)
    return replace(settings, widths=widths)


def _starting_recipe(workspace: Workspace) -> Recipe:
    """Draw what the training starts from; return the passes before it."""
    present = workspace.experiment.recipe
    begun = next((step for step in present if isinstance(step, UseTraining)), None)
    equalized = any(isinstance(step, Equalize) for step in present)
    equalize = st.checkbox("Equalize first", equalized, key="train.equalize")
    recipe = build_recipe(equalize=equalize)
    if begun is not None and st.checkbox(
        f"Go on from training {plain(begun.source)}", key="train.go_on"
    ):
        return (*(step for step in present if isinstance(step, Equalize)), begun)
    others = [step for step in present if not isinstance(step, Equalize | UseTraining)]
    if others:
        st.caption(
            "A training does the work of the other repairs of this experiment: they take no part."
        )
    return recipe


def image_choice_of(workspace: Workspace) -> ImageChoice:
    """Return the images chosen on Model, as a training divides them."""
    choice = workspace.data
    own = has_own_images(workspace)
    return ImageChoice(
        data=Path(str(choice.source)) if own else None,
        preprocess=Preprocess.from_json(choice.preprocess) if own and choice.preprocess else None,
        samples=choice.samples or None,
        calibration=max(1, choice.calibration),
        seed=choice.seed,
    )


def has_own_images(workspace: Workspace) -> bool:
    """Whether the images are the user's own, not those of a sample."""
    return workspace.data.source is not None and not is_bundled_data(workspace.data.source)


def describe_task(task: TrainingTask) -> str:
    """Return the three counts, and the share of the images that the steps see."""
    seen = task.settings.steps * task.settings.batch
    epochs, noun = seen / max(1, len(task.split.train)), task.network.noun
    return plain(
        f"{task.split.counts_sentence} {task.settings.steps} steps see {seen} {noun}s, "
        f"{epochs:.1f} times the {noun}s that train."
    )
