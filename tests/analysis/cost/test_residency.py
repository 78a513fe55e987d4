"""The step at which all weights of a network fit on chip, and what it changes."""

from dataclasses import replace

import pytest

from accelerator import load_preset
from accelerator.parts import WeightMemory
from accelerator.validation.networks import TINY, network_table
from analysis.cost.estimate import estimate_config_cost
from analysis.cost.residency import find_residency_step
from analysis.cost.table_network import TableNetwork
from analysis.cost.workload import build_workload
from analysis.network import Network, prepare_network
from quant.config import uniform_config

GAP9 = load_preset("gap9_ne16_like")


@pytest.fixture(scope="module")
def keyword_net() -> Network:
    table = TableNetwork("kws")
    return prepare_network("kws", table.eval(), table.input_shape, "x")


def test_the_module_has_the_work_of_its_table(keyword_net: Network) -> None:
    built, table = (
        build_workload("kws", keyword_net.graph, uniform_config(8, 8)),
        network_table("kws"),
    )
    assert [op.macs for op in built.ops if op.macs] == [op.macs for op in table.ops if op.macs]
    assert set(TINY) == {"ic", "kws", "vww", "ad"}


def test_the_step_names_the_widest_width_at_which_all_weights_fit(keyword_net: Network) -> None:
    """22016 weights: 21.5 KiB at 8 bits, 10.75 KiB at 4."""
    memory = WeightMemory(size_bytes=11 * 1024, read_pj_per_bit=0.2, bits_per_cycle=None)
    machine = replace(GAP9, weight_memory=memory)
    step = find_residency_step(keyword_net, uniform_config(8, 8), machine)
    assert step is not None
    assert (step.fits_now, step.widest_bits) == (False, 4)
    assert step.residency_sentence().endswith("At 4 bits all weights fit: no DRAM traffic.")
    assert estimate_config_cost(keyword_net, uniform_config(4, 8), machine).dram_bits == 0
    assert estimate_config_cost(keyword_net, uniform_config(5, 8), machine).dram_bits > 0
    fits = find_residency_step(keyword_net, uniform_config(4, 8), machine)
    assert fits is not None
    assert fits.residency_sentence().startswith("All weights fit on chip")


def test_machines_that_never_keep_weights_have_no_step(keyword_net: Network) -> None:
    assert (
        find_residency_step(keyword_net, uniform_config(8, 8), load_preset("bitfusion_like"))
        is None
    )
