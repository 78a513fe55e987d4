"""The command inspect: the facts of a file that need no run."""

from dataclasses import asdict

import typer

from commands.app import app
from commands.options import BuilderOption, JsonOption, ModelOption, ShapeOption
from commands.output import errors_as_sentences, print_line, write_answer


@app.command("inspect")
def inspect_model(
    *,
    model: ModelOption,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    out: JsonOption = "-",
) -> None:
    """Tell what a file holds, what gets an encoding and what stays float; needs no data.

    A file that cannot come in is an answer too: `refused` says why and what to do, exit code 2.
    """
    with errors_as_sentences(out):
        from analysis.inspection import inspect_network  # noqa: PLC0415
        from commands.inputs import open_network  # noqa: PLC0415

        try:
            network = open_network(model, builder, input_shape)
        except (ValueError, OSError) as error:
            write_answer(out, {"model": model, "refused": " ".join(str(error).split())})
            print_line(f"Error: {' '.join(str(error).split())}")
            raise typer.Exit(2) from None
        found = inspect_network(network)
        for sentence in found.report_sentences():
            print_line(sentence)
        write_answer(out, {"model": model, "refused": None, **asdict(found)})
