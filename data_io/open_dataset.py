"""Open data by path."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_io.arrays import ArraySource, Wanted, open_array_file
from data_io.dataset import Dataset
from data_io.errors import DatasetError
from data_io.folder import open_folder
from data_io.preprocessing import Preprocess
from data_io.table_columns import TableColumns, measure_table_columns
from data_io.table_file import measure_training_table, open_csv_table


def open_dataset(
    path: str | Path, preprocess: Preprocess, wanted: Sequence[Wanted] = ()
) -> Dataset:
    """Return the folder of images, the `.npz` file or the `.csv` table at `path` as a dataset.

    Args:
        path: a folder (one sub-folder a class, or images alone), or an .npz or .csv file.
        preprocess: the steps for every image, or for the columns of a table; other float arrays are
            left alone.
        wanted: the inputs of the network, if different from a single image.

    Raises:
        DatasetError: nothing at the path, another kind of file, or content that does not fit.
    """
    path = Path(path)
    if path.is_dir() and wanted:
        raise DatasetError(
            f"A network that takes {', '.join(one.name for one in wanted)} needs an .npz file with "
            f"an array for each, got the folder {path.name}; write one with numpy.savez."
        )
    if path.is_dir():
        return open_folder(path, preprocess)
    if path.suffix.lower() == ".npz" and path.is_file():
        return open_array_file(path, preprocess, wanted)
    if path.suffix.lower() == ".csv" and path.is_file():
        if wanted:
            raise DatasetError(
                f"A network that takes {', '.join(one.name for one in wanted)} needs an .npz file "
                f"with an array for each, got the table {path.name}; write one with numpy.savez."
            )
        return open_csv_table(path, preprocess)
    got = "nothing of that name" if not path.exists() else f"a file {path.suffix or 'of no ending'}"
    raise DatasetError(
        f"Data must be a folder of images, an .npz file or a .csv table, got {got} "
        f"({path.name}); unpack other archives into a folder first."
    )


def measure_standardisation(path: str | Path, preprocess: Preprocess) -> Preprocess:
    """Return `preprocess` with the means and deviations of the columns of a training table.

    Args:
        path: a .csv table, or an .npz file with `inputs` (rows, columns).
        preprocess: the label's column, and the features.

    Raises:
        DatasetError: not a table, or cells other than numbers.
    """
    path = Path(path)
    columns = replace(preprocess.table or TableColumns(), mean=(), std=())
    if path.suffix.lower() == ".csv" and path.is_file():
        return replace(preprocess, table=measure_training_table(path, columns))
    found = open_dataset(path, replace(preprocess, table=columns))
    if not isinstance(found.source, ArraySource):
        raise DatasetError(f"Only a table has columns to standardise; {path.name} is none.")
    return replace(preprocess, table=measure_table_columns(columns, found.source.inputs))
