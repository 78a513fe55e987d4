"""The page Ranges, without a browser: before and after calibration, controls, configuration."""

import pytest

from analysis.ranges.findings import rank_suspect_tensors
from analysis.ranges.tensors import open_range_book
from quant.config import QuantConfig, uniform_config
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.simulation.plan import Side
from quant.spec import Granularity
from tests.pages.visit import Visit
from ui.state.edit_config import change_experiment

RANGES = "pages/ranges.py"


def control(visit: Visit, label: str) -> str:
    """Return the key of the selectbox of that label."""
    (found,) = (box for box in visit.at.selectbox if box.label == label)
    assert found.key is not None
    return found.key


def side(visit: Visit, name: str) -> Visit:
    visit.at.segmented_control(key="ranges.side").set_value(name)
    return visit.run()


def csv_keys(visit: Visit) -> set[str]:
    return {str(button.key) for button in visit.at.get("download_button")}


def test_weights_are_judged_before_any_calibration(visit: Visit) -> None:
    visit.work.set_config(uniform_config(8, 8, Granularity.PER_TENSOR))
    visit.open(RANGES)
    assert "Judged by the weights alone" in visit.words
    assert "times the median channel" in visit.words
    assert visit.metric("SQNR").value.endswith(" dB")
    assert visit.at.selectbox[0].value == "blocks.4.depthwise.0"  # the worst to begin with
    assert len(visit.at.get("plotly_chart")) == 3
    assert not visit.errors
    visit.work.set_config(uniform_config(8, 8))  # each channel has an encoding of its own
    assert "times the median channel" not in visit.run().words


def test_activations_ask_for_calibration_and_then_show(visit: Visit) -> None:
    side(visit.open(RANGES), "Activations")
    assert "Ranges of activations are not known yet" in visit.words
    assert len(visit.at.get("plotly_chart")) == 0
    visit.press("ranges.calibrate").wait()
    assert visit.work.network is not None
    assert "calibrated on 32 images" in visit.words
    assert len(visit.at.get("plotly_chart")) == 3
    names = visit.at.selectbox[0].options
    assert names == [layer.name for layer in visit.work.network.graph.layers]
    assert visit.at.selectbox(key=control(visit, "Granularity")).disabled


def test_how_many_calibration_images_are_enough_is_answered(visit: Visit) -> None:
    side(visit.open(RANGES), "Activations").press("ranges.enough").wait()
    assert not visit.errors
    assert "images are enough" in visit.words or "too few to tell" in visit.words
    assert visit.work.enough is not None
    assert [point.images for point in visit.work.enough.curve.points] == [8, 16]


def test_a_control_moves_the_sqnr_and_the_button_writes_it_down(visit: Visit) -> None:
    visit.open(RANGES)
    before = visit.metric("SQNR").value
    visit.choose(control(visit, "Bits"), 4)
    assert visit.metric("SQNR").value != before
    assert visit.metric("SQNR").delta.startswith("-")
    assert visit.metric("Codes used").value.endswith("of 16")
    assert "Tried here only" in visit.words
    visit.choose(control(visit, "Granularity"), Granularity.PER_TENSOR)
    layer = str(visit.at.selectbox[0].value)
    visit.press("ranges.use")
    assert visit.work.network is not None
    chosen = visit.work.config.resolve_layers(visit.work.network.graph.layers)
    assert chosen[layer].weight.bits == 4
    assert chosen[layer].weight.granularity is Granularity.PER_TENSOR
    assert visit.at.selectbox[0].value == layer
    assert "This is what the configuration says" in visit.words
    assert visit.at.button(key="ranges.use").disabled
    assert len(visit.work.config.rules) == 1


def test_an_activations_choice_is_written_to_the_layer_that_owns_the_grid(visit: Visit) -> None:
    side(visit.open(RANGES), "Activations").press("ranges.calibrate").wait()
    visit.choose(control(visit, "Layer"), "pool")
    assert "Its encoding is that of" in visit.words
    visit.choose(control(visit, "Bits"), 5).press("ranges.use")
    (rule,) = visit.work.config.rules
    assert rule.select == "head.0"
    assert rule.activation.bits == 5
    assert not rule.weight.to_dict()


@pytest.mark.parametrize("name", ["Weights", "Activations"])
def test_every_figure_has_its_numbers(visit: Visit, name: str) -> None:
    side(visit.open(RANGES), name)
    if name == "Activations":
        visit.press("ranges.calibrate").wait()
    wanted = {f"ranges.save.{what}" for what in ("overview", "histogram", "channels")}
    assert wanted <= csv_keys(visit)


def test_every_estimator_and_scale_can_be_tried(visit: Visit) -> None:
    side(visit.open(RANGES), "Activations").press("ranges.calibrate").wait()
    visit.choose(control(visit, "Layer"), "classifier")
    options = visit.at.selectbox(key=control(visit, "Range")).options
    assert "cross-entropy" in options
    for option in options:
        visit.choose(control(visit, "Range"), option)
        assert not visit.errors, option
        assert visit.metric("SQNR").value.endswith(" dB")


def test_other_layers_keep_the_choice_of_layer(visit: Visit) -> None:
    visit.open(RANGES).choose(control(visit, "Layer"), "stem.0")
    visit.open("pages/configure.py").open(RANGES)
    assert visit.at.selectbox[0].value == "stem.0"


def test_a_float_layer_says_so_and_can_be_tried(visit: Visit) -> None:
    from quant.config import uniform_config

    visit.work.set_config(uniform_config(32, 32))
    visit.open(RANGES)
    assert "leaves this tensor in float" in visit.words
    assert visit.metric("Codes used").value.endswith("of 256")


def test_without_a_model_the_page_says_where_to_get_one(visit: Visit) -> None:
    visit.work.forget_model()
    visit.open(RANGES)
    assert "No model is loaded." in visit.words
    assert "Choose one" in visit.links()


def test_without_images_activations_say_what_is_missing(visit: Visit) -> None:
    visit.work.take_split(None)
    side(visit.open(RANGES), "Activations")
    assert "none to calibrate with" in visit.words
    assert isinstance(visit.work.config, QuantConfig)


def test_tensors_are_those_after_the_repairs_of_the_experiment(visit: Visit) -> None:
    visit.work.set_config(uniform_config(8, 8, Granularity.PER_TENSOR))
    visit.open(RANGES)
    assert visit.work.network is not None
    before = visit.words
    experiment = visit.work.experiment
    change_experiment(visit.work, experiment.with_recipe((Equalize(), CorrectBias())))
    visit.run()
    assert "after the repairs of the present experiment: equalize." in visit.words
    book = open_range_book(Equalize()(visit.work.network.graph).graph, None)
    suspects = rank_suspect_tensors(book.examine_all_tensors(visit.work.config, Side.WEIGHTS))
    shown = [frame.value for frame in visit.at.dataframe if "reason" in frame.value]
    assert [list(frame["layer"]) for frame in shown] == (
        [[item.layer_name for item in suspects]] if suspects else []
    )
    assert visit.words != before
    side(visit, "Activations").press("ranges.calibrate").wait()
    assert not visit.errors
    assert len(visit.at.get("plotly_chart")) == 3
    assert visit.work.study is not None
    assert not visit.work.study.is_calibrated
    assert visit.work.study.holds_repaired((Equalize(),))
