"""The command models: the networks of the project."""

from commands.app import app
from commands.options import JsonOption
from commands.output import errors_as_sentences, write_answer


@app.command("models")
def list_models(out: JsonOption = "-") -> None:
    """List the networks that come with the project."""
    with errors_as_sentences(out):
        from commands.json_answers.run import summarize_samples  # noqa: PLC0415

        write_answer(out, summarize_samples())
