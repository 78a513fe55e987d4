"""The repairs of a detector's head with mixed ranges, the cheapest first."""

from collections.abc import Callable, Iterable, Iterator

from analysis.diagnosis.flow.candidates import Candidate
from analysis.diagnosis.head.head_parts import DetectorHead, find_head
from analysis.runs.experiment import Experiment
from analysis.study import Study
from quant.simulation.plan import Side
from quant.spec import FLOAT_BITS, Estimator, SpecChange

HIGH_BITS = 16
OUTPUTS = (Side.ACTIVATIONS,)


def head_candidates(study: Study) -> tuple[Candidate, ...]:
    """Return the repairs of the head of a calibrated study; none without a mix of ranges."""
    head = find_head(study.range_book()) if study.is_calibrated else None
    return () if head is None or not head.mixed else tuple(_candidates(head))


def _candidates(head: DetectorHead) -> Iterator[Candidate]:
    joined = "the concat" if len(head.mixed) == 1 else f"{len(head.mixed)} concats"
    split = SpecChange(bits=FLOAT_BITS)
    yield Candidate(
        f"Split the ranges of {joined} in the head", 0, OUTPUTS, _change_layers(head.mixed, split)
    )
    yield Candidate(
        f"{HIGH_BITS} bits for {joined} in the head",
        2,
        OUTPUTS,
        _change_layers(head.mixed, SpecChange(bits=HIGH_BITS)),
    )
    if head.sigmoids:
        fixed = SpecChange(estimator=Estimator.MIN_MAX, symmetric=False)
        yield Candidate(
            "Whole range for the head's sigmoids", 2, OUTPUTS, _change_layers(head.sigmoids, fixed)
        )
    yield Candidate(
        f"{HIGH_BITS} bits for the head's decoding",
        3,
        OUTPUTS,
        _change_layers(head.decoding, SpecChange(bits=HIGH_BITS)),
    )
    yield Candidate(
        "Float decoding in the head",
        4,
        OUTPUTS,
        _change_layers(head.decoding, SpecChange(bits=FLOAT_BITS)),
    )


def _change_layers(
    layers: Iterable[str], change: SpecChange
) -> Callable[[Experiment], Experiment | None]:
    names = tuple(layers)

    def changed(experiment: Experiment) -> Experiment | None:
        config = experiment.config
        for name in names:
            config = config.with_layer_change(name, None, change)
        found = experiment.with_config(config)
        return None if found is experiment or not names else found

    return changed
