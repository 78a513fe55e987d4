from pathlib import Path

from analysis.mixed_precision.optimize import Answer, optimize_bits
from analysis.runs.run_store import RunStore
from analysis.study import Study
from quant.progress import Steps, drain_steps
from tests.analysis.mixed_precision.test_optimize import task
from tests.analysis.sweeps import case


def test_a_search_killed_after_its_first_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    small = case("kitchen")

    def search(store: RunStore) -> Steps[Answer]:
        study = Study(small.network, small.data, small.data, calibrated=small.calibrated)
        return optimize_bits(study, task(measured=True), store)

    alone = drain_steps(search(RunStore(tmp_path / "alone")))
    store = RunStore(tmp_path / "killed")
    for _ in search(store):
        if store.all_runs():  # killed while the second run is measured
            break
    first = store.all_runs()
    found = drain_steps(search(store))
    assert (len(first), len(store.all_runs())) == (1, 2)
    assert found.taught == alone.taught == 0
    assert found.proposal.prediction == alone.proposal.prediction
    assert found.measured[0].run.id == first[0].id
    again = drain_steps(search(store))  # a third search learns from both
    assert again.taught == 2
    assert len(store.all_runs()) == 4
