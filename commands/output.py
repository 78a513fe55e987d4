"""The output of a command: the answer as JSON, the progress, the errors."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import typer

from quant.progress import Steps
from quant.remaining_time import RemainingTime, time_left_text

T = TypeVar("T")
REPORT_EVERY_S = 2.0


@contextmanager
def errors_as_sentences(out: str, option: str = "--json") -> Iterator[None]:
    """Turn an error that the user can correct into a sentence on standard error and exit code 2."""
    try:
        check_answer_place(out, option)
        yield
    except (ValueError, OSError, RecursionError) as error:
        typer.echo(f"Error: {_error_sentence(error)}", err=True)
        raise typer.Exit(2) from None


def check_answer_place(out: str, option: str) -> None:
    """Raise ValueError before the work if the file of the answer cannot be written."""
    if out != "-" and (Path(out).is_dir() or not Path(out).parent.is_dir()):
        raise ValueError(f"{option} must name a file in a folder that exists; got {out}.")


def _error_sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename} cannot be opened: {error.strerror}. Check the path."
    if isinstance(error, RecursionError):
        return "A file is nested too deeply. Check what you named."
    return " ".join(str(error).split())


def watch_steps(steps: Steps[T]) -> T:
    """Run long work to the end; tell the progress on standard error at intervals of seconds."""
    told, remaining = -REPORT_EVERY_S, RemainingTime(time.monotonic())
    while True:
        try:
            progress = next(steps)
            remaining.add_progress(time.monotonic(), progress.fraction, progress.stage)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if time.monotonic() - told >= REPORT_EVERY_S:
            told = time.monotonic()
            left = remaining.seconds_left(told)
            time_left = "" if left is None else time_left_text(left, of_stage=progress.is_of_stage)
            parts = (progress.text, progress.known, time_left)
            print_line(", ".join(filter(None, parts)))


def print_line(text: str) -> None:
    """Print a line on standard error, so that standard output holds the answer alone."""
    typer.echo(text, err=True)


def add_warnings(answer: Mapping[str, object], warnings: Iterable[str] = ()) -> dict[str, object]:
    """Return the answer with the key `warnings`; print the warnings on standard error."""
    sentences = list(dict.fromkeys(warnings))
    for sentence in sentences:
        print_line(f"Warning: {sentence}")
    return {**answer, "warnings": sentences}


def write_answer(out: str, answer: object) -> None:
    """Write JSON to a file, or to standard output for "-"."""
    text = json.dumps(answer, indent=2, allow_nan=False)
    if out == "-":
        typer.echo(text)
    else:
        Path(out).write_text(text + "\n", encoding="utf-8")
        print_line(f"Wrote {out}")
