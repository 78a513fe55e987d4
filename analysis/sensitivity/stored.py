"""The stored sensitivity of a network; runs nothing."""

from dataclasses import replace

from analysis.network import Network
from analysis.sensitivity.analyze import kept_sensitivity
from analysis.sensitivity.sweep import DEFAULT_BITS, Sensitivity, Sweep
from analysis.study import Study
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.simulation.plan import TENSOR_SIDES, Side, plan_sites
from quant.spec import FLOAT_BITS


def stored_sensitivity(study: Study, config: QuantConfig) -> Sensitivity | None:
    """Return the stored exact answers for layers quantized alone, or None; runs nothing.

    The questions cover the usual widths and the widths of `config`. Activations without calibration
    are left out, since calibration determines the encodings.
    """
    sides = TENSOR_SIDES if study.known_statistics.statistics else TENSOR_SIDES[:1]
    used = {
        site.spec.bits for site in plan_sites(study.network.graph, config) if not site.spec.is_float
    }
    sweep = Sweep(config, tuple(sorted({*DEFAULT_BITS, *used}, reverse=True)), sides)
    found = _stored_sweep_answers(study, sweep)
    if found is None and len(sides) > 1:
        found = _stored_sweep_answers(study, replace(sweep, sides=TENSOR_SIDES[:1]))
    return found


def _stored_sweep_answers(study: Study, sweep: Sweep) -> Sensitivity | None:
    try:
        found = kept_sensitivity(study, sweep)
    except QuantError:  # a range that calibration does not give: nothing can be known of it
        return None
    return found if found.scores else None


def output_noise_by_layer(
    found: Sensitivity, config: QuantConfig, network: Network
) -> dict[str, float]:
    """Return the noise of each layer alone at the bits of `config`, as a share of the output.

    Noise energies add up over sides; layers with an unknown side are left out.
    """
    known = {(s.question.layer, s.question.side, s.question.bits): s for s in found.scores}
    noise: dict[str, float] = {}
    unknown = set()
    for site in plan_sites(network.graph, config):
        side = Side.WEIGHTS if site.side is Side.WEIGHTS else Side.ACTIVATIONS
        if site.spec.bits == FLOAT_BITS or side not in found.sweep.sides:
            continue
        score = known.get((site.layer, side, site.spec.bits))
        if score is None:
            unknown.add(site.layer)
        else:
            noise[site.layer] = noise.get(site.layer, 0.0) + 10 ** (-score.sqnr_db / 10)
    return {layer: value for layer, value in noise.items() if layer not in unknown}
