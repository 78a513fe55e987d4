"""A search that was killed goes on with the runs that taught it, and with those that it measured.

Runs of the store correct a search. A search keeps its own runs in the same store, one by one. Begun
again after a kill, it must not learn from its own runs, or its answer would differ from that of a
search that nobody killed; and it need not measure those runs again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.runs.experiment import Experiment
from analysis.runs.run_store import Run, RunStore
from analysis.study import Study


@dataclass(eq=False, slots=True)
class UnfinishedSearch:
    """The record of a search in a store, from the beginning of the search to the end.

    Attributes:
        store: where runs and the record are; None keeps nothing.
        question: names the task, the network and the images of the search.
        taught: runs that were in the store before the search began, the newest first.
        own: runs that the search measured, kept by an attempt that was killed.
    """

    store: RunStore | None
    question: str
    taught: tuple[Run, ...] = ()
    own: tuple[Run, ...] = ()
    _kept: list[str] = field(default_factory=list)

    def keep_run(self, run: Run) -> None:
        """Save a run of the search; the record names the run first."""
        if self.store is not None:
            self._kept.append(run.id)
            self._write_record()
            self.store.save_run(run)

    def find_run(self, experiment: Experiment) -> Run | None:
        """Return the run of an experiment that a killed attempt measured; None without one."""
        wanted = experiment.config.to_dict()
        for run in self.own:
            if run.config == wanted and run.name == experiment.display_name:
                return run
        return None

    def close(self) -> None:
        """Remove the record: the next search of this kind learns from all runs."""
        if self.store is not None and self._kept:
            self.store.keep_answer(self.question, None)

    def _write_record(self) -> None:
        if self.store is not None:
            record = {"taught": [run.id for run in self.taught], "own": self._kept}
            self.store.keep_answer(self.question, record)


def open_search(store: RunStore | None, study: Study, task: object) -> UnfinishedSearch:
    """Return the search of a task, which may have been begun before; `task` has a stable repr."""
    digests = [study.network.digest, study.scored_images.digest]
    digests += [] if study.calibration is None else [study.calibration.digest]
    text = "\n".join([*digests, repr(task)])
    question = f"unfinished search {hashlib.sha256(text.encode()).hexdigest()}"
    if store is None:
        return UnfinishedSearch(None, question)
    runs, record = store.all_runs(), store.find_answer(question)
    if not isinstance(record, dict):
        return UnfinishedSearch(store, question, runs)
    taught, own = (_named_runs(runs, record.get(key)) for key in ("taught", "own"))
    return UnfinishedSearch(store, question, taught, own, [run.id for run in own])


def _named_runs(runs: Sequence[Run], names: object) -> tuple[Run, ...]:
    wanted = names if isinstance(names, list) else ()
    return tuple(run for run in runs if run.id in wanted)
