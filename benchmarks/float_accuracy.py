"""Float top-1 of a sample on all its data: `python -m benchmarks.float_accuracy NAME [FOLDER]`.

For EfficientNet-Lite0 on the shared 500 images of imagenet-sample: 0.880 with TensorFlow's padding
"SAME", which its weights expect, and 0.806 with symmetric padding (`--symmetric`).
"""

import argparse
import time
from pathlib import Path

import torch
from torch import nn

from data_io.bundled import BUNDLED_DATA
from data_io.dataset import Dataset, check_class_labels
from data_io.folder import open_folder
from sample_models.efficientnet_lite import pad_symmetrically
from sample_models.registry import Sample, sample_named, sample_names

IMAGENET_FOLDER = Path(__file__).parents[2] / "shared/datasets/imagenet-sample"


def data_of(entry: Sample, folder: Path) -> Dataset:
    """Return the data that the sample is scored on."""
    own = BUNDLED_DATA.get(entry.dataset)
    return own.test() if own else open_folder(folder, entry.preprocess)


@torch.inference_mode()
def top1(model: nn.Module, dataset: Dataset, batch: int) -> float:
    """Return the part of images whose largest output is their label."""
    hits = 0
    for part in dataset.batches(batch):
        hits += int((model(part.inputs).argmax(1) == part.labels).sum())
    return hits / len(dataset)


def main() -> None:
    """Read the command line and measure one network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sample_names())
    parser.add_argument("folder", type=Path, nargs="?", default=IMAGENET_FOLDER)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--symmetric", action="store_true", help="pad as torch would")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    entry = sample_named(arguments.name)
    model = (
        pad_symmetrically(entry.build_network()) if arguments.symmetric else entry.build_network()
    )
    dataset = data_of(entry, arguments.folder)
    check_class_labels(dataset, entry.classes)
    start = time.perf_counter()
    score = top1(model, dataset, arguments.batch)
    seconds = time.perf_counter() - start
    print(f"{entry.name}: top-1 {score:.4f} of {len(dataset)} images in {seconds:.0f} s")


if __name__ == "__main__":
    main()
