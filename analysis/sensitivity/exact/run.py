"""The exact sweep: every question on every image; layers before a question's layer run once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

from torch import Tensor

from analysis.evaluation.forwards import check_label_range
from analysis.sensitivity.exact.answer_store import Cells
from analysis.sensitivity.exact.answer_writer import AnswerWriter
from analysis.sensitivity.exact.executors import Workers
from analysis.sensitivity.exact.gather import SweepQuestions, find_decided_layers
from analysis.sensitivity.exact.image_chunks import Chunk, images_of_chunk
from analysis.sensitivity.exact.work_unit import ChunkQuestion, Outcome, Unit
from analysis.sensitivity.sweep import Question
from data_io.dataset import Dataset
from quant.encoding import Encoding
from quant.inputs import Inputs
from quant.progress import Progress, Steps

FIRST_LAYERS = 8
"""The number of top-ranked layers answered on all images before the remaining layers."""
MIN_QUESTIONS = 16
"""The fewest questions in a unit; smaller units repeat the layers before too often."""
UNITS_A_WORKER = 4
FIRST_DECISION = 32
"""Images before a layer may be decided."""
QUESTION_OVERHEAD = 0.02
"""The overhead of a question as a share of the network, for the progress."""


def run_exact_sweep(
    asked: SweepQuestions,
    data: Dataset,
    cells: Cells,
    workers: Workers,
    ranking: Sequence[str] | None = None,
    *,
    reuse: bool = True,
) -> Steps[int]:
    """Compute the missing answers of `cells` and store an answer at once.

    Returns the spent multiply-accumulates. Without `reuse` a question runs the whole network: the
    baseline of the benchmark.

    Raises:
        QuantError: a label is no output of the network, or a range needs statistics.
    """
    todo = OpenWork(asked, data, cells, reuse=reuse)
    left = asked.layers_in_question
    for chunks in _chunk_rounds(asked):
        for layers in _layer_groups(left, ranking, staged=not asked.sweep.stop_when_decided):
            units = todo.yield_units(layers, chunks, workers.count)
            yield from compute_units(todo, cells, workers, units)
        if asked.sweep.stop_when_decided:
            decided = find_decided_layers(asked, cells)
            left = tuple(layer for layer in left if layer not in decided)
    return todo.macs


def compute_units(
    todo: "OpenWork", cells: Cells, workers: Workers, units: Iterator[Unit]
) -> Steps[None]:
    """Run units; store the answers at least every half second, and on errors."""
    writer = AnswerWriter(cells)
    with closing(workers.run_units(todo.program, units)) as outcomes:
        try:
            for outcome in outcomes:
                writer.add_answer(outcome.key, outcome.chunk, outcome.rows)
                todo.take_outcome(outcome)
                yield todo.current_progress()
        finally:
            writer.write_remaining()


def _chunk_rounds(asked: SweepQuestions) -> Iterator[tuple[Chunk, ...]]:
    """Yield the chunks; if layers may stop early, a round doubles the number of images."""
    images, limit = 0, FIRST_DECISION
    part: list[Chunk] = []
    for chunk in asked.chunks:
        part.append(chunk)
        images += len(chunk.images)
        if asked.sweep.stop_when_decided and images >= limit:
            yield tuple(part)
            limit, part = 2 * images, []
    if part:
        yield tuple(part)


def _layer_groups(
    layers: Sequence[str], ranking: Sequence[str] | None, *, staged: bool
) -> Iterator[tuple[str, ...]]:
    """Yield the worst layers by the ranking, then the rest; few groups repeat few prefixes."""
    lead = [name for name in ranking or () if name in layers][:FIRST_LAYERS] if staged else []
    if lead:
        yield tuple(lead)
    rest = tuple(name for name in layers if name not in lead)
    if rest:
        yield rest


class OpenWork:
    """The unanswered questions as units, and the progress of the work."""

    def __init__(self, asked: SweepQuestions, data: Dataset, cells: Cells, *, reuse: bool) -> None:
        self._asked, self._data, self._reuse = asked, data, reuse
        self.program = asked.encodings.program
        self.macs, self._answered = 0, 0.0
        keys = [*asked.keys.values(), asked.float_key]
        self._done = cells.known_answers(keys)
        self._cost = {key: self._share_of_network(question) for question, key in asked.keys.items()}
        self._images = {chunk.key: len(chunk.images) for chunk in asked.chunks}
        self._total = sum(
            self._cost[key] * images
            for key in self._cost
            for chunk, images in self._images.items()
            if (key, chunk) not in self._done
        )
        self._references: dict[str, tuple[Tensor, ...]] = {}
        images = {chunk.key: chunk.images for chunk in asked.chunks}
        cells.add_image_chunks(data.source_digest(), images)

    def yield_units(
        self, layers: Sequence[str], chunks: Sequence[Chunk], workers: int
    ) -> Iterator[Unit]:
        """Yield units for missing answers, chunk after chunk; images are read on demand."""
        questions = [question for question in self._asked.keys if question.layer in layers]
        missing = sum(self._is_missing(q, chunk) for q in questions for chunk in chunks)
        # A single worker needs no division of the work.
        share = -(-missing // (UNITS_A_WORKER * workers)) if workers > 1 else missing
        most = max(MIN_QUESTIONS, share)
        for chunk in chunks:
            yield from self._units_of_chunk(chunk, questions, most)

    def _units_of_chunk(
        self, chunk: Chunk, questions_of_chunk: Sequence[Question], most: int
    ) -> Iterator[Unit]:
        families: dict[Question | None, dict[str, Question]] = {}
        for question in questions_of_chunk:
            base = self._asked.base_question(question)
            families.setdefault(base, {})
            if self._is_missing(question, chunk):
                # A layer without weights has the same encodings for both sides.
                families[base].setdefault(self._asked.keys[question], question)
        read: tuple[Inputs, Tensor | None] | None = None
        for base, distinct in families.items():
            questions = list(distinct.values())
            pending = base if base is not None and self._is_missing(base, chunk) else None
            parts = [questions[i : i + most] for i in range(0, len(questions), most)]
            for part in parts or ([[]] if pending else []):
                read = read or self._read_chunk(chunk)
                yield self._build_unit(chunk, read, base, pending, part)
                pending = None

    def _build_unit(
        self,
        chunk: Chunk,
        read: tuple[Inputs, Tensor | None],
        base: Question | None,
        pending: Question | None,
        questions: Sequence[Question],
    ) -> Unit:
        return Unit(
            chunk=chunk.key,
            inputs=read[0],
            labels=read[1],
            base=self._encodings_of_question(base) if base else {},
            trials=tuple(self._chunk_question(question) for question in questions),
            float_key=self._asked.float_key,
            base_key=self._asked.keys[pending] if pending else None,
            reference=self._references.get(chunk.key),
            memory_bytes=self._asked.sweep.memory_bytes,
            reuse=self._reuse,
        )

    def _chunk_question(self, question: Question) -> ChunkQuestion:
        key = self._asked.keys[question]
        if self._asked.base_question(question) is None:
            return ChunkQuestion(key, on=self._encodings_of_question(question))
        return ChunkQuestion(
            key, off=self._asked.encodings.site_names(question.layer, question.side)
        )

    def _encodings_of_question(self, question: Question) -> Mapping[str, Encoding]:
        encodings = self._asked.encodings
        return encodings.encodings_at_bits(
            encodings.site_names(question.layer or None, question.side), question.bits
        )

    def _read_chunk(self, chunk: Chunk) -> tuple[Inputs, Tensor | None]:
        data = images_of_chunk(self._data, chunk)
        batch = next(iter(data.batches(len(data))))
        network = self._asked.encodings.network
        if not network.is_classifier:
            return batch.inputs, None
        check_label_range(batch.labels, network.output_count)
        return batch.inputs, batch.labels

    def _is_missing(self, question: Question, chunk: Chunk) -> bool:
        return (self._asked.keys[question], chunk.key) not in self._done

    def _share_of_network(self, question: Question) -> float:
        """Return the share of the network that a question runs."""
        sites = self._asked.encodings.site_names(question.layer or None, question.side)
        whole = self.program.macs_between(0, len(self.program))
        before = self.program.macs_between(0, self.program.restart_position(sites))
        return 1 + QUESTION_OVERHEAD - (before / whole if whole else 0.0)

    def take_outcome(self, outcome: Outcome) -> None:
        """Record an outcome, and the float network's output for later units."""
        self._done.add((outcome.key, outcome.chunk))
        self.macs += outcome.macs
        share = self._cost.get(outcome.key, 0.0) * self._images[outcome.chunk]
        self._answered += share / self._total if self._total else 0.0
        if outcome.reference is not None:
            held = sum(_tensor_bytes(outputs) for outputs in self._references.values())
            if held + _tensor_bytes(outcome.reference) <= self._asked.sweep.memory_bytes:
                self._references[outcome.chunk] = outcome.reference

    def current_progress(self) -> Progress:
        """Return the progress: the share of the MACs that is answered."""
        layers, images = len(self._asked.layers_in_question), self._asked.images
        noun = self._asked.encodings.network.noun
        return Progress(min(1.0, self._answered), f"Exact: {layers} layers on {images} {noun}s")


def _tensor_bytes(outputs: tuple[Tensor, ...]) -> int:
    return sum(output.nbytes for output in outputs)
