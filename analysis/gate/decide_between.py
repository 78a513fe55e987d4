"""Which of two runs answers better, and how many images more would tell."""

from dataclasses import dataclass

from analysis.evaluation.images_needed import images_needed
from analysis.evaluation.intervals import paired_interval
from analysis.evaluation.measures import Interval
from analysis.gate.estimate import count_lost_and_won
from analysis.runs.run_store import Run


@dataclass(frozen=True, slots=True)
class RunDecision:
    """Two runs on the same images, in shares of 1.

    `drop` is the share of top-1 that the run loses against the other one, `changed` the share of
    images that one of them alone answers rightly. `better` is the name of the better run, None
    where the images do not tell; then `more_images` says how many more would, None for more than a
    million.
    """

    run: str
    against: str
    images: int
    drop: float
    changed: float
    interval: Interval
    better: str | None
    more_images: int | None
    noun: str = "image"

    @property
    def sentence(self) -> str:
        """What was found, in a sentence."""
        ends = f"95 %: {100 * self.interval.low:z.2f} to {100 * self.interval.high:z.2f}"
        text = (
            f"{self.run} loses {100 * self.drop:z.2f} points against {self.against} ({ends}; "
            f"{self.images} {self.noun}s)"
        )
        if self.better is not None:
            return f"{text}: {self.better} is better."
        if self.more_images is None:
            return f"{text}: no number of {self.noun}s up to a million would tell which is better."
        return f"{text}: you need about {self.more_images} more to tell which is better."


def decide_between(run: Run, against: Run, confidence: float = 0.95) -> RunDecision:
    """Return which run is better by pairs of images.

    Raises:
        QuantError: the runs have no labels, or were scored on other images.
    """
    lost, won = count_lost_and_won(run, against)
    images = run.evaluation.samples

    def at(count: int) -> Interval:
        return paired_interval(lost * count / images, won * count / images, count, confidence)

    interval = at(images)
    better = None
    if interval.low > 0:
        better = against.name
    elif interval.high < 0:
        better = run.name
    more = None
    if better is None and lost != won:
        total = images_needed(images, at, 0.0)
        more = None if total is None else total - images
    return RunDecision(
        run=run.name,
        against=against.name,
        images=images,
        drop=(lost - won) / images,
        changed=(lost + won) / images,
        interval=interval,
        better=better,
        more_images=more,
        noun=run.cost.noun,
    )
