"""The Typer application with the commands."""

import typer

app = typer.Typer(
    help="Where does quantization hurt a network, and what does each choice cost?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
