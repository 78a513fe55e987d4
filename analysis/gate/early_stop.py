"""Stop a check once its conditions are decided: looks at growing parts of the images.

Who looks often at intervals of 95 % sees a false alarm more often than in 5 % of the checks
(Armitage, McPherson and Rowe 1969, "Repeated significance tests on accumulating data", JRSS A 132).
Therefore the looks share the chance of an error: half of it stays for all images, so that a check
that goes to the end loses little power, and the earlier looks divide the other half. The sum over
the looks bounds the chance of any error for every dependence between them (Bonferroni). This is an
alpha-spending function in the sense of Lan and DeMets 1983, "Discrete sequential boundaries for
clinical trials", Biometrika 70; it asks for no equal steps and no normal distribution, unlike the
narrower boundaries of Pocock 1977, "Group sequential methods", Biometrika 64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from accelerator.report import CostReport
from analysis.cost.estimate import estimate_config_cost
from analysis.evaluation.evaluate import Evaluation
from analysis.gate.condition import Condition
from analysis.gate.decide import GateOutcome, check_run, join_outcomes
from analysis.runs.experiment import Experiment
from analysis.runs.run_store import Run
from analysis.study import Study
from data_io.dataset import Dataset

FIRST_LOOK = 32
"""Images of the first look: fewer show only collapses (our choice)."""
GROWTH = 2
LAST_SHARE = 0.5
"""The share of the chance of an error that the look at all images has."""


def look_sizes(images: int, batch: int = 1) -> tuple[int, ...]:
    """Return the numbers of images at which a check looks, at the ends of batches; the last is all.

    Example:
        >>> look_sizes(200, 24)
        (48, 72, 144, 200)
    """
    sizes, planned = [], FIRST_LOOK
    while planned < images:
        sizes.append(-(-planned // batch) * batch)
        planned *= GROWTH
    return (*dict.fromkeys(size for size in sizes if size < images), images)


def look_confidences(looks: int, confidence: float) -> tuple[float, ...]:
    """Return the confidence of each look; the chances of an error add up to 1 - `confidence`.

    Example:
        >>> [round(one, 4) for one in look_confidences(3, 0.95)]
        [0.9875, 0.9875, 0.975]
    """
    error = 1 - confidence
    if looks == 1:
        return (confidence,)
    early = error * (1 - LAST_SHARE) / (looks - 1)
    return (*([1 - early] * (looks - 1)), 1 - error * LAST_SHARE)


def in_random_order(data: Dataset, seed: int) -> Dataset:
    """Return the images in random order: the first of a folder may all be of one class."""
    generator = torch.Generator().manual_seed(seed)
    return data.subset(torch.randperm(len(data), generator=generator).tolist())


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """Looks at a score in the course of a check, and stops the check once it is decided.

    `sizes` are the images at the looks, `confidences` belong to the looks. `cost` is that of one
    image, for conditions without chance.
    """

    conditions: tuple[Condition, ...]
    cost: CostReport
    sizes: tuple[int, ...]
    confidences: tuple[float, ...]

    @classmethod
    def of_check(
        cls, study: Study, experiment: Experiment, conditions: Sequence[Condition], level: float
    ) -> "EarlyStop":
        """Return the looks of a check of `experiment` on the scored images; `level` is for all."""
        network = study.network
        sizes = look_sizes(len(study.scored_images), network.forward_batch_size)
        cost = estimate_config_cost(
            network, experiment.config, experiment.machine, study.weight_entropies
        )
        return cls(tuple(conditions), cost, sizes, look_confidences(len(sizes), level))

    def may_stop(self, samples: int, score: Callable[[], Evaluation]) -> bool:
        """Whether the check looks after so many images, and `score` decides the conditions."""
        if samples not in self.sizes[:-1]:  # the caller looks at the end itself
            return False
        run = self._run_of_score(score())
        decisions = check_run(run, self.conditions, None, self.confidence_at(samples))
        return join_outcomes(decisions) is not GateOutcome.UNDECIDED

    def confidence_at(self, samples: int) -> float:
        """Return the confidence of the look at so many images."""
        return self.confidences[self.sizes.index(samples)]

    def stop_note(self, samples: int) -> str:
        """Return how many of the images were scored, as a sentence."""
        number = self.sizes.index(samples) + 1
        seen = f"Scored {samples} of {self.sizes[-1]} {self.cost.noun}s, in random order"
        decided = "the conditions are decided" if samples < self.sizes[-1] else "the last look"
        return f"{seen}: {decided} (look {number} of at most {len(self.sizes)})."

    def _run_of_score(self, score: Evaluation) -> Run:
        return Run(
            name="The experiment",
            model="",
            model_digest="",
            data="",
            data_digest="",
            config={},
            calibration_images=0,
            evaluation=score,
            cost=self.cost,
            layer_sqnr_db={},
            versions={},
            seed=0,
            seconds=0.0,
        )
