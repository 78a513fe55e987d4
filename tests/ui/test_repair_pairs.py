"""The account of equalized pairs adds up: each layer begins a pair, only ends one, or is alone."""

import torch
from torch import nn

from quant.graph.capture import capture_graph
from quant.passes.equalize import Equalize, Equalized
from quant.passes.fold_batch_norm import FoldBatchNorm
from ui.repair.pairs import pairs_account, pairs_heading


def equalized(*layers: nn.Module) -> Equalized:
    torch.manual_seed(0)
    graph = capture_graph(nn.Sequential(*layers).eval(), (1, 4))
    return Equalize()(FoldBatchNorm()(graph))


def test_a_layer_that_ends_a_pair_is_not_called_left_out() -> None:
    """Three layers in a row: two begin a pair; the last begins none, but ends the second pair."""
    found = equalized(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert len(found.pairs) == 2
    assert [one.layer for one in found.unpaired] == [found.pairs[-1].second]
    assert pairs_heading(found).endswith("0 of 3 layers cannot be equalized")
    assert "Of 3 layers, 2 begin a pair and 1 does not" in pairs_account(found)
    assert "1 still ends a pair, which rescales what it reads, and 0 cannot be equalized" in (
        pairs_account(found)
    )


def test_a_layer_in_no_pair_is_counted_as_such() -> None:
    found = equalized(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert len(found.pairs) == 1
    assert pairs_heading(found).startswith("1 pair equalized in ")
    assert pairs_heading(found).endswith("1 of 3 layers cannot be equalized")
