"""The noise of layers for the page Trade-offs: known noise, or screened and re-measured noise."""

from collections.abc import Sequence

from analysis.network import Network
from analysis.runs.json_values import plain_from_result
from analysis.sensitivity.recheck import recheck_loud_layers
from analysis.sensitivity.screening.screen import screen_layers
from analysis.sensitivity.sweep import Sensitivity, Sweep, sweeps_of_granularities
from analysis.study import Study
from quant.config import QuantConfig
from quant.progress import Steps, part_of_progress
from quant.simulation.plan import TENSOR_SIDES, Side
from ui.answers.forecast import deepest_sensitivity, eight_bit_config, with_exact_answers
from ui.answers.sensitivity import SCREENED_IMAGES, screened_answers, screening_key
from ui.answers.stored_sensitivity import stored_layer_sensitivity
from ui.state.tradeoffs import FrontRequest
from ui.state.workspace import Workspace

SCREENING_SHARE = 0.5  # of the work: the check of what is loud is the rest


def noise_by_granularity(
    workspace: Workspace, study: Study, wish: FrontRequest, present: QuantConfig
) -> Steps[tuple[Sensitivity, tuple[Sensitivity, ...]]]:
    """Return the sensitivities, and those of weights at further allowed granularities."""
    network = study.network
    bits = wish.needed_widths(network, present)
    own = Sweep(eight_bit_config(workspace, network), bits, TENSOR_SIDES)
    sweeps = sweeps_of_granularities(network.graph, own, wish.granularities)
    share = 1 / (1 + len(sweeps))
    found = yield from part_of_progress(_own_granularity_noise(workspace, study, bits), 0.0, share)
    others = []
    for place, sweep in enumerate(sweeps, start=1):
        steps = _other_granularity_noise(workspace, study, sweep)
        others.append((yield from part_of_progress(steps, share * place, share * (place + 1))))
    return found, tuple(others)


def _other_granularity_noise(
    workspace: Workspace, study: Study, sweep: Sweep
) -> Steps[Sensitivity]:
    """Return the noise of weights at a further granularity: exact if known, else screened."""
    exact = stored_layer_sensitivity(workspace, sweep.config)
    if exact is not None and _covers_all_cells(exact, study.network, sweep.bits, sweep.sides):
        return exact
    few = study.with_scored_images(study.scored_images.first(SCREENED_IMAGES))
    known = screened_answers(workspace, sweep, SCREENED_IMAGES)
    if known is None:
        known = yield from part_of_progress(screen_layers(few, sweep), 0.0, SCREENING_SHARE)
    steps = recheck_loud_layers(few, known)
    checked = yield from part_of_progress(steps, SCREENING_SHARE, 1.0)
    key = screening_key(workspace, sweep, SCREENED_IMAGES)
    workspace.store.keep_answer(key, plain_from_result(checked))
    return checked


def _own_granularity_noise(
    workspace: Workspace, study: Study, bits: tuple[int, ...]
) -> Steps[Sensitivity]:
    """Return the known sensitivities at `bits`; otherwise screen the layers and keep the result."""
    few = study.with_scored_images(study.scored_images.first(SCREENED_IMAGES))
    known = deepest_sensitivity(workspace)
    if known is not None and _covers_all_cells(known, study.network, bits):
        return (yield from recheck_loud_layers(few, known))
    sweep = Sweep(eight_bit_config(workspace, study.network), bits, TENSOR_SIDES)
    steps = screen_layers(few, sweep)
    found = yield from part_of_progress(steps, 0.0, SCREENING_SHARE)
    loud = recheck_loud_layers(few, found)
    found = yield from part_of_progress(loud, SCREENING_SHARE, 1.0)
    workspace.store.keep_answer(
        screening_key(workspace, sweep, SCREENED_IMAGES), plain_from_result(found)
    )
    return with_exact_answers(workspace, study.network, sweep.config, found)


def _covers_all_cells(
    found: Sensitivity, network: Network, bits: Sequence[int], asked: Sequence[Side] = TENSOR_SIDES
) -> bool:
    """Whether weights and activations of the asked sides have a score at each of the bits."""
    known = {(s.question.layer, s.question.side, s.question.bits) for s in found.scores}
    sides = [
        (layer.name, side)
        for layer in network.graph.layers
        for side in asked
        if side is not TENSOR_SIDES[0] or layer.weight is not None
    ]
    return all((*place, width) in known for place in sides for width in bits)
