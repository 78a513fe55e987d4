"""Gather the contents of a report from a run, the network, the images and the run store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from accelerator.machine import Machine, load_preset, preset_names
from analysis.cost.estimate import estimate_config_cost
from analysis.mixed_precision.recipe_noise import (
    is_predictable,
    measure_recipe_noise,
    repaired_study,
)
from analysis.network import Network
from analysis.ranges.findings import ExaminedTensor, rank_suspect_tensors
from analysis.reporting.contents import LayerChoice, ModelFacts, Repairs, Report, ReportOrigin
from analysis.reporting.flow_page import FlowPage
from analysis.reporting.missing import list_unmeasured
from analysis.reporting.trade_off import TradeOff
from analysis.runs.experiment_file import record_of_run
from analysis.runs.recipe_steps import told_steps
from analysis.runs.repair import RepairStep, repair_verdict, told_of_steps
from analysis.runs.run_store import Run, RunStore
from analysis.sensitivity.screening.screen import screen_layers
from analysis.sensitivity.stored import output_noise_by_layer, stored_sensitivity
from analysis.sensitivity.sweep import Sensitivity, Sweep
from analysis.study import Study
from analysis.training.stored import trainings_in_folder
from quant.assignment import bits_by_part
from quant.config import QuantConfig, config_from_dict, uniform_config
from quant.errors import ConfigError, QuantError
from quant.graph.float_weights import summarize_float_weights
from quant.passes.recipe import Recipe
from quant.progress import Progress, Steps
from quant.simulation.plan import Side, plan_sites
from quant.spec import FLOAT_BITS, Granularity, QuantSpec

MOST_OTHERS = 12
SCREENED_IMAGES = 64
ROLES = (Side.WEIGHTS, Side.ACTIVATIONS)


@dataclass(frozen=True, eq=False, slots=True)
class Around:
    """The sources besides the run; the report names missing sources.

    `study` has the network and, if they are the run's images, the images. `store` gives other runs.
    `steps` are steps of a measured recipe; only steps of the run count.
    """

    study: Study | None = None
    machine: Machine | None = None
    store: RunStore | None = None
    sensitivity: Sensitivity | None = None
    steps: Sequence[RepairStep] = ()
    front: TradeOff | None = None
    origin: ReportOrigin | None = None
    notes: tuple[str, ...] = ()
    author: str = ""
    note: str = ""
    flow: FlowPage | None = None


def gather_run_report(run: Run, around: Around) -> Steps[Report]:
    """Collect a report; runs images only to screen the layers of a repaired network.

    Sensitivities and suspects are those of the run's own network: after the repairs of the run.

    Raises:
        ConfigError: network or machine differ from the run's.
    """
    yield Progress(0.0, "Reading the run")
    config = config_from_dict(run.config)
    network = None if around.study is None else around.study.network
    if network is not None and network.digest != run.model_digest:
        raise ConfigError(
            f"A report's model must be that of the run, {run.model} ({run.model_digest[:12]}); "
            f"got {network.name} ({network.digest[:12]}). Name the model that was run."
        )
    machine = _machine_of(run, around.machine)
    yield Progress(
        0.1, "Pricing the network in float and at 8 bits", "accuracy and cost of the run"
    )
    facts = None if network is None or machine is None else _model_facts(network, machine)
    yield Progress(0.4, "Looking up what is known of each layer", "accuracy, cost, savings")
    recipe = _recipe_of_run(run, around.store)
    known = _known_config_sensitivity(config, around)
    own = around.study
    if own is not None and recipe:
        own = yield from _repaired_study(own, recipe)
        known = yield from _repaired_sensitivity(own, recipe, config)
    noise = (
        {} if network is None or known is None else output_noise_by_layer(known, config, network)
    )
    told = "accuracy, cost, savings" + (f", {len(noise)} layers" if noise else "")
    yield Progress(0.6, "Examining ranges", told)
    found = None if own is None else _suspect_tensors(own, config)
    yield Progress(0.9, "Writing down")
    report = Report(
        run=run,
        machine=machine,
        model=facts,
        choices=() if network is None else layer_choices(network, config),
        sensitivity=known,
        noise=noise,
        suspects=found,
        repairs=_recipe_repairs(run, around.steps) or _repairs_of_run(run),
        front=around.front,
        others=_comparable_runs(run, around.store),
        origin=around.origin,
        notes=(*around.notes, *_float_tensor_sentences(network)),
        missing=(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        author=around.author,
        note=around.note,
        flow=around.flow,
    )
    return list_unmeasured(
        report, calibrated=around.study is not None and around.study.is_calibrated
    )


def _recipe_of_run(run: Run, store: RunStore | None) -> Recipe:
    """Return the repairs of a run; an empty recipe where the run cannot tell."""
    if not run.recipe:
        return ()
    folder = None if store is None or store.path is None else store.path.parent
    trainings = None if folder is None else trainings_in_folder(folder)
    try:
        return record_of_run(run, trainings).experiment.recipe
    except QuantError:
        return ()


def _repaired_study(study: Study, recipe: Recipe) -> Steps[Study]:
    """Return the study of the network after the float passes, with statistics where possible."""
    try:
        return (yield from repaired_study(study, recipe))
    except QuantError:  # a pass needs images that are not at hand
        return study


def _repaired_sensitivity(
    study: Study, recipe: Recipe, config: QuantConfig
) -> Steps[Sensitivity | None]:
    """Screen each layer of a repaired network at the bits of `config`; None without images.

    Learned rounding and trainings are no part of the screened noise.
    """
    if study.scored is None:
        return None
    few = study.with_scored_images(study.scored.first(SCREENED_IMAGES))
    used = set(bits_by_part(config, study.network.graph).values())
    sweep = Sweep(config, tuple(sorted(used - {FLOAT_BITS}, reverse=True)), ROLES)
    predictable = tuple(step for step in recipe if is_predictable((step,)))
    try:
        noise = yield from measure_recipe_noise(few, predictable, sweep, None, screen_layers)
    except QuantError:  # a range needs images that are not at hand
        return None
    return noise.sensitivity


def _float_tensor_sentences(network: Network | None) -> tuple[str, ...]:
    """Return sentences on stored tensors that stay float."""
    return () if network is None else summarize_float_weights(network.float_weights)


def _machine_of(run: Run, machine: Machine | None) -> Machine | None:
    """Return the machine of the run: the given machine, or the preset with the run's name."""
    if machine is not None and machine.name == run.cost.machine:
        return machine
    return load_preset(run.cost.machine) if run.cost.machine in preset_names() else None


