import json
from typing import Any

import pytest

from accelerator.machine import load_preset
from quant.config import Rule, uniform_config
from quant.spec import Estimator, Granularity, ScaleKind, SpecChange
from tests.pages.visit import CONFIGURE, ROOT, Visit
from ui.configure.presets import PRESETS

EXPANDS = "blocks.*.expand.0"


@pytest.fixture
def page(visit: Visit) -> Visit:
    return visit.open(CONFIGURE)


def apply_preset(page: Visit, name: str) -> Visit:
    return page.choose("configure.preset", name).press("configure.apply")


def machine(page: Visit, name: str) -> Visit:
    return page.choose(f"configure.machine.{page.work.machine.name}", name)


def bulk(page: Visit, select: str, **fields: Any) -> Visit:
    """Fill the form for many layers: w_Bits=4 is the field Bits of the weights."""
    page.at.text_input(key="configure.bulk.select").set_value(select)
    for field, value in fields.items():
        place, label = field.split("_")
        page.at.selectbox(key=f"configure.bulk.{place}.{label}").set_value(value)
    return page.press("Apply")


def table(page: Visit) -> Any:
    return page.at.get("data_editor")[0]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_applied(page: Visit, name: str) -> None:
    apply_preset(page, name)
    assert page.work.config == PRESETS[name]
    assert page.work.experiment.display_name == name
    bits = table(page).value["weight_bits"].dropna().unique()
    assert list(bits) == [PRESETS[name].default.weight.bits]


def test_a_click_in_the_same_moment_as_a_choice_applies_that_choice(page: Visit) -> None:
    """A browser on a slow machine sends both before the page is drawn again."""
    page.at.selectbox(key="configure.preset").set_value("W6A8 per-channel")
    page.press("configure.apply")
    assert page.work.config == PRESETS["W6A8 per-channel"]


def test_the_table_has_a_row_a_layer(page: Visit) -> None:
    network = page.work.network
    assert network is not None
    assert list(table(page).value["layer"]) == [layer.name for layer in network.graph.layers]


def test_how_far_to_trust_it_shows_the_chip_and_its_rows(page: Visit) -> None:
    machine(page, "gap9_ne16_like")
    captions = " ".join(caption.value for caption in page.at.caption)
    assert "this machine's error on 4 measured networks, leave one out" in captions
    assert "All weights fit on chip" in captions
    page.at.segmented_control(key="configure.look").set_value("How far to trust it").run()
    assert not page.at.exception
    words = " ".join(text.value for text in page.at.markdown)
    assert "energy, this machine's error on 4 measured networks" in words


def test_energy_moves_with_bits_where_the_machine_can_use_them(page: Visit) -> None:
    machine(page, "bitfusion_like")
    assert page.metric("Energy per image").delta == "same"
    apply_preset(page, "W4A4 per-channel")
    for label in ("Energy per image", "Latency", "Weight size", "Peak memory"):
        assert page.metric(label).delta.startswith("-"), label
    assert (
        page.work.config_cost(uniform_config(4, 4)).latency_s
        < page.work.config_cost(uniform_config(8, 8)).latency_s
    )
    assert not page.at.warning


def test_fixed_hardware_gives_no_speed_for_fewer_bits_and_the_page_says_so(page: Visit) -> None:
    assert page.work.machine.name == "edge_systolic_8b"
    assert not page.at.warning
    apply_preset(page, "W4A4 per-channel")
    assert page.metric("Latency").delta == "same"
    (warning,) = page.at.warning
    network = page.work.network
    assert network is not None
    weighted = sum(1 for layer in network.graph.layers if layer.weight)
    assert f"computes {weighted} layers at other widths" in warning.value
    assert set(table(page).value["effective"]) == {"", "W8 A8"}


def test_changes_are_told_against_the_chosen_reference(page: Visit) -> None:
    machine(page, "bitfusion_like")
    page.choose("configure.against", "Float")
    assert page.metric("Weight size").delta.startswith("-7")
    page.choose("configure.against", "W4A4 per-channel")
    assert page.metric("Weight size").delta.startswith("+")


