"""What the person who starts the server decides."""

import os
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

LOCAL_ADDRESSES = ("localhost", "127.0.0.1", "::1")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """Where runs are kept, whether paths on the server may be opened, how large uploads may be.

    `runs` comes from QUANTSCOPE_RUNS (default: the folder runs). `local_paths` comes from
    QUANTSCOPE_LOCAL_PATHS (1 or 0); without it paths are open to a server that listens on
    localhost alone, and closed on a shared one. `upload_mib` bounds an upload in MiB.
    """

    runs: Path
    local_paths: bool
    upload_mib: int


def read_settings() -> Settings:
    """Return the settings of this process."""
    address = st.get_option("server.address")
    wish = os.environ.get("QUANTSCOPE_LOCAL_PATHS")
    return Settings(
        runs=Path(os.environ.get("QUANTSCOPE_RUNS", "runs")).expanduser(),
        local_paths=address in LOCAL_ADDRESSES if wish is None else wish == "1",
        upload_mib=int(st.get_option("server.maxUploadSize")),
    )
