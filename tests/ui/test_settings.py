from pathlib import Path

import pytest
import streamlit as st

from ui.settings import read_settings


@pytest.mark.parametrize(
    ("address", "wish", "opened"),
    [
        ("localhost", None, True),
        ("127.0.0.1", None, True),
        ("0.0.0.0", None, False),
        (None, None, False),
        ("0.0.0.0", "1", True),
        ("localhost", "0", False),
        ("localhost", "", False),
    ],
)
def test_paths_are_open_on_a_local_server_or_where_one_says_so(
    monkeypatch: pytest.MonkeyPatch, address: str | None, wish: str | None, opened: bool
) -> None:
    real = st.get_option
    monkeypatch.setattr(
        st, "get_option", lambda name: address if name == "server.address" else real(name)
    )
    monkeypatch.delenv("QUANTSCOPE_LOCAL_PATHS", raising=False)
    if wish is not None:
        monkeypatch.setenv("QUANTSCOPE_LOCAL_PATHS", wish)
    assert read_settings().local_paths is opened


def test_where_runs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUANTSCOPE_RUNS", raising=False)
    assert read_settings().runs == Path("runs")
    monkeypatch.setenv("QUANTSCOPE_RUNS", "~/some runs")
    assert read_settings().runs == Path.home() / "some runs"


def test_sweeps_take_their_cluster_and_memory_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("QUANTSCOPE_SCHEDULER", "QUANTSCOPE_MEMORY_MIB"):
        monkeypatch.delenv(name, raising=False)
    assert (read_settings().scheduler, read_settings().memory_mib) == ("", 64)
    monkeypatch.setenv("QUANTSCOPE_SCHEDULER", "tcp://here:8786")
    monkeypatch.setenv("QUANTSCOPE_MEMORY_MIB", "64")
    assert (read_settings().scheduler, read_settings().memory_mib) == ("tcp://here:8786", 64)
    for wrong in ("0", "-1", "much"):
        monkeypatch.setenv("QUANTSCOPE_MEMORY_MIB", wrong)
        with pytest.raises(ValueError, match="must be a number from 1 on"):
            read_settings()