def test_the_energy_chart_says_its_takeaway(page: Visit) -> None:
    (chart,) = page.at.get("plotly_chart")
    assert "%" in chart.proto.alt
    assert f"**{chart.proto.alt}**" in page.words, "the title wraps as text of the page does"
    assert "text" not in json.loads(chart.proto.spec)["layout"]["title"], "and stands there once"


def test_a_bulk_edit_by_selector_becomes_one_rule(page: Visit) -> None:
    bulk(page, EXPANDS, w_Bits=4, w_Granularity="per-tensor", a_Bits=6)
    assert page.work.config.rules == (
        Rule(
            EXPANDS,
            SpecChange(bits=4, granularity=Granularity.PER_TENSOR),
            SpecChange(bits=6),
        ),
    )
    network = page.work.network
    assert network is not None
    hit = [layer.name for layer in network.graph.layers if layer.name.endswith("expand.0")]
    assert hit
    rows = table(page).value.set_index("layer")
    assert set(rows.loc[hit, "weight_bits"]) == {4}
    assert set(rows.drop(hit)["weight_bits"].dropna()) == {8}
    assert f"**{EXPANDS}** · {len(hit)} layers · weights: bits 4" in page.words
    assert page.work.experiment.display_name == "W8A8 per-channel, 1 rule"


def test_a_bulk_edit_reaches_scale_and_symmetry(page: Visit) -> None:
    bulk(page, "*", a_Scale=ScaleKind.POWER_OF_TWO, a_Symmetry="symmetric")
    (rule,) = page.work.config.rules
    assert rule.activation == SpecChange(symmetric=True, scale=ScaleKind.POWER_OF_TWO)
    assert table(page).value["activation_symmetric"].all()


def test_a_bulk_edit_reaches_the_percentile(page: Visit) -> None:
    page.at.number_input(key="configure.bulk.a.Percentile").set_value(99.5)
    bulk(page, "*", a_Range="percentile")
    (rule,) = page.work.config.rules
    assert rule.weight == SpecChange()
    assert rule.activation == SpecChange(estimator=Estimator.PERCENTILE, percentile=99.5)
    assert "percentile 99.5" in page.words


def test_wide_weights_take_passes_and_the_page_says_so(page: Visit) -> None:
    bulk(page, EXPANDS, w_Bits=16)
    shown = table(page).value.set_index("layer")["effective"]
    hit = shown[shown.index.str.endswith("expand.0")]
    assert set(hit) == {"W8 A8, 2 passes"}
    assert set(shown.drop(hit.index)) == {"", "W8 A8"}
    (warning,) = page.at.warning
    assert f"needs several passes for {len(hit)} layers" in warning.value
    assert "other widths" not in warning.value


@pytest.mark.parametrize(
    ("select", "fields", "sentence"),
    [
        ("nothing.like.it", {"w_Bits": 4}, "'nothing.like.it' matches none of 33"),
        (EXPANDS, {}, "all fields say keep"),
        ("", {"w_Bits": 4}, "tick some in the table or name them"),
    ],
)
def test_a_bulk_edit_that_cannot_be_is_refused_in_a_sentence(
    page: Visit, select: str, fields: dict[str, Any], sentence: str
) -> None:
    before = page.work.config
    bulk(page, select, **fields)
    (error,) = page.errors
    assert sentence in error
    assert page.work.config == before
    assert page.work.experiments.past == []


def test_rules_are_listed_in_order_and_can_be_deleted(page: Visit) -> None:
    bulk(page, "first", w_Bits=16)
    bulk(page, "kind:depthwise", w_Bits=6)
    both = page.work.config.rules
    assert "1. **first** · 1 layer ·" in page.words
    assert "2. **kind:depthwise** · 8 layers" in page.words
    page.press("configure.rule.0")
    assert page.work.config.rules == both[1:]
    page.press("frame.undo")
    assert page.work.config.rules == both


