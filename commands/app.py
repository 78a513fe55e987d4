"""The Typer application with the commands."""

import typer

from analysis.idle_threads import let_idle_threads_sleep

let_idle_threads_sleep()
app = typer.Typer(
    help="Where does quantization hurt a network, and what does each choice cost?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