def _model_facts(network: Network, machine: Machine) -> ModelFacts:
    graph = network.graph
    return ModelFacts(
        input_shape=graph.input_shape,
        output_shape=graph.output_shape,
        layers=len(graph.layers) - 1,
        weighted=sum(1 for layer in graph.layers if layer.weight is not None),
        parameters=network.parameters,
        macs=network.mac_count,
        as_float=estimate_config_cost(network, uniform_config(32, 32), machine),
        at_8_bits=estimate_config_cost(network, uniform_config(8, 8), machine),
    )


def layer_choices(network: Network, config: QuantConfig) -> tuple[LayerChoice, ...]:
    """Return the choices of a configuration for every layer, in order of execution."""
    sites = {(site.layer, site.side): site for site in plan_sites(network.graph, config)}
    rows = []
    for layer in network.graph.layers:
        weight = sites.get((layer.name, Side.WEIGHTS))
        output = sites[layer.name, Side.ACTIVATIONS]
        rows.append(
            LayerChoice(
                layer=layer.name,
                kind=str(layer.kind),
                weight_bits=None if weight is None else weight.spec.bits,
                weight="" if weight is None else describe_spec(weight.spec),
                output_bits=output.spec.bits,
                output=describe_spec(output.spec),
                encoding_owner=output.shared_with or "",
            )
        )
    return tuple(rows)


def describe_spec(spec: QuantSpec) -> str:
    """Return a spec in words, without bits, such as "per-channel, symmetric, mse"."""
    if spec.is_float:
        return ""
    many = f" of {spec.group_size}" if spec.granularity is Granularity.PER_GROUP else ""
    symmetry = "symmetric" if spec.symmetric else "asymmetric"
    power = ", scale a power of two" if spec.scale == "power-of-two" else ""
    return f"{spec.granularity}{many}, {symmetry}, {spec.estimator}{power}"


def _known_config_sensitivity(config: QuantConfig, around: Around) -> Sensitivity | None:
    study = around.study
    if around.sensitivity is not None:
        return around.sensitivity
    if study is None or study.scored is None or study.store is None:
        return None
    return stored_sensitivity(study, config)


def _suspect_tensors(study: Study, config: QuantConfig) -> tuple[ExaminedTensor, ...]:
    """Return the tensors with unfit encodings, the worst first."""
    book = study.range_book()
    found: list[ExaminedTensor] = []
    for side in ROLES:
        try:
            found += book.examine_all_tensors(config, side)
        except QuantError:  # a range that needs what was not calibrated: that side is left out
            continue
    return tuple(rank_suspect_tensors([item for item in found if item.fit is not None]))


def _recipe_repairs(run: Run, steps: Sequence[RepairStep]) -> Repairs | None:
    """Return the effects of a measured recipe, if the last step is the run."""
    if not steps or steps[-1].evaluation != run.evaluation:
        return None
    return Repairs(
        titles=tuple(step.title for step in steps),
        scores=told_of_steps(steps),
        verdicts=tuple(repair_verdict(before, after) for before, after in pairwise(steps)),
    )


def _repairs_of_run(run: Run) -> Repairs | None:
    """Return the effect of each repair as the run keeps the steps."""
    if not run.steps:
        return None
    return Repairs(
        titles=tuple(step.title for step in run.steps), scores=told_steps(run), verdicts=()
    )


def _comparable_runs(run: Run, store: RunStore | None) -> tuple[Run, ...]:
    """Return comparable runs, the newest first."""
    if store is None:
        return ()
    same = (run.model_digest, run.data_digest, run.cost.machine)
    found = [
        other
        for other in store.all_runs()
        if other.id != run.id
        and (other.model_digest, other.data_digest, other.cost.machine) == same
    ]
    return tuple(found[:MOST_OTHERS])
