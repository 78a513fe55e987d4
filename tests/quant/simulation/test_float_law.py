"""The law of 32 bits, as part of loading: a network that breaks it is refused by the node."""

import pytest

from analysis.network import prepare_network
from quant.errors import CaptureError
from quant.graph.tracing import export_program
from tests.networks_kinds import CASES


def test_a_value_that_is_written_into_behind_a_quantizer_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = CASES["clip on a view"]
    prepare_network("functional", case.build().eval(), case.shape, "digest")
    monkeypatch.setattr(export_program, "writes_into_others", lambda _: False)
    with pytest.raises(CaptureError, match=r"32 bits must equal .* first at \w+ .aten"):
        prepare_network("in place", case.build().eval(), case.shape, "digest")
