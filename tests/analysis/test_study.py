"""A study works each thing out once, shares it with its views, and lets it go with itself."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace

import pytest

from analysis.calibration import Calibrated
from analysis.study import Study
from data_io.dataset import Dataset
from quant.config import LayerConfig, QuantConfig, uniform_config
from quant.errors import QuantError
from quant.progress import drain_steps
from quant.spec import Estimator, QuantSpec, SpecChange
from tests.analysis.sweeps import case

CONFIG = uniform_config(8, 8)


@pytest.fixture
def study() -> Study:
    it = case("kitchen")
    return Study(it.network, it.data, it.data)


def test_statistics_are_collected_once(study: Study) -> None:
    assert not study.is_calibrated
    first = drain_steps(study.collect_statistics(CONFIG))
    assert first.images == len(study.calibration or ())
    again = study.collect_statistics(CONFIG)
    with pytest.raises(StopIteration) as stop:
        next(again)  # nothing runs a second time
    assert stop.value.value is first
    assert study.known_statistics is first


def test_a_configuration_that_needs_no_images_collects_none(study: Study) -> None:
    floating = QuantConfig(LayerConfig(activation=QuantSpec(bits=32)))
    assert not study.needs_images(floating)
    assert drain_steps(study.collect_statistics(floating)).images == 0
    assert drain_steps(study.collect_statistics()).images > 0  # without a configuration it does


def test_an_input_without_preprocessing_needs_images() -> None:
    it = case("kitchen")
    config = QuantConfig(LayerConfig(activation=QuantSpec(bits=32))).with_layer_change(
        "input", activation=SpecChange(bits=8)
    )
    assert Study(it.network, it.data, it.data).needs_images(config)
    assert not Study(it.network, it.data, it.data, (0.0, 1.0)).needs_images(config)


def test_encodings_are_those_of_the_statistics_and_made_once(study: Study) -> None:
    before = study.site_encodings(CONFIG)
    assert study.site_encodings(CONFIG) is before
    drain_steps(study.collect_statistics())
    after = study.site_encodings(CONFIG)
    assert after is not before
    assert study.site_encodings(CONFIG) is after
    min_max = replace(CONFIG.default.weight, estimator=Estimator.MIN_MAX)
    other = QuantConfig(LayerConfig(min_max, CONFIG.default.activation))
    assert study.site_encodings(other) is not after


def test_three_studies_in_turn_keep_what_they_made() -> None:
    studies = [Study(case(name).network) for name in ("kitchen", "plain", "perceptron")]
    made = [study.site_encodings(CONFIG) for study in studies]
    for _ in range(3):
        assert [study.site_encodings(CONFIG) for study in studies] == made


def test_views_share_what_is_worked_out(study: Study) -> None:
    few = study.with_scored_images(study.scored_images.first(2))
    drain_steps(few.collect_statistics())
    assert study.is_calibrated
    assert few.site_encodings(CONFIG) is study.site_encodings(CONFIG)
    assert few.range_book() is study.range_book()
    assert few.shares_results_with(study)
    assert not Study(study.network).shares_results_with(study)


def test_a_page_sees_the_statistics_of_its_beginning(study: Study) -> None:
    seen = study.with_present_statistics()
    drain_steps(study.collect_statistics())
    assert study.is_calibrated
    assert not seen.is_calibrated
    assert seen.site_encodings(CONFIG) is not study.site_encodings(CONFIG)
    assert (
        drain_steps(seen.collect_statistics()) is study.known_statistics
    )  # a job that started from the page goes on


def test_statistics_are_taken_over_for_the_same_calibration_images_alone() -> None:
    it = case("kitchen")
    old = Study(it.network, it.data, it.data)
    drain_steps(old.collect_statistics())
    same, other = Study(it.network, it.data.first(2), it.data), Study(it.network, it.data)
    for study in (same, other):
        study.share_results_with(old)
    assert same.known_statistics is old.known_statistics
    assert not other.is_calibrated


def test_a_study_without_images_says_so() -> None:
    with pytest.raises(QuantError, match="needs data"):
        _ = Study(case("kitchen").network).scored_images


def test_a_dropped_study_frees_its_memory() -> None:
    it = case("perceptron")
    network = replace(it.network)  # of this test alone

    def work() -> Iterator[weakref.ref[object]]:
        study = Study(network, it.data, it.data)
        calibrated: Calibrated = drain_steps(study.collect_statistics())
        data: Dataset = study.scored_images
        assert len(data)
        yield weakref.ref(study)
        yield weakref.ref(study.site_encodings(CONFIG))
        yield weakref.ref(study.range_book())
        del calibrated

    held = list(work())
    gc.collect()
    assert [ref() for ref in held] == [None, None, None]
