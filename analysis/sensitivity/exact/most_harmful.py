"""The most harmful layers, proven at 95 %: images go to the layers whose place is undecided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.per_image import join_output_energies, rows_from_bytes
from analysis.sensitivity.exact.answer_store import Cells
from analysis.sensitivity.exact.contest import Contest
from analysis.sensitivity.exact.executors import Workers
from analysis.sensitivity.exact.gather import SweepQuestions, ask_sweep_questions, gather_scores
from analysis.sensitivity.exact.image_chunks import Chunk
from analysis.sensitivity.exact.run import OpenWork, compute_units
from analysis.sensitivity.sweep import CellScore, Sweep, View
from analysis.study import Study
from quant.errors import QuantError
from quant.progress import Progress, Steps
from quant.simulation.plan import Side

FIRST_IMAGES = 8
GROWTH = 1.25
"""A round ends with at least so many times the images of the round before: our choice."""


@dataclass(frozen=True, slots=True)
class MostHarmful:
    """The layers that add the most noise to the output, alone at `bits` on one `side`.

    `layers` are ordered by the noise measured, the worst first; `scores` hold all layers, each on
    the images that it got. The set equals the set of the whole sweep over `population` images with
    `confidence`, a share of 1; it is certain where the last place took all images. `forwards`
    counts forwards of the whole network over the population.
    """

    side: Side
    bits: int
    layers: tuple[str, ...]
    scores: tuple[CellScore, ...]
    images: int
    population: int
    confidence: float
    forwards: float


def find_most_harmful(
    study: Study, sweep: Sweep, wanted: int, workers: Workers, *, seed: int = 0
) -> Steps[tuple[MostHarmful, ...]]:
    """Find the `wanted` most harmful layers on each side of `sweep`, at its fewest bits.

    All layers get a few images, drawn at random with `seed`; then the layers that are neither
    proven to belong nor proven not to belong get more, until every place is settled. Answers are
    stored as those of a sweep are, so that nothing is computed twice.

    Raises:
        QuantError: there is no image, `wanted` is below 1, or the sweep has the view all-but.
    """
    if wanted < 1:
        raise QuantError(f"The most harmful layers must number 1 or more; got {wanted}.")
    if sweep.view is not View.ONLY:
        raise QuantError(
            "The most harmful layers are sought where one layer alone is quantized; got the view "
            f"{sweep.view}. Choose the view {View.ONLY}."
        )
    data = study.scored_images
    if len(data) == 0:
        raise QuantError("A score needs data; got none. Choose other data.")
    order = np.random.default_rng(seed).permutation(len(data))
    shuffled = study.with_scored_images(data.subset(order.tolist()))
    found = []
    for side in sweep.sides:
        one_side = replace(sweep, bits=(min(sweep.bits),), sides=(side,))
        found.append((yield from _settle_side(shuffled, one_side, wanted, workers)))
    return tuple(found)


def _settle_side(study: Study, sweep: Sweep, wanted: int, workers: Workers) -> Steps[MostHarmful]:
    cells = Cells(study.store.path if study.store else None)
    asked = ask_sweep_questions(study, sweep, cells)
    todo = OpenWork(asked, study.scored_images, cells, reuse=True)
    rounds = rounds_of_chunks(asked.chunks)
    contest = Contest(asked.layers_in_question, wanted, asked.images, len(rounds))
    seen: list[Chunk] = []
    for chunks in rounds:
        if not contest.undecided:
            break
        seen += chunks
        units = todo.yield_units(contest.undecided, chunks, workers.count)
        for _ in compute_units(todo, cells, workers, units):
            used = sum(len(chunk.images) for chunk in seen)
            yield _describe_contest(contest, f"{used} {study.network.noun}s")
        contest.settle_layers(_noise_by_layer(asked, cells, contest.undecided, seen))
    scores = gather_scores(asked, cells).scores
    return MostHarmful(
        side=sweep.sides[0],
        bits=sweep.bits[0],
        layers=_order_by_noise(scores, contest.inside),
        scores=scores,
        images=sum(len(chunk.images) for chunk in seen),
        population=asked.images,
        confidence=contest.confidence,
        forwards=_forwards_of_macs(asked, todo.macs),
    )


def rounds_of_chunks(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    """Divide chunks into rounds; with each the number of images grows by the factor `GROWTH`."""
    rounds: list[list[Chunk]] = []
    part: list[Chunk] = []
    images, limit = 0, float(FIRST_IMAGES)
    for chunk in chunks:
        part.append(chunk)
        images += len(chunk.images)
        if images >= limit:
            rounds.append(part)
            part, limit = [], GROWTH * images
    return [*rounds, part] if part else rounds


def _noise_by_layer(
    asked: SweepQuestions, cells: Cells, layers: Sequence[str], chunks: Sequence[Chunk]
) -> dict[str, NDArray[np.float64]]:
    """Return the noise energies (N,) of layers on the images of chunks, in the same order."""
    keys = {question.layer: key for question, key in asked.keys.items()}
    contents = cells.rows_by_question([asked.float_key, *(keys[layer] for layer in layers)])
    outputs = len(asked.encodings.program.outputs)
    signal = _energies_of(contents[asked.float_key], chunks, outputs)
    return {
        layer: join_output_energies(signal, _energies_of(contents[keys[layer]], chunks, outputs))[1]
        for layer in layers
    }


def _energies_of(
    rows: Mapping[str, bytes], chunks: Sequence[Chunk], outputs: int
) -> NDArray[np.float64]:
    """Return the energies (N,) of one output, or (N, outputs)."""
    joined = b"".join(rows[chunk.key] for chunk in chunks)
    energies: NDArray[np.float64] = rows_from_bytes(joined, outputs)["energy"]
    return energies


def _order_by_noise(scores: Sequence[CellScore], layers: Sequence[str]) -> tuple[str, ...]:
    level = {score.question.layer: score.sqnr_db for score in scores}
    return tuple(sorted(layers, key=lambda layer: level[layer]))


def _forwards_of_macs(asked: SweepQuestions, macs: int) -> float:
    program = asked.encodings.program
    whole = program.macs_between(0, len(program)) * asked.images
    return macs / whole if whole else 0.0


def _describe_contest(contest: Contest, used: str) -> Progress:
    settled = len(contest.inside) + len(contest.outside)
    return Progress(
        settled / len(contest.layers),
        f"{len(contest.inside)} of {contest.wanted} most harmful layers proven; "
        f"{len(contest.undecided)} undecided after {used}",
    )
