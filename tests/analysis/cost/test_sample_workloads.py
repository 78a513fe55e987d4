"""The stored workloads are those of the sample networks."""

import pytest

from accelerator import estimate_workload, load_preset
from analysis.cost.sample_workloads import sample_workloads
from analysis.cost.workload import build_workload
from analysis.network import prepare_network
from model_io.load import load_model
from quant.config import uniform_config
from sample_models.registry import SAMPLES


def test_every_sample_is_stored() -> None:
    assert list(sample_workloads()) == list(SAMPLES)


@pytest.mark.parametrize("name", ["letter-mlp", "fashion-segmenter"])
def test_a_stored_workload_costs_what_the_network_costs(name: str) -> None:
    loaded = load_model(name)
    network = prepare_network(
        loaded.name, loaded.module, loaded.expected_inputs, loaded.digest, loaded.batch
    )
    fresh = build_workload(name, network.graph, uniform_config(8, 8))
    assert sample_workloads()[name].ops == fresh.ops
    machine = load_preset("gap9_ne16_like")
    stored = estimate_workload(sample_workloads()[name], machine)
    assert stored.energy_pj == estimate_workload(fresh, machine).energy_pj
