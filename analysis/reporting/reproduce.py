"""The command that measures a run again, as far as the command line can express it."""

import re
import shlex

from analysis.reporting.contents import ReportOrigin
from analysis.runs.run_store import Run

CONFIG_FILE = "configuration.json"
PREPROCESS_FILE = "preprocess.json"
_FLAGS = (
    (r"Equalize", ("--equalize",)),
    (r"Absorb biases \(data-free\)", ("--absorb-bias",)),
    (r"Correct biases \(([a-z-]+)\)", ("--correct-bias", r"\1")),
    (r"AdaRound \((\d+) iterations\)", ("--adaround", "--adaround-iterations", r"\1")),
    (
        r"Reconstruct blocks \((\d+) steps, (\d+) for the outputs\)",
        ("--reconstruct", "--reconstruct-steps", r"\1", "--output-steps", r"\2"),
    ),
)


def command_for_run(run: Run, origin: ReportOrigin) -> str:
    """Return a shell command for the run; the report includes the files of the command."""
    parts = ["python", "cli.py", "evaluate", "--model", origin.model]
    if origin.builder:
        parts += ["--builder", origin.builder]
    shape = ",".join(map(str, origin.input_shape)) or origin.inputs
    if shape:
        parts += ["--input-shape", shape]
    if origin.data is not None:
        parts += ["--data", origin.data]
        parts += ["--preprocess", PREPROCESS_FILE] if origin.preprocess else []
    if origin.samples is not None:
        parts += ["--samples", str(origin.samples)]
    parts += ["--calibration", str(origin.calibration), "--seed", str(origin.seed)]
    parts += ["--config", CONFIG_FILE, "--machine", origin.machine]
    for title in run.recipe:
        parts += repair_flags(title) or []
    return shlex.join(parts)


def repair_flags(title: str) -> list[str] | None:
    """Return the options for a repair, or None without an option.

    Example:
        >>> repair_flags("AdaRound (400 iterations)")
        ['--adaround', '--adaround-iterations', '400']
    """
    for pattern, flags in _FLAGS:
        match = re.fullmatch(pattern, title)
        if match is not None:
            return [match.expand(flag) for flag in flags]
    return None


def repairs_beyond_command(run: Run) -> tuple[str, ...]:
    """Return the repairs of a run without a command-line option."""
    return tuple(title for title in run.recipe if repair_flags(title) is None)
