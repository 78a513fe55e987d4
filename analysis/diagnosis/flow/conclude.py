"""The end of a diagnosis: causes by name, the chosen experiment, and further advice."""

from collections.abc import Iterable, Sequence

from analysis.diagnosis.causes.root_cause import RootCause, SiteCause
from analysis.diagnosis.flow.contents import (
    Diagnosis,
    FlowStage,
    LayerLoss,
    NamedCause,
    StepOutcome,
)
from analysis.diagnosis.flow.goal import Standing, points_text
from analysis.diagnosis.flow.state import FlowState
from analysis.diagnosis.flow.trials import Trials

MOST_CAUSES = 40
TRAINING_UNKNOWN = "Training on the encodings may win back more."


def name_causes(
    causes: Iterable[SiteCause], layers: Sequence[LayerLoss], noun: str = "image"
) -> tuple[NamedCause, ...]:
    """Return the causes with the lost points of the layers, the most harmful first.

    `noun` is the word for what the network takes. Each side keeps up to `MOST_CAUSES` causes, so
    that no side hides the other.
    """
    known = {(one.layer, one.side): one for one in layers}

    def harm(cause: SiteCause) -> tuple[bool, float, float, float]:
        loss = known.get((cause.layer, cause.side))
        whole = cause.cause is RootCause.FEW_IMAGES
        if loss is None:
            return not whole, 0.0, 0.0, -cause.bits_lost
        return not whole, -max(loss.points or 0.0, 0.0), -loss.kl, -cause.bits_lost

    found: list[NamedCause] = []
    for cause in sorted(causes, key=harm):
        if sum(one.side is cause.side for one in found) == MOST_CAUSES:
            continue
        loss = known.get((cause.layer, cause.side))
        found.append(
            NamedCause(
                cause.layer,
                cause.side,
                cause.cause.replace("image", noun),
                cause.evidence,
                cause.remedy.title,
                None if loss is None else loss.points,
                None if loss is None else loss.interval,
            )
        )
    return tuple(found)


def conclude_diagnosis(trials: Trials, state: FlowState) -> Diagnosis:
    """Return the diagnosis: the cheapest recipe that keeps the goal, or the nearest recipe."""
    best, goal = state.nearest_trial, trials.goal
    met = best.standing is Standing.KEPT
    limit = points_text(goal.points) if best.loss.labelled else f"{goal.points:g} % of the answers"
    name = best.experiment.content_name
    sentence = (
        f"{name} keeps the goal (at most {limit} lost): loses {best.loss.loss_text}."
        if met
        else f"No recipe here keeps {limit}; nearest is {name}: loses {best.loss.loss_text}."
    )
    if not met and best.loss.points <= goal.points:
        sentence = (
            f"{name} loses {best.loss.loss_text}: within {limit} as measured, but "
            f"{len(trials.study.scored_images)} {trials.study.network.noun}s cannot decide."
        )
    useless = [
        step.name
        for step in trials.board
        if step.adopted is False and step.stage is FlowStage.REPAIR
    ]
    if useless:
        sentence += f" Tried without help: {', '.join(useless)}."
    network, images = trials.study.network, trials.study.scored_images
    chosen = best.experiment.with_name("").on_model_and_data(network.digest, images.digest)
    return Diagnosis(
        goal,
        tuple(trials.board),
        state.named,
        state.layers,
        chosen,
        best.run,
        met,
        sentence,
        "" if met else _advice_sentences(trials, state),
        state.float_top1,
    )


def stop_early(trials: Trials, state: FlowState) -> Diagnosis:
    """Return the diagnosis of a float network that fails on the images."""
    reasons = [step.sentence for step in trials.board if step.outcome is StepOutcome.FAILED]
    network, images = trials.study.network, trials.study.scored_images
    return Diagnosis(
        trials.goal,
        tuple(trials.board),
        (),
        (),
        state.given.on_model_and_data(network.digest, images.digest),
        None,
        met=False,
        sentence=f"Nothing can be judged before the float network is sound. {' '.join(reasons)}",
        advice="Check the data, the preprocessing and the labels on Model.",
        float_top1=state.float_top1,
    )


def _advice_sentences(trials: Trials, state: FlowState) -> str:
    """Return the next help: more images, more calibration, more bits, or training."""
    best, told = state.nearest_trial, []
    if best.standing is Standing.UNDECIDED and best.loss.points <= trials.goal.points:
        told.append("The interval of the loss reaches beyond the goal: score more data.")
    if any(one.cause is RootCause.FEW_IMAGES for one in state.causes):
        told.append("Choose ranges from more calibration data.")
    if state.beyond is not None:
        title, trial = state.beyond
        kept = trial.standing is Standing.KEPT
        told.append(
            f"{title} {'keep' if kept else 'do not keep'} the goal: {trial.loss.loss_text}."
        )
    told.append(f"{state.forecast or TRAINING_UNKNOWN} See Train.")
    return " ".join(told)
