"""Each cause with a planted fault: the most harmful cause named is the fault, at the fault's place.

`benchmarks.diagnose` measures all 60 faults, with the remedies; here a few of each kind are named.
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis.diagnosis.causes.find_causes import find_causes, find_few_images
from analysis.diagnosis.causes.root_cause import RootCause, channel_spread
from analysis.diagnosis.flow.attribute import attribute_loss
from analysis.diagnosis.flow.conclude import name_causes
from analysis.network import prepare_network
from analysis.ranges.distributions import Channels
from analysis.study import Study
from benchmarks.diagnose import study_of_fault
from benchmarks.planted_faults import LETTER, Fault, all_faults
from data_io.arrays import ArraySource
from data_io.dataset import Dataset
from data_io.preprocessing import Preprocess
from quant.config import QuantConfig, uniform_config
from quant.progress import drain_steps
from quant.simulation.plan import TENSOR_SIDES
from quant.spec import Estimator, SpecChange
from sample_models.registry import sample_named
from tests.sample_networks import sample_network

FAULTS = {fault.name: fault for fault in all_faults()}
SAMPLES = (
    "unequal letter-mlp 0",
    "outlier fashion-vit 0",
    "dead fashion-mobilenet 1",
    "few weights in all blocks",
    "clipped weight letter-mlp",
    "clipped output letter-mlp layers.6",
    "tail of GELU 0",
    "softmax 0",
    "narrow letter-mlp layers.2",
    "shifted stream 3",
)


def study_of(fault: Fault) -> Study:
    network = sample_network(fault.model)
    if fault.spoil is not None:
        entry = sample_named(fault.model)
        network = prepare_network(fault.model, fault.build(), entry.input_shape, fault.name)
    return study_of_fault(fault, network, 32, min(32, fault.calibration))


def test_there_are_sixty_faults_of_each_kind_some() -> None:
    assert len(FAULTS) == 60
    kinds = {cause for fault in FAULTS.values() for cause in fault.causes}
    assert kinds >= set(RootCause) - {
        RootCause.FEW_BITS,
        RootCause.FEW_CODES,
        RootCause.ZERO_HEAVY,
    }


@pytest.mark.parametrize("name", SAMPLES)
def test_the_planted_cause_is_named_first(name: str) -> None:
    fault = FAULTS[name]
    study = study_of(fault)
    drain_steps(study.collect_statistics())
    losses = drain_steps(attribute_loss(study, fault.config, TENSOR_SIDES))
    causes = find_causes(study, fault.config, TENSOR_SIDES)
    first = name_causes(causes, losses.layers)[0]
    assert first.cause in fault.causes, first
    assert first.layer in fault.layers, first
    assert first.evidence
    assert first.remedy


def test_one_calibration_image_is_too_few_and_many_are_enough() -> None:
    fault = FAULTS["one image fashion-mobilenet"]
    few = study_of(fault)
    drain_steps(few.collect_statistics())
    cause = drain_steps(find_few_images(few))
    assert cause is not None
    assert cause.cause is RootCause.FEW_IMAGES
    assert cause.evidence.startswith("1 images chose the ranges")
    many = study_of_fault(fault, sample_network(fault.model), 32, 64)
    drain_steps(many.collect_statistics())
    assert drain_steps(find_few_images(many)) is None


def test_a_sound_network_at_eight_bits_has_no_cause_that_costs_bits() -> None:
    config: QuantConfig = uniform_config(8, 8)
    study = study_of_fault(
        Fault("sound", LETTER, (), (), config, config), sample_network(LETTER), 32, 32
    )
    drain_steps(study.collect_statistics())
    assert find_causes(study, config, TENSOR_SIDES) == ()


def test_few_wide_channels_are_outliers_and_many_are_unequal() -> None:
    def spread(largest: list[float]) -> tuple[bool, bool]:
        high = np.array(largest)
        found = channel_spread(Channels(-high, high, 0 * high, -high, high))
        return found.has_outliers, found.is_unequal

    assert spread([1.0] * 40) == (False, False)
    assert spread([1.0] * 39 + [20.0]) == (True, False)
    assert spread([1.0] * 30 + [20.0] * 10) == (False, True)


def small_study(calibration: Tensor, bias: float = 0.0) -> Study:
    """Return a study of two linear layers with a ReLU; the first has all biases at `bias`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    nn.init.constant_(model[0].get_parameter("bias"), bias)
    network = prepare_network("small", model.eval(), (8,), f"small {bias}")
    source = ArraySource(calibration.numpy(), None, Preprocess())
    places = tuple(range(len(calibration)))
    images = Dataset(
        "rows", source, places, labelled=False, class_names=(), source_digest=lambda: "rows"
    )
    study = Study(network, images, images)
    drain_steps(study.collect_statistics())
    return study


def cause_of_output(
    study: Study, layer: str, estimator: Estimator, percentile: float = 99.99
) -> RootCause:
    change = SpecChange(estimator=estimator, percentile=percentile)
    config = uniform_config(8, 8).with_layer_change(layer, activation=change)
    (found,) = (one for one in find_causes(study, config, TENSOR_SIDES) if one.layer == layer)
    return found.cause


def test_one_row_far_out_leaves_few_codes_to_the_others() -> None:
    rows = torch.randn(512, 8)
    rows[0] *= 300
    assert cause_of_output(small_study(rows), "2", Estimator.MIN_MAX) is RootCause.FEW_CODES


def test_where_nearly_all_is_zero_a_percentile_leaves_out_what_is_not() -> None:
    study = small_study(torch.randn(512, 8), bias=-1.2)
    zeros = study.range_book().activations["0"]
    assert zeros.zeros / zeros.count > 0.9
    assert cause_of_output(study, "0", Estimator.PERCENTILE, 90.0) is RootCause.ZERO_HEAVY
