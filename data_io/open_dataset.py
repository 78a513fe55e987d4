"""Open data by its path."""

from collections.abc import Sequence
from pathlib import Path

from data_io.arrays import Wanted, open_arrays
from data_io.dataset import Dataset
from data_io.errors import DatasetError
from data_io.folder import open_folder
from data_io.preprocessing import Preprocess


def open_dataset(
    path: str | Path, preprocess: Preprocess, wanted: Sequence[Wanted] = ()
) -> Dataset:
    """Return the folder of images or the `.npz` file at `path` as a dataset.

    Args:
        path: a folder (one sub-folder a class, or images alone), or a file that ends in .npz.
        preprocess: what is done to every image; float arrays are left alone.
        wanted: the inputs of the network, where it takes anything else than one image.

    Raises:
        DatasetError: nothing there, another kind of file, or content that does not fit.
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
        return open_arrays(path, preprocess, wanted)
    got = "nothing of that name" if not path.exists() else f"a file {path.suffix or 'of no ending'}"
    raise DatasetError(
        f"Data must be a folder of images or an .npz file, got {got} ({path.name}); unpack other "
        "archives into a folder first."
    )
