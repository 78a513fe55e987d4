"""The repairs to try on a whole network, in order of cost."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from analysis.diagnosis.causes.root_cause import SiteCause
from analysis.runs.experiment import Experiment, smooth_for
from analysis.study import Study
from quant.assignment import config_at_granularity
from quant.config import QuantConfig
from quant.passes.absorb_bias import AbsorbBias
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.recipe import Pass, Recipe, RecipeError, check_recipe_order, is_float_pass
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.passes.smooth_groups import find_smooth_groups
from quant.simulation.plan import Side
from quant.spec import FLOAT_BITS, Estimator, Granularity, SpecChange

ROUNDING_ITERATIONS = 1000
FEW_BITS = 6
"""Up to these bits of weights, block reconstruction is worth its time (our choice)."""
FREE_ESTIMATORS = (Estimator.MSE, Estimator.MIN_MAX, Estimator.PERCENTILE)

Change = Callable[[Experiment], Experiment | None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A repair: `change` returns the repaired experiment, or None if nothing would change.

    `cost` orders repairs: 0 is free at inference and takes seconds; scales by channel need a
    machine with such scales; AdaRound takes minutes, and block reconstruction more of them.
    """

    title: str
    cost: int
    sides: tuple[Side, ...]
    change: Change


def repair_candidates(
    study: Study, sides: Iterable[Side], causes: Iterable[SiteCause], iterations: int
) -> tuple[Candidate, ...]:
    """Return the repairs for the guilty sides, the cheapest first.

    AdaRound takes `iterations` a layer, block reconstruction three tenths of it a block.
    """
    guilty = set(sides)
    found = [
        one
        for one in (*_usual_candidates(study, iterations, guilty), *_local_candidates(causes))
        if guilty & set(one.sides)
    ]
    return tuple(sorted(found, key=lambda one: one.cost))