def test_undo_and_redo_walk_through_presets_and_edits(page: Visit) -> None:
    apply_preset(page, "W4A8 per-channel")
    bulk(page, EXPANDS, w_Bits=2)
    edited = page.work.config
    assert page.at.button(key="frame.undo").label == "Undo (2)"
    page.press("frame.undo")
    assert page.work.config == PRESETS["W4A8 per-channel"]
    page.press("frame.undo")
    assert page.work.config == uniform_config(8, 8)
    assert page.at.button(key="frame.undo").disabled
    page.press("frame.redo").press("frame.redo")
    assert page.work.config == edited
    assert page.at.button(key="frame.redo").disabled


def test_the_table_keeps_its_place_through_its_own_edits_alone(page: Visit) -> None:
    """The key decides whether the browser keeps scroll position and ticks."""
    key = table(page).key
    page.work.set_config(uniform_config(6, 8))
    page.work.table_edits += 1  # as the table does when one of its cells is edited
    assert table(page.run()).key == key
    apply_preset(page, "W4A4 per-channel")
    after = table(page).key
    assert after != key
    page.press("frame.undo")
    assert table(page).key not in (key, after)


def test_a_saved_configuration_can_be_opened_again(page: Visit) -> None:
    bulk(page, EXPANDS, w_Bits=3)
    wanted = page.work.config
    labels = [button.proto.label for button in page.at.get("download_button")]
    assert labels.count("Configuration as JSON") == 1
    saved = wanted.to_json().encode()
    apply_preset(page, "Float")
    page.upload("configure.open", "three bits.json", saved).press("configure.use")
    assert page.work.config == wanted
    assert page.work.experiment.display_name == "three bits"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "must be JSON"),
        (b"\xff\xfe", "must be JSON"),
        (b"[]", "has version, default and rules"),
        (b'{"version": 7}', "version 1"),
        (b'{"default": {"weight": {"bits": 99}}}', "99"),
        (b'{"rules": [{"select": "no.such.layer"}]}', "matches none"),
        (b'{"surprise": 1}', "surprise"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    page: Visit, content: bytes, sentence: str
) -> None:
    page.upload("configure.open", "config.json", content).press("configure.use")
    (error,) = page.errors
    assert sentence in error
    assert page.work.config == uniform_config(8, 8)


def test_a_machine_of_one_s_own(page: Visit) -> None:
    text = (ROOT / "accelerator/machines/edge_systolic_8b.toml").read_text()
    own = text.replace('"edge_systolic_8b"', '"mine"').replace(
        load_preset("edge_systolic_8b").title, "My machine"
    )
    page.upload("machine.upload", "mine.toml", own.encode()).press("machine.use")
    assert page.work.machine.title == "My machine"
    assert "My machine" in page.words
    name = page.work.machine.name
    machine(page, "bitfusion_like")
    machine(page, name)
    assert page.work.machine.title == "My machine"


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe\x00", b'name = "mine"\nspeed = "fast"'])
def test_a_machine_file_with_faults_is_refused(page: Visit, content: bytes) -> None:
    page.upload("machine.upload", "mine.toml", content).press("machine.use")
    (error,) = page.errors
    assert len(error) > 20
    assert page.work.machine.name == "edge_systolic_8b"
    assert page.work.machines == {}


def test_an_illustrative_machine_is_labelled(page: Visit) -> None:
    assert "Illustrative" not in page.words
    machine(page, "ethos_u55_128_like")
    assert "Illustrative: the maker never published" in page.words


def test_another_model_begins_afresh_and_the_first_gets_its_own_back(page: Visit) -> None:
    """Rules name layers, so none of them may cross from one model to another."""
    bulk(page, EXPANDS, w_Bits=4)
    bulk(page, "first", w_Bits=16)
    both = page.work.experiment
    page.open("pages/model.py").press("model.use.fashion-resnet").wait()
    assert page.work.network is not None
    assert page.work.network.name == "fashion-resnet"
    assert page.work.experiment.display_name == "W8A8 per-channel"
    assert page.work.config == uniform_config(8, 8)
    assert page.work.experiments.past == []
    page.open("pages/model.py").press("model.use.fashion-mobilenet").wait()
    assert page.work.experiment == both
    page.press("frame.undo")
    assert [rule.select for rule in page.work.config.rules] == [EXPANDS]
