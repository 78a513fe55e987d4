"""The known facts of a configuration of the present model; no function here runs the network."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from analysis.evaluation.lost_score import share_metric
from analysis.mixed_precision.forecast import Foresight, config_without_bits, learn_forecast
from analysis.mixed_precision.recipe_noise import RecipeNoise
from analysis.network import Network
from analysis.sensitivity.ranking import merge_deepest_answers
from analysis.sensitivity.sweep import Sensitivity, Sweep
from analysis.split import Split
from figures.tradeoffs.wording import QualityScale
from quant.assignment import cells_of_config, config_at_granularity
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.passes.recipe import Recipe
from quant.simulation.plan import TENSOR_SIDES
from ui.answers.float_score import find_float_score
from ui.answers.sensitivity import SCREENED_IMAGES, last_request, screened_answers
from ui.answers.stored_sensitivity import stored_layer_sensitivity
from ui.state.workspace import Workspace

MOST_KEPT = 4
Quick = TypeVar("Quick", bound=Sensitivity | None)


def eight_bit_config(workspace: Workspace, network: Network) -> QuantConfig:
    """Return the present configuration at 8 bits, which is the configuration of the sweeps.

    Sweeps replace the bits. Where a search chose among granularities, the weights get the most
    frequent granularity, from which the search started.
    """
    own = config_without_bits(network, workspace.config)
    weights = [grain for _, _, grain in cells_of_config(own, network.graph) if grain is not None]
    usual = config_at_granularity(own, Counter(weights).most_common(1)[0][0]) if weights else own
    chosen = len(set(weights)) > 1 and workspace.parts is not None
    if chosen and any(n.others for n in held_noises(workspace, usual).values()):
        return usual
    return own


def present_foresight(workspace: Workspace) -> Foresight | None:
    """Return the knowledge from sweeps and runs of the present model; None without a sweep."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None:
        return None
    kept = workspace.tradeoffs.foresights
    key = (_foresight_key(workspace, network, parts), _store_stamp(workspace.store.path))
    if key not in kept:
        while len(kept) >= MOST_KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = _learn_foresight(workspace, network, parts)
    return kept[key]


def _learn_foresight(workspace: Workspace, network: Network, parts: Split) -> Foresight | None:
    noises = noises_now(workspace, network)
    if not noises:
        return None
    try:
        return learn_forecast(noises, workspace.store.all_runs(), parts.score.digest)
    except QuantError:
        return None


def held_noises(workspace: Workspace, config: QuantConfig) -> dict[Recipe, RecipeNoise]:
    """Return the noise under each recipe that fronts were found from, for a configuration."""
    network = workspace.network
    if network is None:
        return {}
    return workspace.tradeoffs.noises.get(sensitivity_key_at(network, workspace.parts, config), {})


def hold_noises(workspace: Workspace, noises: Sequence[RecipeNoise]) -> None:
    """Hold the noise under recipes for the present model and data."""
    network = workspace.network
    if network is None:
        return
    for noise in noises:
        key = sensitivity_key_at(network, workspace.parts, noise.sensitivity.sweep.config)
        workspace.tradeoffs.noises.setdefault(key, {})[noise.recipe] = noise


def noises_now(workspace: Workspace, network: Network) -> tuple[RecipeNoise, ...]:
    """Return the noise under each known recipe, first without repairs: the deepest there is."""
    held = held_noises(workspace, eight_bit_config(workspace, network))
    plain = deepest_sensitivity(workspace)
    rest = tuple(noise for recipe, noise in held.items() if recipe)
    if plain is None:
        return rest
    others, trials = (held[()].others, held[()].trials) if () in held else ((), {})
    entropies = {} if workspace.study is None else workspace.study.weight_entropies
    return (RecipeNoise((), network, plain, others, entropies, trials), *rest)


def _foresight_key(workspace: Workspace, network: Network, parts: Split) -> tuple[object, ...]:
    """Return the choices of the user on which sensitivities depend."""
    config = eight_bit_config(workspace, network).to_json()
    known = None if workspace.study is None else workspace.study.known_statistics
    held = held_noises(workspace, eight_bit_config(workspace, network))
    return network.digest, parts.score.digest, config, id(known), *map(id, held.values())


def _store_stamp(path: Path | None) -> tuple[int, int]:
    """Return the time and size of the store's file, (0, 0) for a store in memory."""
    if path is None:
        return 0, 0
    told = path.stat()
    return told.st_mtime_ns, told.st_size


def sensitivity_key_at(network: Network, parts: Split | None, config: QuantConfig) -> str:
    """Return the key of the sensitivities to a configuration without bits; empty without images."""
    if parts is None:
        return ""
    seen = parts.calibration.digest if parts.calibration else ""
    return f"{network.digest} {parts.score.digest} {seen} {config.to_json()}"


def deepest_sensitivity(workspace: Workspace) -> Sensitivity | None:
    """Return the deepest known sensitivities: exact scores, and screened scores for the rest."""
    network = workspace.network
    if network is None or workspace.parts is None:
        return None
    config = eight_bit_config(workspace, network)
    quick = _screened_sensitivity(workspace, config)
    return with_exact_answers(workspace, network, config, quick)


def with_exact_answers(
    workspace: Workspace, network: Network, config: QuantConfig, quick: Quick
) -> Sensitivity | Quick:
    """Return the exact scores, and the scores of `quick` for cells without an exact score."""
    exact = stored_layer_sensitivity(workspace, config)
    if exact is None:
        return quick
    return merge_deepest_answers(exact, quick, [layer.name for layer in network.graph.layers])


def _screened_sensitivity(workspace: Workspace, config: QuantConfig) -> Sensitivity | None:
    """Return the sensitivities behind a front, else the screened sensitivities of Sensitivity."""
    held = held_noises(workspace, config).get(())
    if held is not None:
        return held.sensitivity
    asked = last_request(workspace)
    found = screened_answers(workspace, Sweep(config), SCREENED_IMAGES)
    return found or screened_answers(
        workspace, replace(asked, sides=TENSOR_SIDES).build_sweep(config), asked.images
    )


def quality_scale(workspace: Workspace, foresight: Foresight) -> QualityScale:
    """Return how quality is told: as accuracy, mAP or mIoU once enough was measured."""
    by_loss = foresight.tells_loss
    metrics = [share_metric(one.run.evaluation) for one in foresight.measured]
    metric = next((one for one in metrics if one is not None), None)
    if by_loss and metric is not None and not foresight.predictor.labelled:
        return QualityScale(by_loss, metric.float_value, metric=metric.name)
    top = float_top1(workspace, foresight) if by_loss else None
    return QualityScale(by_loss, top, foresight.network.chance)


def float_top1(workspace: Workspace, foresight: Foresight) -> float | None:
    """Return the accuracy of the float network on the scored images; None without labels."""
    if not foresight.predictor.labelled:
        return None
    for one in foresight.measured:
        if one.run.evaluation.float_top1 is not None:
            return one.run.evaluation.float_top1
    score = find_float_score(workspace)
    return score.top1 if score is not None else foresight.sensitivity.float_top1
