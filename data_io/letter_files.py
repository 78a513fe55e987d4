"""Make the bundled Letter Recognition table: `python -m data_io.letter_files`.

Read from the R package mlbench as shipped by Debian (r-cran-mlbench), with the PyPI package
`rdata`, which works without R and serves only here: 20 000 rows of 16 whole numbers from 0 to 15,
and one of 26 letters each. Written as one compressed .npz: `inputs` uint8 (20000, 16), `labels`
uint8 (20000,), A is 0. The first 16 000 rows train and the last 4 000 are the test, as the donor of
the data says.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_io.table_columns import TableColumns, measure_table_columns

DEBIAN_FILE = Path("/usr/lib/R/site-library/mlbench/data/LetterRecognition.rda")
LETTER_FILE = Path(__file__).parents[1] / "sample_models" / "data" / "letter-recognition.npz"
TABLE_NAME, LABEL_NAME = "LetterRecognition", "lettr"
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
FEATURES = (
    "x.box",
    "y.box",
    "width",
    "high",
    "onpix",
    "x.bar",
    "y.bar",
    "x2bar",
    "y2bar",
    "xybar",
    "x2ybr",
    "xy2br",
    "x.ege",
    "xegvy",
    "y.ege",
    "yegvx",
)
TRAINING_ROWS = 16_000
LETTER_DIGEST = "995ccb68672af4fd3bfa393a81ca094669007f8a9d38027272e988f142ca8f3a"
"""SHA-256 of the rows in order, followed by the labels."""

Bytes = NDArray[np.uint8]


def read_bundled_letters() -> tuple[Bytes, Bytes]:
    """Return (rows uint8 (20000, 16), labels uint8 (20000,)) of the bundled file."""
    with np.load(LETTER_FILE) as arrays:
        return arrays["inputs"], arrays["labels"]


def letter_columns() -> TableColumns:
    """Return the meaning of the columns, standardised over the 16 000 training rows."""
    rows = read_bundled_letters()[0][:TRAINING_ROWS]
    return measure_table_columns(TableColumns(label=LABEL_NAME, classes=LETTERS), rows, FEATURES)


def digest_of_letters(rows: Bytes, labels: Bytes) -> str:
    """Return the SHA-256 of the table, to compare with `LETTER_DIGEST`."""
    return hashlib.sha256(rows.tobytes() + labels.tobytes()).hexdigest()


def read_mlbench_table(path: Path) -> tuple[Bytes, Bytes]:
    """Return (rows, labels) of the table in the R package's file."""
    import rdata  # noqa: PLC0415  only whoever makes the file anew needs it

    frame = rdata.read_rda(path)[TABLE_NAME]
    place = {letter: index for index, letter in enumerate(LETTERS)}
    labels = np.array([place[str(cell)] for cell in frame[LABEL_NAME]], np.uint8)
    return frame[list(FEATURES)].to_numpy().astype(np.uint8), labels


def main() -> None:
    """Write the file and print size and digest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEBIAN_FILE)
    rows, labels = read_mlbench_table(parser.parse_args().data)
    np.savez_compressed(LETTER_FILE, inputs=rows, labels=labels)
    print(f"{LETTER_FILE.stat().st_size} bytes, {digest_of_letters(rows, labels)}")  # noqa: T201


if __name__ == "__main__":
    main()
