"""The law of 32 bits, as part of loading: a network that breaks it is refused by the node."""

import pytest
import torch

from analysis.network import prepare_network
from quant.errors import CaptureError
from quant.graph.tracing import export_program
from tests.networks_kinds import CASES, Written


def test_a_value_that_is_written_into_behind_a_quantizer_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = CASES["clip on a view"]
    prepare_network("functional", case.build().eval(), case.shape, "digest")
    monkeypatch.setattr(export_program, "writes_into_others", lambda _: False)
    with pytest.raises(CaptureError, match=r"32 bits must equal .* first at \w+ .aten"):
        prepare_network("in place", case.build().eval(), case.shape, "digest")


def test_a_network_that_does_not_run_is_refused_in_a_sentence() -> None:
    picks = Written(lambda m, x: m.table[x.long() + 9], table=torch.ones(4, 3)).eval()
    with pytest.raises(CaptureError, match=r"random inputs of shape \(2, 3\) this one stopped"):
        prepare_network("net", picks, (3,), "digest")
