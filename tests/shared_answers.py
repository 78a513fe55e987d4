"""Answers that tests of one process share: the same question is worked out once.

Networks, images and statistics are frozen, so an answer to the same ones is the same for every
test. What a test keeps in a run store, a workspace or a file stays its own.
"""

import importlib
import pkgutil
import uuid
from collections.abc import Callable, Hashable, Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from inspect import signature
from types import ModuleType
from typing import Any

import pytest

import analysis.mixed_precision.try_configs as try_module
import tests.operator_registry  # noqa: F401  built once a process
from accelerator.machine import Machine
from analysis.calibration import calibrate_network
from analysis.evaluation.evaluate import score_float_network
from analysis.evaluation.sanity import check_float_network
from analysis.mixed_precision.choices import Rules
from analysis.mixed_precision.pareto_front import find_pareto_front
from analysis.mixed_precision.recipe_noise import RecipeNoise
from analysis.mixed_precision.recipe_search import RecipeSearch, _undominated_searches
from analysis.mixed_precision.search import BitSearch
from analysis.mixed_precision.try_configs import try_configs
from analysis.prediction.noise_table import Trials
from analysis.runs.run_experiment import measure_experiment
from analysis.sensitivity.recheck import recheck_loud_layers
from analysis.sensitivity.screening.corrected_noise import corrected_shares
from analysis.sensitivity.screening.screen import screen_layers
from analysis.study import Study
from model_io.onnx_export.float_onnx import MarkedOnnx, export_marked_onnx
from quant.assignment import cells_of_config
from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph
from quant.progress import Steps
from quant.simulation.quant_graph import QuantGraph

PACKAGES = ("accelerator", "analysis", "commands", "data_io", "figures", "model_io", "quant", "ui")


def replace_everywhere(patch: pytest.MonkeyPatch, real: object, other: object) -> None:
    """Put `other` in the place of `real` in each module of the product that imported it."""
    for module in modules():
        for key in [key for key, value in vars(module).items() if value is real]:
            patch.setattr(module, key, other)


@cache
def modules() -> list[ModuleType]:
    """Return each module of the product, imported."""
    found = []
    for package in map(importlib.import_module, PACKAGES):
        names = [
            each.name for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        ]
        found += [package, *map(importlib.import_module, names)]
    return found


_SEARCHES: dict[Hashable, tuple[BitSearch, object]] = {}
_RECIPE_SEARCHES: dict[str, RecipeSearch] = {}
_MARKED: dict[str, MarkedOnnx] = {}
_TRIALS: dict[Hashable, Trials] = {}


class Answers:
    """The answers of one function, by what was asked; it stands in for the function.

    A question is told apart by digests where an argument has one, by value where it can be a key,
    and else by identity: the arguments are held, so no other object takes their place.
    """

    def __init__(self, real: Callable[..., Steps[Any]]) -> None:
        self.real = real
        self.known: dict[Hashable, tuple[Any, object]] = {}

    def __call__(self, *arguments: Any, **options: Any) -> Steps[Any]:
        """Return the answer, worked out step by step where nobody asked before."""
        question = tuple(map(identity, (*arguments, *options, *options.values())))
        if question not in self.known:
            answer = yield from self.real(*arguments, **options)
            self.known[question] = answer, (arguments, options)
        return self.known[question][0]


def search_once(*arguments: Any, **options: Any) -> BitSearch:
    """Return a search for bits, the one of before where every question to it is the same."""
    bound = signature(BitSearch).bind(*arguments, **options).arguments
    # entropies follow from the network
    question = tuple((key, identity(one)) for key, one in bound.items() if key != "entropies")
    if question not in _SEARCHES:
        _SEARCHES[question] = BitSearch(*arguments, **options), bound
    return _SEARCHES[question][0]


