"""A study: one network, its images and its store, and all that is worked out from them once.

Every command and every page asks the study for statistics and encodings instead of preparing them.
What a study holds goes when the study goes; nothing is kept at the level of a module.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from analysis.calibration import Calibrated, calibrate_network, config_needs_data
from analysis.cost.workload import Entropies
from analysis.evaluation.per_image import Figures
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
MOST_ENCODINGS = 12
"""Configurations whose encodings a study holds: those of one page beside those of one search."""


class AnswerStore(Protocol):
    """What keeps answers between starts, such as `analysis.runs.run_store.RunStore`."""

    path: Path | None

    def find_answer(self, question: str) -> Any:
        """Return the JSON value kept under `question`, or None."""

    def keep_answer(self, question: str, answer: Any) -> None:
        """Keep a JSON value under `question`, which names everything the answer depends on."""


@dataclass(eq=False, slots=True)
class _Results:
    """What was worked out for a network and its calibration images."""

    calibrated: Calibrated | None = None
    encodings: dict[tuple[int, QuantConfig], SiteEncodings] = field(default_factory=dict)
    books: dict[int, RangeBook] = field(default_factory=dict)
    figures: dict[bytes, Figures] = field(default_factory=dict)
    entropies: Entropies = field(default_factory=dict)
    pairs: tuple[Pair, ...] | None = None


class Study:
    """A network, the images that score it and those that calibrate it, and a store of answers.

    Attributes:
        network: the float network.
        scored: the images that scores are measured on; None where there are none.
        calibration: the images that choose ranges and teach passes; they share none with `scored`.
        input_range: (least, greatest) value of the network's input by its preprocessing.
        store: keeps answers between starts; None keeps none.
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
    ) -> None:
        self.network, self.scored, self.calibration = network, scored, calibration
        self.input_range, self.store = input_range, store
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
        return cls(network, split.score, split.calibration, split.input_range, store)

    @property
    def scored_images(self) -> Dataset:
        """The images that scores are measured on.

        Raises:
            QuantError: there are none.
        """
        if self.scored is None:
            raise QuantError("A score needs images; the data has none. Choose other data.")
        return self.scored

    @property
    def is_calibrated(self) -> bool:
        """Whether statistics of activations have been collected."""
        return self.known_statistics.images > 0

    @property
    def known_statistics(self) -> Calibrated:
        """The statistics as far as they have been collected; else the input's range alone."""
        return self._seen or self._results.calibrated or self._uncalibrated

    @property
    def weight_entropies(self) -> Entropies:
        """Entropies of weights, measured where a machine compresses weights."""
        return self._results.entropies

    @property
    def figures_by_digest(self) -> dict[bytes, Figures]:
        """Figures of an exact sweep by a digest of the rows that they summarize."""
        return self._results.figures

    def collect_statistics(self, config: QuantConfig | None = None) -> Steps[Calibrated]:
        """Return the statistics of activations; collect them once where `config` needs them.

        Without a configuration they are collected wherever there are images for it.

        Raises:
            CalibrationError: an activation is not finite, or there are too few images.
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
        """Whether some activation's range has to be calibrated on images.

        The range of an input follows from its preprocessing, where there is one.
        """
        if config_needs_data(self.network, config):
            return True
        chosen = config.resolve_layers(self.network.graph.layers)
        inputs = [chosen[name].activation for name in chosen if is_input_name(name)]
        return self.input_range is None and not all(spec.is_float for spec in inputs)

    def site_encodings(self, config: QuantConfig) -> SiteEncodings:
        """Return the encodings of all sites, of any bits, with a configuration's other choices.

        Raises:
            ConfigError: a rule of the configuration matches no layer.
        """
        known, held = self.known_statistics, self._results.encodings
        return _value_kept_by_key(
            held, (id(known), config), lambda: SiteEncodings(self.network, known, config)
        )

    def range_book(self) -> RangeBook:
        """Return every tensor's distribution: of weights, and of activations once calibrated."""
        known = self.known_statistics
        book = lambda: open_range_book(self.network.graph, known if known.images else None)  # noqa: E731
        return _value_kept_by_key(self._results.books, id(known), book)

    def equalizable_pairs(self) -> tuple[Pair, ...]:
        """Return the pairs of layers between which channels can be rescaled."""
        if self._results.pairs is None:
            self._results.pairs = find_layer_pairs(self.network.graph)[0]
        return self._results.pairs

    def with_scored_images(self, images: Dataset | None) -> "Study":
        """Return this study with other images to score on; both share what is worked out."""
        other = Study(self.network, images, self.calibration, self.input_range, self.store)
        other._results, other._uncalibrated, other._seen = (
            self._results,
            self._uncalibrated,
            self._seen,
        )
        return other

    def with_store(self, store: AnswerStore | None) -> "Study":
        """Return this study with another store, or with none; both share what is worked out."""
        other = self.with_scored_images(self.scored)
        other.store = store
        return other

    def share_results_with(self, other: "Study") -> None:
        """Take over what `other` worked out, where network and calibration images are the same."""
        mine, theirs = (
            None if one.calibration is None else one.calibration.digest for one in (self, other)
        )
        same_range = self.input_range == other.input_range
        if self.network is other.network and mine == theirs and same_range:
            self._results, self._uncalibrated = other._results, other._uncalibrated  # noqa: SLF001

    def shares_results_with(self, other: "Study") -> bool:
        """Whether both are of one network and share what is worked out."""
        return self._results is other._results  # noqa: SLF001  another study of this class

    def with_present_statistics(self) -> "Study":
        """Return this study with the statistics of this moment, whatever jobs collect meanwhile."""
        other = self.with_scored_images(self.scored)
        other._seen = self.known_statistics  # noqa: SLF001  another study of this class
        return other


def _value_kept_by_key(kept: dict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    """Return the value under a key; make it, and let the oldest go, where there is none."""
    value = kept.get(key)
    if value is None:
        while len(kept) >= MOST_ENCODINGS:
            kept.pop(next(iter(kept)), None)
        value = kept[key] = make()
    return value
