"""Configure looks closer: the difference of two configurations, and one layer explained."""

from typing import Any

import pytest

from accelerator.machine import load_preset
from analysis.cost.compare_configs import diff_configs
from quant.config import uniform_config
from quant.spec import SpecChange
from tests.pages.visit import CONFIGURE, Visit
from ui.configure.compare import LAST
from ui.configure.presets import PRESETS
from ui.state.edit_config import set_preset


def look(visit: Visit, at: str) -> Visit:
    visit.open(CONFIGURE)
    visit.at.segmented_control(key="configure.look").set_value(at)
    return visit.run()


def charts(visit: Visit) -> list[Any]:
    return list(visit.at.get("plotly_chart"))


@pytest.mark.parametrize(("machine", "count"), [("bitfusion_like", 2), ("edge_systolic_8b", 1)])
def test_the_difference_to_a_preset_is_that_of_the_engine(
    visit: Visit, machine: str, count: int
) -> None:
    visit.work.set_machine(load_preset(machine))
    set_preset(visit.work, PRESETS["W4A8 per-channel"], "four")
    look(visit, "Difference").choose("diff.against", "W8A8 per-channel")
    network = visit.work.network
    assert network is not None
    found = diff_configs(network, uniform_config(8, 8), uniform_config(4, 8), visit.work.machine)
    assert f"8 bits to 4 bits in {len(found.changed_layers)} layers" in visit.words
    assert len(charts(visit)) == count  # on an array of 8 bits no energy moves


def test_the_last_change_can_be_looked_at(visit: Visit) -> None:
    set_preset(visit.work, PRESETS["W4A8 per-channel"], "four")
    set_preset(visit.work, PRESETS["W6A8 per-channel"], "six")
    look(visit, "Difference").choose("diff.against", LAST)
    assert "4 bits to 6 bits" in visit.words


def test_no_difference_is_said(visit: Visit) -> None:
    look(visit, "Difference").choose("diff.against", "W8A8 per-channel")
    assert "are the same for every layer" in visit.words
    assert not charts(visit)


def test_a_layer_is_explained_in_energy_traffic_and_accuracy(visit: Visit) -> None:
    network = visit.work.network
    assert network is not None
    layer = next(x.name for x in network.graph.layers if x.weight is not None)
    set_preset(
        visit.work,
        uniform_config(8, 8).with_layer_change(layer, weight=SpecChange(bits=4)),
        "first",
    )
    look(visit, "One layer")
    assert "of the network's energy" in visit.words
    assert "The weights at 4 bits instead of 8" in visit.words
    assert "DRAM" in visit.words
    assert "is unknown: run Sensitivity" in visit.words
    assert len(charts(visit)) == 1


def test_the_layer_picked_elsewhere_is_the_one_explained(visit: Visit) -> None:
    network = visit.work.network
    assert network is not None
    last = network.graph.layers[-1].name
    visit.work.picked.pick_layer(last)
    look(visit, "One layer")
    box = next(b for b in visit.at.selectbox if b.label == "Layer to explain")
    assert box.value == last
