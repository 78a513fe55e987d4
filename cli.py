"""QuantScope without a browser: the questions of the app, answered as JSON; errors exit with 2."""

from commands.work.end_signals import end_at_signals

if __name__ == "__main__":
    end_at_signals()  # the imports below take seconds

from commands import (
    catalogue,
    diagnose,
    evaluate,
    export,
    inspect,
    machines,
    optimize,
    report,
    sensitivity,
    standardize,
    train,
    widths,
)
from commands.app import app
from commands.device import compare_device
from commands.gate import check
from commands.images import images

__all__ = ("app",)

COMMANDS = (
    catalogue,
    machines,
    inspect,
    evaluate,
    diagnose,
    check,
    images,
    optimize,
    sensitivity,
    report,
    export,
    compare_device,
    standardize,
    train,
    widths,
)
"""Each of these modules adds its commands to `app`."""

if __name__ == "__main__":
    app()
