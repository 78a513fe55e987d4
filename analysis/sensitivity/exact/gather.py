"""The questions of a sweep to a store, and the stored answers."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from analysis.evaluation.per_image import UNKNOWN, Figures, rows_from_bytes, summarize_rows
from analysis.network import Network, batch_that_fits
from analysis.sensitivity.exact.answer_store import Cells
from analysis.sensitivity.exact.image_chunks import Chunk, divide_into_chunks
from analysis.sensitivity.questions import float_network_key, question_key, questions_of_sweep
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep, View
from analysis.site_encodings import SiteEncodings
from analysis.study import Study

MOST_FIGURES = 20_000


@dataclass(frozen=True, eq=False, slots=True)
class SweepQuestions:
    """A sweep over certain images: the questions, the keys of the answers, and the chunks.

    `keys` has the questions, with questions about the whole network last.
    """

    encodings: SiteEncodings
    sweep: Sweep
    keys: Mapping[Question, str]
    float_key: str
    chunks: tuple[Chunk, ...]
    images: int
    figures: dict[bytes, Figures] = field(default_factory=dict)

    @property
    def layers_in_question(self) -> tuple[str, ...]:
        """The layers in question, in the order of the network."""
        return tuple(dict.fromkeys(question.layer for question in self.keys if question.layer))

    def base_question(self, question: Question) -> Question | None:
        """Return the question about the network around a layer; None for a float network."""
        if question.view is View.ONLY:
            return None
        return Question("", question.bits, question.side, View.ALL_BUT)


def ask_sweep_questions(study: Study, sweep: Sweep, cells: Cells) -> SweepQuestions:
    """Return the questions of a sweep, in chunks that reuse stored answers as far as possible.

    Raises:
        ConfigError: a layer or a rule does not fit the network.
    """
    network, data, encodings = (
        study.network,
        study.scored_images,
        study.site_encodings(sweep.config),
    )
    questions = list(questions_of_sweep(network, sweep, encodings))
    if sweep.view is View.ALL_BUT:
        questions += [Question("", b, s, sweep.view) for s in sweep.sides for b in sweep.bits]
    key_of_float = float_network_key(encodings)
    known = cells.answered_chunks(data.source_digest(), key_of_float)
    return SweepQuestions(
        encodings,
        sweep,
        {question: question_key(encodings, question) for question in questions},
        key_of_float,
        divide_into_chunks(data, _images_per_chunk(network, encodings, sweep), known),
        len(data),
        study.figures_by_digest,
    )


def _images_per_chunk(network: Network, encodings: SiteEncodings, sweep: Sweep) -> int:
    """Return the number of images in a chunk, as the cache and the memory allow."""
    if network.graph.batch is not None:
        return network.graph.batch
    program = encodings.program
    largest = max(program.checkpoint_bytes([place]) for place in range(len(program) + 1))
    return min(network.forward_batch_size, batch_that_fits(sweep.memory_bytes, largest))


def is_sweep_answered(asked: SweepQuestions, cells: Cells) -> bool:
    """Whether the store has every answer on every image."""
    keys = set(asked.keys.values())
    return set(product(keys, (chunk.key for chunk in asked.chunks))) <= cells.known_answers(keys)


def gather_scores(
    asked: SweepQuestions, cells: Cells, seconds: float = 0.0, forwards: float = 0.0
) -> Sensitivity:
    """Return the stored scores, each over the images with an answer."""
    contents = cells.rows_by_question([*asked.keys.values(), asked.float_key])
    order = [chunk.key for chunk in asked.chunks]
    reference = contents[asked.float_key]
    outputs = len(asked.encodings.program.outputs)
    found = [
        score
        for question, key in asked.keys.items()
        if (score := _score_question(asked, question, reference, contents[key], order)) is not None
    ]
    return Sensitivity(
        sweep=asked.sweep,
        depth=Depth.EXACT,
        images=asked.images,
        float_top1=_top1_share(
            b"".join(reference[key] for key in order if key in reference), outputs
        ),
        scores=tuple(score for score in found if score.question.layer),
        whole=tuple(score for score in found if not score.question.layer),
        seconds=seconds,
        forwards=forwards,
        noun=asked.encodings.network.noun,
    )


def _score_question(
    asked: SweepQuestions,
    question: Question,
    reference: Mapping[str, bytes],
    contents: Mapping[str, bytes],
    order: Sequence[str],
) -> CellScore | None:
    known = [key for key in order if key in contents and key in reference]
    if not known:
        return None
    figures = _figures_of_rows(
        asked,
        b"".join([reference[key] for key in known]),
        b"".join([contents[key] for key in known]),
    )
    values = {name: getattr(figures, name) for name in Figures.__slots__}
    return CellScore(question=question, depth=Depth.EXACT, **values)


def _figures_of_rows(asked: SweepQuestions, reference: bytes, contents: bytes) -> Figures:
    """Return the figures of rows; the study caches the figures, since a page asks every second."""
    key = hashlib.blake2b(reference + contents, digest_size=16).digest()
    known, outputs = asked.figures, len(asked.encodings.program.outputs)
    found = known.get(key)
    if found is None:
        if len(known) >= MOST_FIGURES:
            known.clear()
        found = known[key] = summarize_rows(
            rows_from_bytes(reference, outputs), rows_from_bytes(contents, outputs)
        )
    return found


def _top1_share(reference: bytes, outputs: int) -> float | None:
    right = rows_from_bytes(reference, outputs)["right"]
    if len(right) == 0 or (right == UNKNOWN).any():
        return None
    return float((right == 1).mean())


def find_decided_layers(asked: SweepQuestions, cells: Cells) -> frozenset[str]:
    """Return the layers with a final place in the ranking.

    The ranking uses the output's SQNR at the fewest bits, separately by side: a layer is decided if
    its interval overlaps with no other layer's interval.
    """
    bits = min(asked.sweep.bits)
    scores = [s for s in gather_scores(asked, cells).scores if s.question.bits == bits]
    disputed = set(asked.layers_in_question)
    agreed = [
        _decided_by_layer([s for s in scores if s.question.side is side])
        for side in asked.sweep.sides
    ]
    for layer in asked.layers_in_question:
        known = [verdicts[layer] for verdicts in agreed if layer in verdicts]
        if known and all(known):
            disputed.discard(layer)
    return frozenset(asked.layers_in_question) - disputed


def _decided_by_layer(scores: Sequence[CellScore]) -> dict[str, bool]:
    return {
        score.question.layer: all(
            other is score or _intervals_are_apart(score, other) for other in scores
        )
        for score in scores
    }


def _intervals_are_apart(one: CellScore, other: CellScore) -> bool:
    a, b = one.sqnr_ci95, other.sqnr_ci95
    return a is not None and b is not None and (a.low > b.high or b.low > a.high)