def recipe_search_once(
    noises: Sequence[RecipeNoise], machine: Machine, rules: Rules, *rest: Any
) -> RecipeSearch:
    """Return a search for bits and repairs, the one of before where all noise is the same."""
    asked = [(n.recipe, n.network.digest, n.sensitivity, n.others) for n in noises]
    question = repr((asked, machine.name, rules, rest))
    if question not in _RECIPE_SEARCHES:
        _RECIPE_SEARCHES[question] = RecipeSearch(noises, machine, rules, *rest)
    return with_noises(_RECIPE_SEARCHES[question], noises)


def tried_once(study: Study, noise: RecipeNoise, configs: Sequence[QuantConfig]) -> Steps[None]:
    """Try configurations; the trials of other tests join the noise first."""
    question = identity(study), noise.recipe, vars(try_module)["TRIAL_IMAGES"]
    known = _TRIALS.setdefault(question, {})
    graph = noise.network.graph
    wanted = {cells_of_config(config, graph) for config in configs}
    noise.trials.update({cells: known[cells] for cells in wanted & known.keys()})
    yield from try_configs(study, noise, configs)
    known.update(noise.trials)


def with_noises(search: RecipeSearch, noises: Sequence[RecipeNoise]) -> RecipeSearch:
    """Return a search with other noises of the same values: trials join these noises alone."""
    other = copy(search)
    other.noises = tuple(noises)
    other.searches = tuple(copy(one) for one in search.searches)
    for one, noise in zip(other.searches, noises, strict=True):
        one.table = replace(one.table, trials=noise.trials)
    other._best = _undominated_searches(other.searches)
    return other


class Runs(Answers):
    """Runs of experiments, each measured once; every test gets a run with an id of its own."""

    def __call__(self, *arguments: Any, **options: Any) -> Steps[Any]:
        """Return a run of the experiment, measured where nobody did before."""
        found = yield from super().__call__(*arguments, **options)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(found, id=uuid.uuid4().hex, created=now)


def marked_once(quantized: QuantGraph) -> MarkedOnnx:
    """Return the float ONNX of a network, written once for the same operations and weights."""
    sites = [(site.name, site.side.noun, site.layer, site.shared_with) for site in quantized.sites]
    question = repr((content(quantized.graph), sites, quantized.graph.batch))
    if question not in _MARKED:
        _MARKED[question] = export_marked_onnx(quantized)
    return _MARKED[question]


def content(graph: FloatGraph) -> list[object]:
    """Return every node and a digest of every tensor of a graph."""
    nodes = [(n.op, str(n.target), str(n.args), str(n.kwargs)) for n in graph.module.graph.nodes]
    state = sorted(graph.module.state_dict().items())
    digests = [(name, sha256(value.numpy().tobytes()).hexdigest()) for name, value in state]
    return [*nodes, *digests]


def identity(argument: object) -> Hashable:
    """Return what tells an argument apart: two that are the same to every function are equal."""
    if isinstance(argument, Study):
        images = (argument.scored, argument.calibration)
        digests = [None if one is None else one.digest for one in images]
        metric = argument.metric and (
            argument.metric.task,
            getattr(argument.metric.collect, "args", ()),
        )
        return repr((argument.network.digest, argument.network.graph_digest, *digests, metric))
    if hasattr(argument, "source_digest"):  # a dataset
        return str(argument.digest)  # type: ignore[attr-defined]
    try:
        hash(argument)
    except TypeError:
        return repr(argument) if isinstance(argument, Rules) else id(argument)
    return argument


SHARED: tuple[tuple[object, Callable[..., Any]], ...] = (
    *(
        (real, Answers(real))
        for real in (
            score_float_network,
            check_float_network,
            calibrate_network,
            screen_layers,
            recheck_loud_layers,
            corrected_shares,
            find_pareto_front,
        )
    ),
    (measure_experiment, Runs(measure_experiment)),
    (BitSearch, search_once),
    (RecipeSearch, recipe_search_once),
    (try_configs, tried_once),
    (export_marked_onnx, marked_once),
)
