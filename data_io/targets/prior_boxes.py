"""The prior boxes of an SSD detector, from a file."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_io.errors import DatasetError
from data_io.npy_member import map_npy_file


def read_prior_boxes(path: Path) -> Tensor:
    """Return prior boxes (M, 4) by centre x, y, width and height, as shares of the image.

    Raises:
        DatasetError: the file is no .npy file of such numbers.
    """
    try:
        priors = torch.from_numpy(np.array(map_npy_file(path), np.float32))
    except (OSError, DatasetError, ValueError, TypeError) as error:
        raise DatasetError(
            f"Priors must be an .npy file of numbers; {path.name} is not ({type(error).__name__}). "
            "Write one with numpy.save."
        ) from None
    if priors.dim() != 2 or priors.shape[1] != 4 or not bool(torch.isfinite(priors).all()):
        raise DatasetError(
            f"Priors must be (M, 4): centre x, y, width and height as shares of the image; "
            f"{path.name} holds {tuple(priors.shape)}. Correct the file."
        )
    return priors