def _usual_candidates(
    study: Study, iterations: int, guilty: Collection[Side]
) -> Iterator[Candidate]:
    weights, outputs = (Side.WEIGHTS,), (Side.ACTIVATIONS,)
    if study.equalizable_pairs():
        both = (*weights, *outputs)
        yield Candidate("Equalize across layers", 0, both, lambda one: _add_pass(one, Equalize()))
        yield Candidate("Absorb high biases", 1, both, lambda one: _add_pass(one, AbsorbBias()))
    if study.calibration is not None and find_smooth_groups(study.network.graph)[0]:
        yield Candidate(
            "Smooth activations", 1, outputs, lambda one: _add_pass(one, smooth_for(one.config))
        )
    yield Candidate("Asymmetric activations", 2, outputs, _with_asymmetric_activations)
    for estimator in FREE_ESTIMATORS:
        yield Candidate(
            f"Activation ranges by {estimator}",
            3,
            outputs,
            _with_other_estimator(estimator, Side.ACTIVATIONS),
        )
        yield Candidate(
            f"Weight ranges by {estimator}",
            3,
            weights,
            _with_other_estimator(estimator, Side.WEIGHTS),
        )
    yield Candidate("A scale for each channel", 4, weights, _per_channel)
    if study.calibration is None:  # what follows learns from images
        return
    yield Candidate("Correct biases", 5, weights, lambda one: _add_pass(one, CorrectBias()))
    rounding = AdaRound(iterations=iterations)
    yield Candidate("AdaRound", 6, weights, lambda one: _add_pass(one, rounding))
    bare = Side.ACTIVATIONS not in guilty
    blocks = Reconstruct(max(1, 3 * iterations // 10), 3 * iterations // 50)
    yield Candidate(
        "Reconstruct blocks",
        7,
        weights,
        lambda one: _with_blocks(one, blocks, bare=bare) if _has_few_bits(one.config) else None,
    )


def _local_candidates(causes: Iterable[SiteCause]) -> Iterator[Candidate]:
    """Yield for each cause the changed encodings of the layers with the cause."""
    groups: dict[tuple[str, str], list[SiteCause]] = {}
    for cause in causes:
        if cause.remedy.weight is not None or cause.remedy.activation is not None:
            groups.setdefault((cause.cause, cause.remedy.title), []).append(cause)
    for (name, title), group in groups.items():
        first = group[0].remedy
        wider = any(
            change is not None and change.bits is not None
            for change in (first.weight, first.activation)
        )
        if wider:  # more bits cost energy: the flow gives them layer by layer
            continue
        finer = first.weight is not None and first.weight.granularity is not None
        sides = tuple({one.side for one in group})
        layers = "1 layer" if len(group) == 1 else f"{len(group)} layers"
        text = f"{title.removesuffix(' for this layer')} in {layers} with {name}"
        yield Candidate(text, 4 if finer else 3, sides, _change_layers(tuple(group)))


def _change_layers(group: tuple[SiteCause, ...]) -> Change:
    def change(experiment: Experiment) -> Experiment | None:
        config = experiment.config
        for one in group:
            config = config.with_layer_change(one.layer, one.remedy.weight, one.remedy.activation)
        return _with_config(experiment, config)

    return change


def _has_few_bits(config: QuantConfig) -> bool:
    """Tell whether a weight may have few bits, by the default or a rule."""
    bits = [config.default.weight.bits, *(rule.weight.bits for rule in config.rules)]
    return any(width is not None and width <= FEW_BITS for width in bits)


def _with_blocks(experiment: Experiment, blocks: Reconstruct, *, bare: bool) -> Experiment | None:
    """Return the experiment with block reconstruction.

    With `bare`, where activations alone are good enough as they came, and a scale for each channel,
    reconstruction starts without equalization, which helps such weights little and spreads the
    ranges of activations (on efficientnet-lite0, 8-bit activations alone then cost a KL of 0.02 and
    not 0.003), and without the repairs that it makes itself.
    """
    granularity = experiment.config.default.weight.granularity
    if bare and granularity is Granularity.PER_CHANNEL:
        own = Equalize, AbsorbBias, CorrectBias, AdaRound
        rest = tuple(step for step in experiment.recipe if not isinstance(step, own))
        experiment = experiment.with_recipe(rest)
    return _add_pass(experiment, blocks)


def _with_config(experiment: Experiment, config: QuantConfig) -> Experiment | None:
    changed = experiment.with_config(config)
    return None if changed is experiment else changed


def _add_pass(experiment: Experiment, step: Pass) -> Experiment | None:
    """Return the experiment with one more pass at the suitable place."""
    if any(type(one) is type(step) for one in experiment.recipe):
        return None
    floats = [one for one in experiment.recipe if is_float_pass(one)]
    others = [one for one in experiment.recipe if not is_float_pass(one)]
    recipe: Recipe
    if is_float_pass(step) or isinstance(step, CorrectBias):
        recipe = (*floats, step, *others)
    else:
        recipe = (*floats, *others, step)
    changed = experiment.with_recipe(recipe)
    try:
        check_recipe_order(changed.all_passes)
    except RecipeError:
        return None
    return changed


def _with_asymmetric_activations(experiment: Experiment) -> Experiment | None:
    return _change_default(experiment, Side.ACTIVATIONS, SpecChange(symmetric=False))


def _with_other_estimator(estimator: Estimator, side: Side) -> Change:
    return lambda one: _change_default(one, side, SpecChange(estimator=estimator))


def _change_default(experiment: Experiment, side: Side, change: SpecChange) -> Experiment | None:
    """Return the experiment with a change of one whole side; other choices stay."""
    config = experiment.config
    default = config.default
    cleared = {key: None for key, value in change.to_dict().items() if value is not None}
    if side is Side.WEIGHTS:
        default = replace(default, weight=change.apply_to_spec(default.weight))
        rules = tuple(replace(one, weight=replace(one.weight, **cleared)) for one in config.rules)
    else:
        default = replace(default, activation=change.apply_to_spec(default.activation))
        rules = tuple(
            replace(one, activation=replace(one.activation, **cleared)) for one in config.rules
        )
    kept = tuple(one for one in rules if one.weight.to_dict() or one.activation.to_dict())
    return _with_config(experiment, QuantConfig(default, kept))


def _per_channel(experiment: Experiment) -> Experiment | None:
    return _with_config(
        experiment, config_at_granularity(experiment.config, Granularity.PER_CHANNEL)
    )


def one_side(config: QuantConfig, side: Side) -> QuantConfig:
    """Return the configuration of one side; the other side stays float."""
    floating = SpecChange(bits=FLOAT_BITS)
    default = config.default
    if side is Side.WEIGHTS:
        default = replace(default, activation=floating.apply_to_spec(default.activation))
        rules = tuple(replace(one, activation=SpecChange()) for one in config.rules)
    else:
        default = replace(default, weight=floating.apply_to_spec(default.weight))
        rules = tuple(replace(one, weight=SpecChange()) for one in config.rules)
    kept = tuple(one for one in rules if one.weight.to_dict() or one.activation.to_dict())
    return QuantConfig(default, kept)
