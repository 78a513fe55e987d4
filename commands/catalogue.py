"""The command models: the networks that come with the project."""

from commands.app import app
from commands.options import JsonOption
from commands.output import errors_told, write_answer


@app.command()
def models(out: JsonOption = "-") -> None:
    """List the networks that come with the project."""
    with errors_told(out):
        from commands.json_answers.run import summarize_samples  # noqa: PLC0415

        write_answer(out, summarize_samples())
