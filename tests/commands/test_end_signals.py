"""A command that is told to end while it imports: a sentence and the usual exit code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HELD = "import time\nprint('held', flush=True)\nwhile True:\n    time.sleep(60)\n"
HEARD = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""A test run in the background has SIGINT ignored, and its children too."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "words"),
    [("typer", ("machines",)), ("torch", ("evaluate", "--model", "letter-mlp"))],
)
def test_a_command_that_imports_ends_in_a_sentence(
    tmp_path: Path, module: str, words: tuple[str, ...], number: signal.Signals
) -> None:
    (tmp_path / f"{module}.py").write_text(HELD)
    (tmp_path / "sitecustomize.py").write_text(HEARD)
    child = subprocess.Popen(
        [sys.executable, ROOT / "cli.py", *words],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        child.send_signal(number)
        written, told = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 128 + number
    assert written == ""
    assert told == f"Stopped by {number.name} before the answer; call the command again.\n"


def test_an_ignored_signal_stays_ignored() -> None:
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from commands.work.end_signals import end_at_signals\n"
        "end_at_signals()\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('alive')\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == "alive\n"
