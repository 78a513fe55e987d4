"""Idle threads of OpenMP sleep: the setting stands before torch is imported."""

import os
import subprocess
import sys

import pytest

from analysis.idle_threads import SETTING, let_idle_threads_sleep


@pytest.mark.parametrize("module", ["cli", "app"])
def test_the_setting_stands_before_torch_is_imported(module: str) -> None:
    """OpenMP reads the setting once: what imports torch first would make it useless."""
    program = f"""
import importlib, os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("{SETTING}"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch())
importlib.import_module("{module}")
importlib.import_module("torch")
"""
    bare = {name: value for name, value in os.environ.items() if name != SETTING}
    run = subprocess.run(
        [sys.executable, "-c", program], env=bare, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "PASSIVE"


def test_a_setting_of_the_persons_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "ACTIVE")
    let_idle_threads_sleep()
    assert os.environ[SETTING] == "ACTIVE"
