"""The commands models and machines: what comes with the project."""

from accelerator.machine import load_preset, presets
from commands.app import app
from commands.options import JsonOption
from commands.output import errors_told, write_answer


@app.command()
def models(out: JsonOption = "-") -> None:
    """List the networks that come with the project."""
    with errors_told(out):
        from commands.json_answers.run import summarize_samples  # noqa: PLC0415

        write_answer(out, summarize_samples())


@app.command()
def machines(out: JsonOption = "-") -> None:
    """List the machines whose cost can be estimated."""
    wanted = ("name", "title", "illustrative", "technology_nm", "clock_hz")
    with errors_told(out):
        found = [load_preset(name) for name in presets()]
        write_answer(out, [{key: getattr(machine, key) for key in wanted} for machine in found])
