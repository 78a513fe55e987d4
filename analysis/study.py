"""A study: one network with images and store, and the results computed once from the three.

Commands and pages ask the study for statistics and encodings. The results live as long as the
study; modules keep no results.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from analysis.calibration import Calibrated, calibrate_network, config_needs_data
from analysis.cost.workload import Entropies
from analysis.evaluation.per_image import Figures
from analysis.evaluation.tasks.task_metric import TaskMetric
from analysis.network import Network
from analysis.ranges.tensors import RangeBook, open_range_book
from analysis.site_encodings import SiteEncodings
from analysis.split import Split
from data_io.dataset import Dataset
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.graph.layer_pairs import Pair, find_layer_pairs
from quant.graph.layers import is_input_name
from quant.progress import Steps

Key = TypeVar("Key")
Value = TypeVar("Value")
MOST_REPAIRED = 4
"""Networks after float passes that a study holds."""
MOST_ENCODINGS = 12
"""Configurations whose encodings a study holds: those of one page beside those of one search."""


class AnswerStore(Protocol):
    """A store of answers between starts, such as `analysis.runs.run_store.RunStore`."""

    path: Path | None

    def find_answer(self, question: str) -> Any:
        """Return the JSON value stored under `question`, or None."""

    def keep_answer(self, question: str, answer: object) -> None:
        """Store a JSON value under `question`; the question names every input of the answer."""


@dataclass(frozen=True, slots=True)
class TrialImages:
    """The positions of trial images among the scored, and the float accuracy on those they are of.

    `float_top1` is a share of 1; None without labels.
    """

    positions: tuple[int, ...]
    float_top1: float | None = None


@dataclass(eq=False, slots=True)
class _Results:
    """Results for a network and the calibration images."""

    calibrated: Calibrated | None = None
    encodings: dict[tuple[int, QuantConfig], SiteEncodings] = field(default_factory=dict)
    books: dict[int, RangeBook] = field(default_factory=dict)
    figures: dict[bytes, Figures] = field(default_factory=dict)
    entropies: Entropies = field(default_factory=dict)
    pairs: tuple[Pair, ...] | None = None
    repaired: dict[tuple[object, ...], "Study"] = field(default_factory=dict)
    trial_images: dict[str, TrialImages] = field(default_factory=dict)


class Study:
    """A network, the scored images, the calibration images, and a store of answers.

    Attributes:
        network: the float network.
        scored: the images for scores; None without images.
        calibration: the images for ranges and passes, disjoint from `scored`.
        input_range: (smallest, largest) value of the network's input by the preprocessing.
        store: stores answers between starts; None stores nothing.
        metric: the metric of the task; None for classification.
    """

    def __init__(
        self,
        network: Network,
        scored: Dataset | None = None,
        calibration: Dataset | None = None,
        input_range: tuple[float, float] | None = None,
        store: AnswerStore | None = None,
        *,
        calibrated: Calibrated | None = None,
        metric: TaskMetric | None = None,
    ) -> None:
        self.network, self.scored, self.calibration = network, scored, calibration
        self.input_range, self.store, self.metric = input_range, store, metric
        self._results = _Results(calibrated)
        self._uncalibrated = Calibrated(input_range=input_range)
        self._seen: Calibrated | None = None

    @classmethod
    def of_split(
        cls, network: Network, split: Split | None, store: AnswerStore | None = None
    ) -> "Study":
        """Return the study of a network on the images of a split."""
        if split is None:
            return cls(network, store=store)
        return cls(
            network,
            split.score,
            split.calibration,
            split.input_range,
            store,
            metric=split.metric,
        )

    @property
    def scored_images(self) -> Dataset:
        """The images for scores.

        Raises:
            QuantError: the study has no images.
        """
        if self.scored is None:
            raise QuantError("A score needs data; got none. Choose other data.")
        return self.scored

    @property
    def folder(self) -> Path | None:
        """The folder of the store, for states of long work; None without one."""
        place = None if self.store is None else self.store.path
        return None if place is None else place.parent

    @property
    def is_calibrated(self) -> bool:
        """Whether statistics of activations have been collected."""
        return self.known_statistics.images > 0

    @property
    def known_statistics(self) -> Calibrated:
        """The statistics collected so far; at first, only the input's range."""
        return self._seen or self._results.calibrated or self._uncalibrated

    @property
    def weight_entropies(self) -> Entropies:
        """Entropies of weights, measured where a machine compresses weights."""
        return self._results.entropies

    @property
    def figures_by_digest(self) -> dict[bytes, Figures]:
        """Figures of an exact sweep, by a digest of the rows behind the figures."""
        return self._results.figures

    @property
    def trial_images(self) -> dict[str, TrialImages]:
        """The scored images that trials see, by the digest of the scored images."""
        return self._results.trial_images

    def collect_statistics(self, config: QuantConfig | None = None) -> Steps[Calibrated]:
        """Return the statistics of activations, collected at the first need of a `config`.

        Without a configuration, statistics are collected whenever the study has images.

        Raises:
            CalibrationError: an activation is not finite, or the images are too few.
        """
        known = self._results.calibrated
        if known is not None:
            return known
        if self.calibration is None or (config is not None and not self.needs_images(config)):
            return self._uncalibrated
        calibrated = yield from calibrate_network(self.network, self.calibration, self.input_range)
        self._results.calibrated = calibrated
        return calibrated

    def needs_images(self, config: QuantConfig) -> bool:
        """Whether an activation's range needs calibration on images.

        The range of an input follows from the preprocessing, if known.
        """
        if config_needs_data(self.network, config):
            return True
        chosen = config.resolve_layers(self.network.graph.layers)
        inputs = [chosen[name].activation for name in chosen if is_input_name(name)]
        return self.input_range is None and not all(spec.is_float for spec in inputs)

    def site_encodings(self, config: QuantConfig) -> SiteEncodings:
        """Return the encodings of the sites at every width; a configuration gives other choices.

        Raises:
            ConfigError: a rule of the configuration matches no layer.
        """
        known, held = self.known_statistics, self._results.encodings
        return _value_kept_by_key(
            held, (id(known), config), lambda: SiteEncodings(self.network, known, config)
        )

    def range_book(self) -> RangeBook:
        """Return the distributions of the weights and, after calibration, of the activations."""
        known = self.known_statistics
        book = lambda: open_range_book(self.network.graph, known if known.images else None)  # noqa: E731
        return _value_kept_by_key(self._results.books, id(known), book)

    def equalizable_pairs(self) -> tuple[Pair, ...]:
        """Return the pairs of layers whose common channels can be rescaled."""
        if self._results.pairs is None:
            self._results.pairs = find_layer_pairs(self.network.graph)[0]
        return self._results.pairs

    def repaired_study(self, passes: tuple[object, ...], repair: Callable[[], "Study"]) -> "Study":
        """Return the study of the network after float passes; `repair` makes it at the first need.

        It holds the images and the store of this study.
        """
        held = self._results.repaired
        while passes not in held and len(held) >= MOST_REPAIRED:
            held.pop(next(iter(held)), None)
        if passes not in held:
            held[passes] = repair()
        return held[passes].with_scored_images(self.scored).with_store(self.store)

    def holds_repaired(self, passes: tuple[object, ...]) -> bool:
        """Whether the network after float passes is known."""
        return passes in self._results.repaired

    def with_scored_images(self, images: Dataset | None) -> "Study":
        """Return a study with other scored images; both studies share the results."""
        other = Study(
            self.network,
            images,
            self.calibration,
            self.input_range,
            self.store,
            metric=self.metric,
        )
        other._results, other._uncalibrated, other._seen = (
            self._results,
            self._uncalibrated,
            self._seen,
        )
        return other

    def with_store(self, store: AnswerStore | None) -> "Study":
        """Return a study with another store, or without a store; both studies share the results."""
        other = self.with_scored_images(self.scored)
        other.store = store
        return other

    def share_results_with(self, other: "Study") -> None:
        """Take over the results of `other`, if network and calibration images are equal."""
        mine, theirs = (
            None if one.calibration is None else one.calibration.digest for one in (self, other)
        )
        same_range = self.input_range == other.input_range
        if self.network is other.network and mine == theirs and same_range:
            self._results, self._uncalibrated = other._results, other._uncalibrated  # noqa: SLF001

    def shares_results_with(self, other: "Study") -> bool:
        """Whether two studies have one network and share the results."""
        return self._results is other._results  # noqa: SLF001  another study of this class

    def with_present_statistics(self) -> "Study":
        """Return a study with the present statistics; running jobs do not change the copy."""
        other = self.with_scored_images(self.scored)
        other._seen = self.known_statistics  # noqa: SLF001  another study of this class
        return other


def _value_kept_by_key(kept: dict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    """Return the value under a key; make a missing value and drop the oldest."""
    value = kept.get(key)
    if value is None:
        while len(kept) >= MOST_ENCODINGS:
            kept.pop(next(iter(kept)), None)
        value = kept[key] = make()
    return value
