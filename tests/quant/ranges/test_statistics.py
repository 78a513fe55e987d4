"""Statistics that merge: laws over seeded streams, and numpy as the oracle."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch import Tensor

from quant.errors import CalibrationError
from quant.ranges.statistics import LOGIT_ROWS, SIDE, Statistics

SEEDS = range(12)


def stream(seed: int) -> list[Tensor]:
    """Return batches of wild sizes, shapes, signs and magnitudes, some empty, some all zero."""
    draw = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(draw.randint(3, 9)):
        shape = [draw.randint(0, 6), *draw.choice([(5,), (4, 3), (3, 5, 5)])]
        batch = torch.randn(shape, generator=generator) * 10.0 ** draw.randint(-12, 12)
        kind = draw.choice(["signed", "relu", "zero", "negative", "whole"])
        changed = {"relu": batch.relu(), "zero": batch * 0, "negative": -batch.abs()}
        batches.append(changed.get(kind, batch.round() if kind == "whole" else batch))
    return batches


def collected(batches: list[Tensor]) -> Statistics:
    statistics = Statistics()
    for batch in batches:
        statistics.collect(batch)
    return statistics


def content(statistics: Statistics) -> tuple[object, ...]:
    s = statistics
    return s.count, s.zeros, s.low, s.high, s.exponent, s.counts.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_merging_parts_equals_collecting_one_stream(seed: int) -> None:
    batches = stream(seed)
    cut = random.Random(seed).randint(0, len(batches))
    merged = collected(batches[:cut]).merge(collected(batches[cut:]))
    assert content(merged) == content(collected(batches))


@pytest.mark.parametrize("seed", SEEDS)
def test_merging_commutes_and_associates(seed: int) -> None:
    a, b, c = (collected(stream(seed + offset)) for offset in (0, 100, 200))
    assert content(a.merge(b)) == content(b.merge(a))
    assert content(a.merge(b).merge(c)) == content(a.merge(b.merge(c)))


@pytest.mark.parametrize("seed", SEEDS)
def test_merging_with_nothing_changes_nothing_and_leaves_both_parts_alone(seed: int) -> None:
    one, other = collected(stream(seed)), collected(stream(seed + 50))
    before = content(one), content(other)
    assert content(one.merge(Statistics())) == content(Statistics().merge(one)) == before[0]
    one.merge(other).collect(torch.tensor([1e20]))
    assert (content(one), content(other)) == before


@pytest.mark.parametrize("seed", SEEDS)
def test_neither_the_order_nor_the_size_of_batches_matters(seed: int) -> None:
    batches = stream(seed)
    wanted = content(collected(batches))
    shuffled = random.Random(seed).sample(batches, len(batches))
    assert content(collected(shuffled)) == wanted
    assert content(collected([torch.cat([batch.flatten() for batch in batches])])) == wanted


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_limits_and_zeros_are_exact(seed: int) -> None:
    values = torch.cat([batch.flatten() for batch in stream(seed)])
    statistics = collected(stream(seed))
    assert statistics.count == len(values) == int(statistics.counts.sum())
    assert statistics.zeros == int((values == 0).sum())
    assert (statistics.low, statistics.high) == (float(values.min()), float(values.max()))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_bin_counts_the_values_between_its_limits(seed: int) -> None:
    values = torch.cat([batch.flatten() for batch in stream(seed)]).double().numpy()
    statistics = collected(stream(seed))
    # numpy closes the last bin on the right; no value reaches that limit
    wanted, _ = np.histogram(values, statistics.edges.numpy())
    assert statistics.counts.tolist() == wanted.tolist()


def test_a_batch_in_channels_last_order_counts_the_same() -> None:
    batch = torch.randn(2, 5, 4, 3)
    other = batch.to(memory_format=torch.channels_last)
    assert not other.is_contiguous()
    assert content(collected([batch])) == content(collected([other]))
    assert content(collected([batch[:, 1:4]])) == content(collected([batch[:, 1:4].contiguous()]))


def test_the_memory_of_the_counts_does_not_grow() -> None:
    statistics = Statistics()
    for power in range(-40, 38, 3):
        statistics.collect(torch.randn(1000) * 10.0**power)
        assert statistics.counts.shape == (2 * SIDE,)
    assert statistics.rows is None


def test_the_outer_half_of_the_bins_always_holds_the_largest_value() -> None:
    for value in (1.0, 0.999, 1.001, 3e38, -2.0, -1e-20, 65_536.0):
        statistics = collected([torch.tensor([value, 0.0])])
        index = torch.nonzero(statistics.counts).flatten() - SIDE
        # a negative power of two is the lower limit of its bin, so it may fill half the bins
        assert int(index.abs().max()) >= SIDE // 2 - 1


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.3, 0.5, 0.77, 0.999, 1.0])
@pytest.mark.parametrize("kind", ["normal", "relu", "skewed", "negative"])
def test_quantiles_equal_numpy_to_one_bin(share: float, kind: str) -> None:
    x = torch.randn(50_000)
    values = {"normal": x, "relu": x.relu(), "skewed": x.exp(), "negative": -x.abs() - 2}[kind]
    statistics = collected(list(values.split(777)))
    wanted = float(np.quantile(values.numpy(), share))
    # beside the bin, the tail's neighbouring values may lie wide apart
    above = float(np.quantile(values.numpy(), min(1.0, share + 2e-5)))
    below = float(np.quantile(values.numpy(), max(0.0, share - 2e-5)))
    width = 2.0**statistics.exponent
    assert below - width <= statistics.quantile(share) <= above + width
    assert abs(statistics.quantile(share) - wanted) <= width + above - below


def test_used_bins_end_at_the_limits_and_leave_zeros_out() -> None:
    statistics = collected([torch.tensor([-1.3, 0.0, 0.0, 0.4, 0.7])])
    counts, edges = statistics.used_bins()
    assert int(counts.sum()) == 3
    assert len(edges) == len(counts) + 1
    assert edges[[0, -1]].tolist() == pytest.approx([-1.3, 0.7], rel=1e-7)


def test_nothing_collected_means_no_bins() -> None:
    with pytest.raises(CalibrationError, match="must hold values; none were collected"):
        Statistics().used_bins()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_value_that_is_not_finite_is_refused_and_leaves_the_statistics_alone(bad: float) -> None:
    statistics = collected([torch.ones(3)])
    before = content(statistics)
    with pytest.raises(CalibrationError, match="must be finite; got NaN or infinity"):
        statistics.collect(torch.tensor([1.0, bad, 2.0]))
    assert content(statistics) == before


def test_rows_are_the_first_of_the_stream_whether_collected_or_merged() -> None:
    batches = list(torch.randn(LOGIT_ROWS + 60, 3).split(130))
    wanted = torch.cat(batches)[:LOGIT_ROWS]
    whole = Statistics(row_length=3)
    for batch in batches:
        whole.collect(batch)
    parts = [Statistics(row_length=3) for _ in batches]
    for part, batch in zip(parts, batches, strict=True):
        part.collect(batch)
    merged = list(itertools.accumulate(parts, Statistics.merge))[-1]
    assert whole.rows is not None
    assert merged.rows is not None
    assert torch.equal(whole.rows, wanted)
    assert torch.equal(merged.rows, wanted)


def test_statistics_made_in_inference_mode_can_go_on_outside_it() -> None:
    statistics = Statistics()
    with torch.inference_mode():
        statistics.collect(torch.tensor([1.0, 5.0]))
    statistics.collect(torch.tensor([-2.0]))
    assert content(statistics) == content(collected([torch.tensor([1.0, 5.0, -2.0])]))


def test_collecting_keeps_no_gradient() -> None:
    statistics = Statistics(row_length=3)
    statistics.collect(torch.ones(2, 3, requires_grad=True) * 2)
    assert statistics.rows is not None
    assert not statistics.rows.requires_grad
