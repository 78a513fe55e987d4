"""The decisions of the person who starts the server."""

import os
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from analysis.sensitivity.memory_limit import MEMORY_BYTES

LOCAL_ADDRESSES = ("localhost", "127.0.0.1", "::1")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """The folder of runs, the permission for paths on the server, and the limits of memory.

    `runs` comes from QUANTSCOPE_RUNS (default: the folder runs). `local_paths` comes from
    QUANTSCOPE_LOCAL_PATHS (1 or 0); the default opens paths on a server that listens on localhost
    alone, and closes paths on a shared server. `upload_mib` bounds an upload in MiB. Sweeps run on
    the Dask cluster behind `scheduler`, from QUANTSCOPE_SCHEDULER, or without a scheduler on the
    server, and keep activations of at most `memory_mib` MiB, from QUANTSCOPE_MEMORY_MIB.
    """

    runs: Path
    local_paths: bool
    upload_mib: int
    scheduler: str = ""
    memory_mib: int = MEMORY_BYTES // MIB


def read_settings() -> Settings:
    """Return the settings of the process."""
    address = st.get_option("server.address")
    wish = os.environ.get("QUANTSCOPE_LOCAL_PATHS")
    return Settings(
        runs=Path(os.environ.get("QUANTSCOPE_RUNS", "runs")).expanduser(),
        local_paths=address in LOCAL_ADDRESSES if wish is None else wish == "1",
        upload_mib=int(st.get_option("server.maxUploadSize")),
        scheduler=os.environ.get("QUANTSCOPE_SCHEDULER", ""),
        memory_mib=_read_memory_mib(os.environ.get("QUANTSCOPE_MEMORY_MIB", "")),
    )


def _read_memory_mib(text: str) -> int:
    """Return the bound in `text` in MiB, or the default for an empty text.

    Raises:
        ValueError: the text is no positive number.
    """
    if not text:
        return MEMORY_BYTES // MIB
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"QUANTSCOPE_MEMORY_MIB must be a number from 1 on; got {text!r}.")
    return int(text)
