"""The repairs to try: what block reconstruction stands on."""

from accelerator.machine import load_preset
from analysis.diagnosis.flow.candidates import repair_candidates
from analysis.runs.experiment import Experiment
from analysis.study import Study
from data_io.bundled import letter_test, letter_train
from quant.config import uniform_config
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.simulation.plan import Side
from quant.spec import Granularity
from tests.sample_networks import sample_network

REPAIRS = (Equalize(), CorrectBias(), AdaRound(iterations=50))
BLOCKS = Reconstruct(15, 3)


def test_blocks_start_without_equalization_where_activations_do_not_need_it() -> None:
    study = Study(sample_network("letter-mlp"), letter_test().sample(8), letter_train().sample(8))

    def recipe(granularity: Granularity, *sides: Side) -> object:
        tried = Experiment(
            uniform_config(4, 8, granularity), load_preset("edge_systolic_8b"), REPAIRS
        )
        found = repair_candidates(study, sides, (), 50)[-1].change(tried)
        assert found is not None
        return found.recipe

    channel, tensor = Granularity.PER_CHANNEL, Granularity.PER_TENSOR
    assert recipe(channel, Side.WEIGHTS) == (BLOCKS,)
    assert recipe(channel, Side.WEIGHTS, Side.ACTIVATIONS) == (*REPAIRS, BLOCKS)
    assert recipe(tensor, Side.WEIGHTS) == (*REPAIRS, BLOCKS)
