"""The command standardize: measure the columns of a training table, once."""

import json
from pathlib import Path
from typing import Annotated

import typer

from commands.app import app
from commands.options import JsonOption
from commands.output import errors_as_sentences, write_answer


@app.command("standardize")
def standardize_table(
    *,
    data: Annotated[Path, typer.Option(help="The training table: .csv, or .npz with inputs.")],
    label_column: Annotated[str, typer.Option(help="The column with the classes.")] = "",
    target_column: Annotated[str, typer.Option(help="The column a regression predicts.")] = "",
    out: JsonOption = "-",
) -> None:
    """Write the preprocessing of a table: its columns with their mean and deviation.

    Give the file to other commands as --preprocess, whatever rows they get as --data.
    """
    with errors_as_sentences(out):
        from data_io.open_dataset import measure_standardisation  # noqa: PLC0415
        from data_io.preprocessing import Preprocess  # noqa: PLC0415
        from data_io.table_columns import TableColumns  # noqa: PLC0415

        columns = TableColumns(label=label_column, target=target_column)
        measured = measure_standardisation(data, Preprocess(table=columns))
        write_answer(out, json.loads(measured.to_json()))
