"""The estimated cost of a configuration on a machine."""

from dataclasses import replace

from accelerator.estimate import estimate_workload
from accelerator.machine import Machine, Storage
from accelerator.report import CostReport
from analysis.cost.workload import Entropies, build_workload, weight_entropies
from analysis.network import Network
from quant.config import QuantConfig


def estimate_config_cost(
    network: Network, config: QuantConfig, machine: Machine, known: Entropies | None = None
) -> CostReport:
    """Return the estimated cost of one image or row; fast enough to follow an editor.

    `known` caches weight entropies between calls, for machines that compress weights.

    Raises:
        ConfigError: a rule of `config` matches no layer.
    """
    entropies: Entropies = {}
    if machine.weight_storage is Storage.ENTROPY:
        entropies = weight_entropies(network.graph, config, {} if known is None else known)
    workload = build_workload(network.name, network.graph, config, entropies)
    return replace(estimate_workload(workload, machine), noun=network.noun)
